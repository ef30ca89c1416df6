"""Pictures for people: tensors to 8-bit images, depth in colour, captioned sheets, camera histograms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from gp3d_core.atomic import replacing

# Five points of a dark-to-light, colour-blind-safe ramp; near is light.
_RAMP = np.array(
    [[253, 231, 37], [94, 201, 98], [33, 145, 140], [59, 82, 139], [68, 1, 84]], dtype=np.float64
)
_CAPTION_HEIGHT = 18
_CAPTION_WIDTH = 400  # a sheet of few columns is as wide as its captions, but no wider than this


def rgb_to_uint8(rgb: Tensor) -> NDArray[Any]:
    """Images [B,3,H,W] in [-1, 1] as uint8 [B,H,W,3]."""
    scaled = (rgb.detach().float() * 127.5 + 128).clamp(0, 255).to(torch.uint8)
    return scaled.permute(0, 2, 3, 1).cpu().numpy()


def depth_to_uint8(depth: Tensor, low: float, high: float) -> NDArray[Any]:
    """Depth maps [B,1,H,W] as colours [B,H,W,3]: `low` (near) light yellow, `high` (far) dark violet."""
    unit = ((depth.detach().float()[:, 0] - low) / (high - low)).clamp(0, 1).cpu().numpy() * (len(_RAMP) - 1)
    below = np.minimum(unit.astype(int), len(_RAMP) - 2)
    part = (unit - below)[..., None]
    return np.rint(_RAMP[below] * (1 - part) + _RAMP[below + 1] * part).astype(np.uint8)


def sheet(
    rows: Sequence[tuple[str, Sequence[NDArray[Any]]]], *, tile: int, heads: Sequence[Sequence[str]] = ()
) -> Image.Image:
    """A picture with one captioned row of uint8 [H,W,3] images each, scaled to `tile` pixels; captions fit on it.

    `heads` are lines of text above each column, cut with an ellipsis where they are wider than it.
    """
    font = ImageFont.load_default(size=13)
    columns = max(len(images) for _, images in rows)
    longest = max(font.getlength(title) for title, _ in rows)
    width = max(columns * (tile + 2) + 2, min(math.ceil(longest) + 8, _CAPTION_WIDTH))
    height = tile + 2 + _CAPTION_HEIGHT
    head = _CAPTION_HEIGHT * max(map(len, heads), default=0)
    canvas = Image.new("RGB", (width, head + len(rows) * height + 2), "white")
    draw = ImageDraw.Draw(canvas)
    for column, lines in enumerate(heads):
        for number, line in enumerate(lines):
            place = (4 + column * (tile + 2), 3 + number * _CAPTION_HEIGHT)
            draw.text(place, _fitting(line, tile - 4, font), fill=(0, 0, 0), font=font)
    for r, (title, images) in enumerate(rows):
        top = 2 + head + r * height
        draw.text((4, top + 1), title, fill=(40, 40, 40), font=font)
        for column, image in enumerate(images):
            kind = Image.Resampling.NEAREST if image.shape[0] < tile else Image.Resampling.LANCZOS
            scaled = Image.fromarray(image).resize((tile, tile), kind)
            canvas.paste(scaled, (2 + column * (tile + 2), top + _CAPTION_HEIGHT))
    return canvas


def _fitting(text: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """The text, or as much of it as is at most `width` pixels wide, with an ellipsis."""
    if font.getlength(text) <= width:
        return text
    longest = max((n for n in range(len(text)) if font.getlength(text[:n] + "...") <= width), default=0)
    return text[:longest].rstrip() + "..."


def caption(text: str, width: int) -> Image.Image:
    """A line of text as a picture."""
    canvas = Image.new("RGB", (width, _CAPTION_HEIGHT + 4), "white")
    ImageDraw.Draw(canvas).text((4, 3), text, fill=(40, 40, 40), font=ImageFont.load_default(size=13))
    return canvas


def stack(pictures: Sequence[Image.Image]) -> Image.Image:
    """Pictures below one another, wide ones scaled down to the first one's width."""
    width = pictures[0].width
    fitted = [
        p if p.width <= width else p.resize((width, round(p.height * width / p.width))) for p in pictures
    ]
    canvas = Image.new("RGB", (width, sum(p.height for p in fitted)), "white")
    top = 0
    for picture in fitted:
        canvas.paste(picture.convert("RGB"), (0, top))
        top += picture.height
    return canvas


def save_picture(image: Image.Image, path: Path) -> None:
    """Writes a PNG, whole or not at all."""
    with replacing(path) as temporary:
        image.save(temporary, format="PNG")


def save_camera_histograms(
    path: Path, prior: dict[str, NDArray[Any]], posterior: dict[str, NDArray[Any]]
) -> None:
    """Histograms of each camera parameter under prior and posterior (3DGP Fig. 7)."""
    from matplotlib.figure import Figure  # slow to import, and only training needs it

    figure = Figure(figsize=(3 * len(prior), 2.4), layout="constrained")
    for axis, name in zip(figure.subplots(1, len(prior)), prior, strict=True):
        both = np.concatenate([prior[name], posterior[name]])
        edges = np.linspace(both.min() - 1e-3, both.max() + 1e-3, 41)
        axis.hist(prior[name], edges, alpha=0.5, label="prior")
        axis.hist(posterior[name], edges, alpha=0.5, label="posterior")
        axis.set_title(name, fontsize=9)
    figure.axes[0].legend(fontsize=8)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=80)
