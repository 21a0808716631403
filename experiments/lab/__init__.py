"""What the commands share: settings, runs, figures, networks, checks.

The commands themselves are the files of `experiments`.
"""
