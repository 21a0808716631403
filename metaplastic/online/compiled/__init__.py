"""Online steps as straight-line programs: `PlasticModule(..., compile=True)`."""
