"""Adaptive discriminator augmentation (Karras et al. 2020) for images with a depth channel, an option for
small data.

Geometry moves all channels alike; colours change only the first three. Every operation happens to every
sample on its own with the same probability, and all of it can be differentiated twice, because R1 is taken at
the images before. Geometry is resampled bilinearly, mirrored at the borders. At the end of the file the simpler
augmentation of projected discriminators, which every image goes through (Zhao et al. 2020). Letters: B batch, C
channels, H image size.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gp3d_core.config.schema import LossConfig
from gp3d_core.ops.checks import check_shape

RGB_CHANNELS = 3
KIMG_TO_CERTAINTY = 500.0  # thousand images in which the probability can climb from 0 to 1
STEPS_PER_MOVE = 4
SHIFT = 0.125  # whole pixels up to this share of the image; fractions with this standard deviation
SCALE, STRETCH, CONTRAST, SATURATION = 0.2, 0.2, 0.5, 1.0  # standard deviations of the factor's log2
BRIGHTNESS = 0.2  # standard deviation
CUT_OUT = 0.2  # share of the image's edge that the zeroed square of the simpler augmentation has
LUMA = 1.0 / math.sqrt(RGB_CHANNELS)  # every component of the unit grey axis


class AugmentationController:
    """The probability of augmenting now: 0, fixed, or moved so that mean(sign D(real)) stays near a target."""

    def __init__(self, config: LossConfig) -> None:
        self._config = config
        self.probability = config.augmentation_probability if config.augmentation == "fixed" else 0.0
        self._signs: list[float] = []

    def update(self, real_sign: float, images: int) -> None:
        """Takes one step's mean sign of D at reals; every few steps of `images` each, the probability moves.

        A discriminator too sure of the reals overfits and raises it; it stays in [0, 1]. A sign that is no number
        is passed over.
        """
        if self._config.augmentation != "ada" or not math.isfinite(real_sign):
            return
        self._signs.append(real_sign)
        if len(self._signs) < STEPS_PER_MOVE:
            return
        excess = sum(self._signs) / STEPS_PER_MOVE - self._config.augmentation_target
        move = STEPS_PER_MOVE * images / (1000.0 * KIMG_TO_CERTAINTY)
        direction = (excess > 0.0) - (excess < 0.0)
        self.probability = min(max(self.probability + direction * move, 0.0), 1.0)
        self._signs.clear()

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` needs to go on from here, as JSON values."""
        return {"probability": self.probability, "signs": list(self._signs)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from what `state_dict` returned."""
        self.probability = float(state["probability"])
        self._signs = [float(sign) for sign in state["signs"]]


def augment(images: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    """`images` [B,C≥3,H,H], each operation applied to a sample with the given `probability`."""
    check_shape("images", images, "B C H H")
    if probability <= 0.0:
        return images
    warped = warp(images, sample_geometry(len(images), images.shape[-1], probability, generator))
    rgb, rest = warped.split([RGB_CHANNELS, warped.shape[1] - RGB_CHANNELS], dim=1)
    matrix, offset = sample_colours(len(images), probability, generator)
    rgb = torch.einsum("bij,bjhw->bihw", matrix, rgb) + offset[:, None, None, None]
    return torch.cat([rgb, rest], dim=1)


def warp(images: Tensor, matrices: Tensor) -> Tensor:
    """`images` [B,C,H,H] looked up at matrix · (x, y, 1) for every output pixel; matrices [B,2,3].

    Coordinates run from -1 to 1 between the image's edges, y down. Written with gathers, since torch's
    grid_sample has no second derivative.
    """
    channels, size = images.shape[1:3]
    line = (2.0 * torch.arange(size, device=images.device, dtype=images.dtype) + 1.0) / size - 1.0
    y, x = torch.meshgrid(line, line, indexing="ij")
    source = matrices @ torch.stack([x, y, torch.ones_like(x)]).flatten(1)
    position = (source + 1.0) * (size / 2.0) - 0.5
    corner = position.floor()
    fraction = (position - corner)[:, None]
    flat = images.flatten(2)
    result = torch.zeros_like(flat)
    for dx, dy in ((0, 0), (1, 0), (0, 1), (1, 1)):
        column = _mirror(corner[:, 0].long() + dx, size)
        row = _mirror(corner[:, 1].long() + dy, size)
        share_x = fraction[:, :, 0] if dx else 1.0 - fraction[:, :, 0]
        share_y = fraction[:, :, 1] if dy else 1.0 - fraction[:, :, 1]
        index = (row * size + column)[:, None].expand(-1, channels, -1)
        result = result + flat.gather(2, index) * (share_x * share_y)
    return result.unflatten(2, (size, size))


def _mirror(index: Tensor, size: int) -> Tensor:
    """Indices folded into 0 … size - 1 as if the image were mirrored at its edges for ever."""
    folded = index.remainder(2 * size)
    return torch.minimum(folded, 2 * size - 1 - folded)


class _Dice:
    """Random parameters [B], neutral (0) for samples that the operation spares."""

    def __init__(self, batch: int, probability: float, generator: torch.Generator) -> None:
        self.batch, self.probability, self.generator = batch, probability, generator

    def uniform(self, chance: float | None = None) -> Tensor:
        """U[-1, 1] with probability `chance` (None: the common probability), else 0."""
        hit = self._rand() < (self.probability if chance is None else chance)
        return (2.0 * self._rand() - 1.0) * hit

    def normal(self) -> Tensor:
        """N(0, 1) with the common probability, else 0."""
        hit = self._rand() < self.probability
        return torch.randn(self.batch, generator=self.generator, device=self.generator.device) * hit

    def _rand(self) -> Tensor:
        return torch.rand(self.batch, generator=self.generator, device=self.generator.device)


def sample_geometry(count: int, size: int, probability: float, generator: torch.Generator) -> Tensor:
    """Matrices [count,2,3] from output to input coordinates for images of `size` pixels.

    Quarter turns, shift by whole pixels, scale, rotation, stretch, rotation, shift by fractions.
    """
    dice = _Dice(count, probability, generator)
    turns = (dice.uniform() * 2.0).round()  # -2 … 2 quarter turns
    shift_x, shift_y = ((dice.uniform() * SHIFT * size).round() * 2.0 / size for _ in range(2))
    scale, stretch = torch.exp2(dice.normal() * SCALE), torch.exp2(dice.normal() * STRETCH)
    half = 1.0 - math.sqrt(1.0 - probability)  # two rotations that together happen with the probability
    before, after = (dice.uniform(half) * math.pi for _ in range(2))
    drift_x, drift_y = (dice.normal() * SHIFT * 2.0 for _ in range(2))
    zero, one = torch.zeros_like(scale), torch.ones_like(scale)
    whole = (
        _rotation(turns * (math.pi / 2.0))
        @ _affine(scale, zero, zero, scale, shift_x, shift_y)
        @ _rotation(before)
        @ _affine(stretch, zero, zero, 1.0 / stretch, zero, zero)
        @ _rotation(after)
        @ _affine(one, zero, zero, one, drift_x, drift_y)
    )
    return whole[:, :2]


def _affine(xx: Tensor, xy: Tensor, yx: Tensor, yy: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Homogeneous matrices [B,3,3] of entries [B]."""
    rows = [xx, xy, x, yx, yy, y, torch.zeros_like(x), torch.zeros_like(x), torch.ones_like(x)]
    return torch.stack(rows, dim=1).unflatten(1, (3, 3))


def _rotation(angle: Tensor) -> Tensor:
    zero = torch.zeros_like(angle)
    return _affine(angle.cos(), -angle.sin(), angle.sin(), angle.cos(), zero, zero)


def sample_colours(count: int, probability: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Matrices [count,3,3] and offsets [count] for red, green, blue.

    Flip and rotation about the grey axis, saturation, contrast, brightness.
    """
    dice = _Dice(count, probability, generator)
    offset = dice.normal() * BRIGHTNESS
    contrast = torch.exp2(dice.normal() * CONTRAST)
    flip = (dice.uniform() > 0.0).to(offset)
    hue, saturation = dice.uniform() * math.pi, torch.exp2(dice.normal() * SATURATION)
    axis = offset.new_full((RGB_CHANNELS,), LUMA)
    grey, unit = torch.outer(axis, axis), torch.eye(RGB_CHANNELS, dtype=offset.dtype, device=offset.device)
    cross = torch.linalg.cross(unit, axis.expand(RGB_CHANNELS, -1), dim=1)
    cos, sin = hue.cos()[:, None, None], hue.sin()[:, None, None]
    rotation = grey + cos * (unit - grey) + sin * cross
    saturate = grey + saturation[:, None, None] * (unit - grey)
    luma_flip = unit - 2.0 * grey * flip[:, None, None]
    return contrast[:, None, None] * saturate @ rotation @ luma_flip, offset


@dataclass(frozen=True, eq=False)
class SimpleAugmentation:
    """What `augment_simply` does to each of B images.

    brightness, saturation, contrast [B]: uniform in [0, 1), a half leaves the image alone. shift [B,2]: whole pixels
    by which rows and columns move. cut_out [B,2]: row and column of the zeroed square's centre.
    """

    brightness: Tensor
    saturation: Tensor
    contrast: Tensor
    shift: Tensor
    cut_out: Tensor


def sample_simply(count: int, size: int, generator: torch.Generator) -> SimpleAugmentation:
    """What happens to `count` images of `size` pixels a side."""
    device = generator.device
    brightness, saturation, contrast = torch.rand(3, count, generator=generator, device=device)
    furthest = int(SHIFT * size + 0.5)
    shift = torch.randint(-furthest, furthest + 1, (count, 2), generator=generator, device=device)
    positions = (
        size + 1 - _cut(size) % 2
    )  # a square with an even edge may also lie half a pixel beyond the last
    cut_out = torch.randint(0, positions, (count, 2), generator=generator, device=device)
    return SimpleAugmentation(brightness, saturation, contrast, shift, cut_out)


def augment_simply(images: Tensor, draws: SimpleAugmentation) -> Tensor:
    """`images` [B,3,H,H] with other brightness (±½), saturation (0–2) and contrast (½–1½), moved and cut out.

    What moves in and what is cut out is 0, the middle of the images' range.
    """
    size = check_shape("images", images, "B 3 H H")["H"]
    brightness, saturation, contrast = (
        u[:, None, None, None] for u in (draws.brightness, draws.saturation, draws.contrast)
    )
    x = images + (brightness - 0.5)
    grey = x.mean(dim=1, keepdim=True)
    x = (x - grey) * (2.0 * saturation) + grey
    mean = x.mean(dim=(1, 2, 3), keepdim=True)
    x = (x - mean) * (contrast + 0.5) + mean
    line = torch.arange(size, device=images.device)
    # where each row and column comes from [B,2,H], and the square [B,2,H]
    source = line + draws.shift[:, :, None]
    first = draws.cut_out[:, :, None] - _cut(size) // 2
    cut = (line >= first) & (line < first + _cut(size))
    rows, columns = source.clamp(0, size - 1).unbind(dim=1)
    x = x.gather(2, rows[:, None, :, None].expand_as(x)).gather(3, columns[:, None, None, :].expand_as(x))
    inside = (source >= 0) & (source < size)
    kept = inside[:, 0, :, None] & inside[:, 1, None, :] & ~(cut[:, 0, :, None] & cut[:, 1, None, :])
    return x * kept[:, None]


def _cut(size: int) -> int:
    """Edge of the zeroed square, pixels."""
    return int(CUT_OUT * size + 0.5)
