"""The command `metaplastic`, also as `python -m metaplastic`."""

from __future__ import annotations

import sys

from metaplastic.command.parser import main

if __name__ == "__main__":
    sys.exit(main())
