"""The command `metaplastic`: rules listed, shown, and put into networks of other packages.

It needs no more than the library does; what a use needs beyond that is named where it is missing.
"""
