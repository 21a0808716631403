"""Not a script for people: what torchrun starts in every process."""

from experiments.benchmarks.growth.processes import main

main()
