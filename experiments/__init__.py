"""The lab: scripts run as `python -m experiments.NAME`, and the methods they compare."""
