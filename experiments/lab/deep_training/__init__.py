"""Deep networks on CIFAR-10 by named rules: what `experiments.deep` is made of."""
