"""What `experiments.speed` runs in JAX: the same work, as a JAX user would write it."""
