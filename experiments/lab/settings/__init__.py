"""Settings: command lines, presets, and what can be named on them."""
