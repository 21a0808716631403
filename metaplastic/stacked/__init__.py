"""The written-out executor: plain `nn.Sequential` networks with a leading `tasks` axis.

It computes what the generic inner step computes, layer by layer and by hand. It is kept because it
is faster for small networks and long lifetimes; `experiments.speed` has the table.
"""
