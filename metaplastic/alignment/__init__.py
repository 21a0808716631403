"""Alignment: how feedback weights follow the forward weights. One rule a file.

None, mirror, Kolen-Pollack, and the regularizers of Kunin et al. (2020).
"""
