"""The inner loop: what a lifetime changes, one step of it, and a whole lifetime.

`OnlineLearner` is a network and a learning rule; its forward pass is a meta-batch of lifetimes.
"""
