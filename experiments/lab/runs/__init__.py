"""Runs: folders, locks, jobs, progress, loggers, and what a finished run leaves."""
