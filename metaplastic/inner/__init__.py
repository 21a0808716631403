"""The inner loop: the state of a lifetime, one step, and the loop over steps.

`OnlineLearner` is a network and a learning rule; its forward pass is a meta-batch of lifetimes.
"""
