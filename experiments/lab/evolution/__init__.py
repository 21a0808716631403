"""Evolution of a whole rule on a distribution of networks and data."""
