"""BibTeX entries of papers that several rules come from."""

from __future__ import annotations

KUNIN_2020 = """@inproceedings{kunin2020two,
  title = {Two Routes to Scalable Credit Assignment without Weight Symmetry},
  author = {Kunin, Daniel and Nayebi, Aran and Sagastuy-Brena, Javier and Ganguli, Surya
            and Bloom, Jonathan M. and Yamins, Daniel L. K.},
  booktitle = {International Conference on Machine Learning}, year = {2020},
}"""

MOSKOVITZ_2018 = """@article{moskovitz2018feedback,
  title = {Feedback alignment in deep convolutional networks},
  author = {Moskovitz, Theodore H. and Litwin-Kumar, Ashok and Abbott, L. F.},
  journal = {arXiv:1812.06488}, year = {2018},
}"""

AKROUT_2019 = """@inproceedings{akrout2019deep,
  title = {Deep Learning without Weight Transport},
  author = {Akrout, Mohamed and Wilson, Collin and Humphreys, Peter C. and Lillicrap, Timothy
            and Tweed, Douglas},
  booktitle = {Advances in Neural Information Processing Systems}, year = {2019},
}"""
