"""Report cards: for each class a generated view beside the real one that is nearest to it, and where they differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gp3d_core.metrics.depthviews import FEWEST, DepthView, aligned
from gp3d_core.visualization import caption, depth_to_uint8, save_picture, sheet, stack

_TILE = 128
HEADINGS = (
    "from the left: generated view, depth, normals; the nearest real view, depth, normals; "
    "depth error (yellow: 0.1)"
)
_WORST = 0.1  # world units


@dataclass(frozen=True, eq=False)
class Card:
    """A generated view and the real one nearest to it: colours uint8 [h,h,3] and depths; `title` says the figures."""

    title: str
    rgb: NDArray[Any]
    view: DepthView
    real_rgb: NDArray[Any]
    real: DepthView


def save_cards(cards: Sequence[Card], path: Path) -> None:
    """Draws the cards below one another, with a legend on top, and writes a PNG."""
    picture = sheet([(card.title, card_tiles(card)) for card in cards], tile=_TILE)
    save_picture(stack([caption(HEADINGS, picture.width), picture]), path)


def card_tiles(card: Card) -> list[NDArray[Any]]:
    """The seven pictures of a card, as the legend names them."""
    both = card.view.mask & card.real.mask
    fitted = aligned(card.view, card.real) if int(both.sum()) >= FEWEST else card.view
    error = torch.where(both, (fitted.z - card.real.z).abs(), 0.0)
    return [
        card.rgb,
        _depth(card.view),
        _normals(fitted),
        card.real_rgb,
        _depth(card.real),
        _normals(card.real),
        _on_white(depth_to_uint8(error[None, None], _WORST, 0.0)[0], both),
    ]


def _depth(view: DepthView) -> NDArray[Any]:
    """Depth in colours over the surface's own range, near light."""
    if not bool(view.mask.any()):
        return np.full((*view.z.shape, 3), 255, np.uint8)
    seen = view.z[view.mask]
    low, high = float(seen.min()), float(seen.max())
    return _on_white(
        depth_to_uint8(view.z.nan_to_num(posinf=high)[None, None], low, max(high, low + 1e-6))[0], view.mask
    )


def _normals(view: DepthView) -> NDArray[Any]:
    normals, known = view.normals()
    return _on_white(((normals + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).numpy(), known)


def _on_white(picture: NDArray[Any], mask: Tensor) -> NDArray[Any]:
    return np.where(mask.numpy()[..., None], picture, np.uint8(255))
