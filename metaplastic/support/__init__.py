"""Support: option checks, seeding, files on disk, objects as JSON, shipped learners.

Nothing here depends on networks or rules.
"""
