"""Saved rules in networks and data that they were not meta-trained on."""
