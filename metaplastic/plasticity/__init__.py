"""Plasticity: what a site does about the signal that it receives. One rule a file.

A rule is given one site's weight, activity, signal and rate, and nothing else: locality is its
signature.
"""
