"""Rules at work in your network: `PlasticModule` learns in place, `credit` fills `.grad`.

Both take any `nn.Module` and a named or discovered rule.
"""
