"""Methods of the comparisons: one file each, found by its name.

A method is a function `build(problem, **options) -> OnlineLearner` and a function
`rates(problem)`, the meta learning rate of every group of parameters.
"""
