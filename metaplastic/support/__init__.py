"""Support: checks of options, seeds, files on disk, objects as JSON, learners that ship.

Nothing here knows what a network or a rule is; everything else may use it.
"""
