"""Alignment online: angles between weights and feedback while single examples are learned."""
