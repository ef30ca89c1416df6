"""`python -m gp3d_core.cli`: the same as `gp3d`."""

from __future__ import annotations

import sys

from gp3d_core.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
