"""Networks of the experiments, and learners built from names on a command line."""
