"""Options that several sources share."""

from __future__ import annotations

import argparse


def add_texture_option(group: argparse._ActionsContainer) -> None:
    """What becomes of a model whose materials promise a picture that is missing."""
    group.add_argument(
        "--missing-textures",
        choices=("fail", "color"),
        default="fail",
        help="models without them fail, or get the material's plain colour (default: fail)",
    )
