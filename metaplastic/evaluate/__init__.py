"""Evaluation: few-shot and continual reports, interference between examples, intervals.

Everything here reads a learner and changes none of its parameters.
"""
