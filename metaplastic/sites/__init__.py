"""Sites: where an input meets synapses, found in any module by what it runs.

A site is an operation, a product of an input with a plastic weight, whoever computes it. Here a
module's sites are found, run, carried back through, and named where no rule can reach them.
"""
