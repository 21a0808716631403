"""Training checks and claims of credit-assignment rules; `experiments.credit` is the script."""
