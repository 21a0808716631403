"""Sweeps: a search of settings by validation lifetimes, shared by processes."""
