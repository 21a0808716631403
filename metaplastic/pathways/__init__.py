"""Pathways: how news of the target reaches each site. One a file.

Backpropagation, sequential feedback, signs, direct feedback (learned or random), and inverses.
A pathway delivers signals and never touches a weight.
"""
