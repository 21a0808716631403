"""The outer loop: meta-training over lifetimes, without losing work.

The trainer, the meta-gradient, optimizers, checkpoints, loggers and several processes.
"""
