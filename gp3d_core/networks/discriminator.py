"""Residual discriminators after StyleGAN2: of patches with depth (3DGP §3.3, §3.4), and of whole images.

That of patches has the training resolution, but its first blocks do not downsample, so that it accepts the smaller
patches. The patch position steers it twice: it modulates a convolution of every block, and takes part in the
projection that makes the logit. Letters: B batch, C classes or channels, h, w patch size, R image size, E size of the
distilled features.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from gp3d_core.config.schema import RunConfig
from gp3d_core.networks.layers import EqualisedConv, EqualisedLinear
from gp3d_core.networks.mapping import ConditionedMLP, required
from gp3d_core.ops.backends import Backend
from gp3d_core.ops.checks import check_shape
from gp3d_core.ops.precision import half_on_processor
from gp3d_core.rendering.patches import Patches

IMAGE_CHANNELS = 4  # red, green, blue, depth
COLOUR_CHANNELS = 3  # what a discriminator without depth looks at
HYPER_DIM = 512
MAPPING_LAYERS = 2
EPILOGUE_RESOLUTION = 4
POSITION_STEPS = 1000  # a position in [0, 1] is rounded to one of this many steps
FOURIER_FREQUENCIES = 10
TABLE_DIM = 256
POSITION_DIM = 3 * (2 * FOURIER_FREQUENCIES + TABLE_DIM)


class DiscriminatorOutput(NamedTuple):
    """What the discriminator says: logits [B], larger for more real, and predicted features [B,E] when asked
    for.
    """

    logits: Tensor
    features: Tensor | None


class Shown(NamedTuple):
    """What a discriminator of patches is shown: images [B,4,h,w], where they were cut out, and classes [B,C]."""

    images: Tensor
    patches: Patches
    c: Tensor | None


def minibatch_std(x: Tensor, group: int, layout: Literal["contiguous", "strided"]) -> Tensor:
    """`x` [B,C,h,w] with one more channel: how much samples of a group differ, averaged over channels and
    pixels.

    Groups hold `group` samples, or all B if those are fewer: neighbours (contiguous) or every (B/group)-th
    (strided). ValueError if B is no multiple of the group's size.
    """
    batch, _, height, width = x.shape
    group = min(group, batch)
    if batch % group:
        raise ValueError(f"batch: expected a multiple of the minibatch-std group of {group}, found {batch}")
    axis = 1 if layout == "contiguous" else 0
    grouped = x.unflatten(0, (batch // group, group) if axis else (group, batch // group))
    std = (grouped.var(dim=axis, correction=0) + 1e-8).sqrt().mean(dim=(1, 2, 3))
    per_sample = std.repeat_interleave(group) if axis else std.repeat(group)
    extra = per_sample[:, None, None, None].expand(-1, 1, height, width)
    return torch.cat([x, extra], dim=1)


class PositionEncoding(nn.Module):
    """Where patches lie: size and the two offsets as Fourier features beside a learnt table of 1001 steps."""

    frequencies: Tensor

    def __init__(self) -> None:
        """The table starts as N(0, 1)."""
        super().__init__()
        self.table = nn.Embedding(POSITION_STEPS + 1, TABLE_DIM)
        frequencies = math.pi * 2.0 ** torch.arange(FOURIER_FREQUENCIES) / 1024.0
        self.register_buffer("frequencies", frequencies, persistent=False)

    def forward(self, patches: Patches) -> Tensor:
        """Codes [B, 3 · 276] of B patches, scalar after scalar: sines, cosines, table row."""
        position = torch.cat([patches.scales[:, :1], patches.offsets], dim=1) * POSITION_STEPS
        angles = position[..., None] * self.frequencies
        rows = self.table(position.round().long())
        return torch.cat([angles.sin(), angles.cos(), rows], dim=-1).flatten(1)


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions, the second modulated by the patch position if there is one, beside a 1×1 shortcut."""

    def __init__(
        self, inputs: int, outputs: int, *, down: bool, clamp: float, hyper_dim: int, backend: Backend
    ) -> None:
        """`down` halves the image; `hyper_dim` is the width of the position code, 0 for none."""
        super().__init__()
        shared = math.sqrt(0.5)  # of the variance, for each of the two branches
        self.skip = EqualisedConv(inputs, outputs, 1, bias=False, down=down, gain=shared, backend=backend)
        self.conv0 = EqualisedConv(inputs, inputs, 3, "lrelu", clamp=clamp)
        self.conv1 = EqualisedConv(
            inputs, outputs, 3, "lrelu", down=down, gain=shared, clamp=clamp, backend=backend
        )
        self.modulation = EqualisedLinear(hyper_dim, inputs) if hyper_dim else None

    def forward(self, x: Tensor, hyper: Tensor | None = None) -> Tensor:
        """Features [B,outputs,h',w'] of `x` [B,inputs,h,w] under the position code `hyper` [B,hyper_dim]."""
        inner = self.conv0(x)
        if self.modulation is not None:
            gate = 1.0 + torch.tanh(self.modulation(required("hyper", hyper, HYPER_DIM))).to(x.dtype)
            inner = inner * gate[:, :, None, None]
        return self.skip(x) + self.conv1(inner)


class ResidualDiscriminator(nn.Module):
    """What StyleGAN2's discriminators share: residual blocks down to 4×4, then logits and distilled features.

    Those that add to it call `_add_blocks` and `_add_head` where they are made, `_describe` and `_conclude` in forward.
    """

    def __init__(
        self, *, group: int, layout: Literal["contiguous", "strided"], half_blocks: int, backend: Backend
    ) -> None:
        """`group` images are compared in `layout`; the `half_blocks` highest resolutions are in half precision."""
        super().__init__()
        self.group, self.layout = group, layout
        self.half_blocks = half_blocks
        self.backend = backend

    def _add_blocks(
        self,
        nominal: int,
        channels: Callable[[int], int],
        seen: int,
        *,
        starts: int,
        clamp: float,
        hyper_dim: int,
    ) -> None:
        """Blocks from `seen` image channels at the resolution `nominal`; the first `starts` keep the size."""
        self.from_image = EqualisedConv(seen, channels(nominal), 1, "lrelu", clamp=clamp)
        self.blocks = nn.ModuleList()
        while nominal > EPILOGUE_RESOLUTION:
            self.blocks.append(
                ResidualBlock(
                    channels(nominal),
                    channels(nominal // 2),
                    down=len(self.blocks) >= starts,
                    clamp=clamp,
                    hyper_dim=hyper_dim,
                    backend=self.backend,
                )
            )
            nominal //= 2

    def _add_head(self, width: int, outputs: int, feature_dim: int, *, clamp: float) -> None:
        """From `width` channels to `outputs` numbers that a projection weighs, and to `feature_dim` features."""
        flat = width * EPILOGUE_RESOLUTION**2
        self.conv = EqualisedConv(width + 1, width, 3, "lrelu", clamp=clamp)
        self.fc = EqualisedLinear(flat, width, "lrelu")
        self.output = EqualisedLinear(width, outputs)
        self.feature_head = (
            nn.Sequential(EqualisedLinear(flat, width, "lrelu"), EqualisedLinear(width, feature_dim))
            if feature_dim
            else None
        )

    def _describe(self, images: Tensor, hyper: Tensor | None, *, batches: int = 1) -> Tensor:
        """What the blocks make of `images` [B,C,h,w], [B, 16 · width]: of so many `batches` of equal size, one after
        the other, whose images are compared with those of their own alone.
        """
        half, first = self._first(images)
        x = self.from_image(first)
        for i, block in enumerate(self.blocks):
            x = x if i < half else x.to(images.dtype, memory_format=torch.contiguous_format)
            x = block(x, hyper)
        apart = x.to(images.dtype).chunk(batches)
        compared = [minibatch_std(batch, self.group, self.layout) for batch in apart]
        return self.conv(torch.cat(compared) if batches > 1 else compared[0]).flatten(1)

    def _first(self, images: Tensor) -> tuple[int, Tensor]:
        """How many blocks are in half precision on the device of the `images`, and these as the first of them reads
        them.
        """
        if (
            self.half_blocks and images.is_cuda
        ):  # by pixel, as the matrix units read it; single precision by channel
            return self.half_blocks, images.to(torch.half, memory_format=torch.channels_last)
        # R1's gradient is that of a gradient at the images; the players' own are taken once
        twice = images.requires_grad and self.output.weight.requires_grad
        if self.half_blocks and half_on_processor(images.device, training=self.training, twice=twice):
            return self.half_blocks, images.to(torch.bfloat16)
        return 0, images

    def _conclude(self, x: Tensor, projection: Tensor | None, *, with_features: bool) -> DiscriminatorOutput:
        """The judgement of described images: their numbers weighed by `projection`, or the only one of them."""
        numbers = self.output(self.fc(x))
        logits = (
            numbers.squeeze(1)
            if projection is None
            else (numbers * projection).sum(dim=1) / math.sqrt(projection.shape[1])
        )
        return DiscriminatorOutput(logits, self._features(x) if with_features else None)

    def _features(self, x: Tensor) -> Tensor:
        """The predicted features [B,E] of described images; ValueError without the head."""
        if self.feature_head is None:
            raise ValueError("this discriminator was made without a distillation head (feature_dim 0)")
        return self.feature_head(x)


class Discriminator(ResidualDiscriminator):
    """Patches [B,4,h,w], their position and class → logits, and image features for distillation."""

    def __init__(self, config: RunConfig, num_classes: int, feature_dim: int = 0) -> None:
        """Fewer than two classes make it unconditional; `feature_dim` 0 leaves the distillation head out.

        ValueError if the patch is smaller than 8 pixels or the resolutions are no powers of two of each
        other.
        """
        settings = config.discriminator
        super().__init__(
            group=settings.mbstd_group,
            layout=settings.mbstd_layout,
            half_blocks=settings.half_resolutions if config.training.precision == "mixed" else 0,
            backend=config.render.backend,
        )
        self.resolution = config.patch.resolution
        self.c_dim, self.class_gain = num_classes if num_classes > 1 else 0, settings.class_gain
        nominal = config.training.resolution
        if self.resolution < 8 or self.resolution & (self.resolution - 1):
            raise ValueError(f"patch.resolution: expected a power of two from 8, found {self.resolution}")
        if nominal < self.resolution or nominal & (nominal - 1):
            raise ValueError(
                f"training.resolution: expected a power of two from patch.resolution {self.resolution}, "
                f"found {nominal}"
            )

        def channels(resolution: int) -> int:
            return min(settings.channel_base // resolution, settings.channel_max)

        starts = (nominal // self.resolution).bit_length() - 1
        width, clamp = channels(EPILOGUE_RESOLUTION), settings.conv_clamp
        self.seen = IMAGE_CHANNELS if settings.depth else COLOUR_CHANNELS
        self._add_blocks(nominal, channels, self.seen, starts=starts, clamp=clamp, hyper_dim=HYPER_DIM)
        self.encoding = PositionEncoding()
        self.hyper = ConditionedMLP(0, POSITION_DIM, HYPER_DIM, MAPPING_LAYERS)
        self.projection = ConditionedMLP(0, self.c_dim + POSITION_DIM, width, MAPPING_LAYERS)
        self._add_head(width, width, feature_dim, clamp=clamp)

    def forward(
        self, images: Tensor, patches: Patches, c: Tensor | None, *, with_features: bool = False
    ) -> DiscriminatorOutput:
        """Judges `images` [B,4,h,w] in [-1, 1] cut out at `patches` [B], of classes `c` [B,C].

        `c` is not looked at when the discriminator is unconditional, nor depth where it was made without.
        ValueError for another patch size, or when features are asked of a discriminator without the head.
        """
        return self._conclude(*self._look(images, patches, c), with_features=with_features)

    def both(
        self, fake: Shown, real: Shown, *, with_features: bool = False
    ) -> tuple[DiscriminatorOutput, DiscriminatorOutput]:
        """What `forward` says of each of two batches, up to rounding, in one pass; features of the real one alone.

        ValueError where forward raises one, and for batches that differ in size.
        """
        count = len(fake.images)
        check_shape("real.images", real.images, "B C h w", {"B": count})
        classes = [required("c", shown.c, self.c_dim) for shown in (fake, real)] if self.c_dim else None
        x, projection = self._look(
            torch.cat([fake.images, real.images]),
            Patches(
                torch.cat([fake.patches.scales, real.patches.scales]),
                torch.cat([fake.patches.offsets, real.patches.offsets]),
            ),
            None if classes is None else torch.cat(classes),
            batches=2,
        )
        logits = self._conclude(x, projection, with_features=False).logits
        features = self._features(x[count:]) if with_features else None
        return DiscriminatorOutput(logits[:count], None), DiscriminatorOutput(logits[count:], features)

    def _look(
        self, images: Tensor, patches: Patches, c: Tensor | None, *, batches: int = 1
    ) -> tuple[Tensor, Tensor]:
        """The described images, and the projection that weighs their numbers."""
        sizes = check_shape("images", images, f"B {IMAGE_CHANNELS} {self.resolution} {self.resolution}")
        check_shape("patches.scales", patches.scales, "B 2", sizes)
        position = self.encoding(patches)
        x = self._describe(images[:, : self.seen], self.hyper(None, position), batches=batches)
        condition = position
        if self.c_dim:
            condition = torch.cat([self.class_gain * required("c", c, self.c_dim), position], dim=1)
        return x, self.projection(None, condition)


class ImageDiscriminator(ResidualDiscriminator):
    """Whole images [B,C,R,R] and a condition → logits, and image features for distillation (StyleGAN2)."""

    def __init__(
        self,
        *,
        resolution: int,
        image_channels: int,
        c_dim: int,
        channel_base: int,
        channel_max: int,
        mapping_layers: int = MAPPING_LAYERS,
        feature_dim: int = 0,
        mbstd_group: int = 4,
        mbstd_layout: Literal["contiguous", "strided"] = "strided",
        clamp: float = 256.0,
        half_blocks: int = 0,
        backend: Backend = "auto",
    ) -> None:
        """Channels at resolution r: min(channel_base / r, channel_max).

        Without a condition (`c_dim` 0) the last layer makes the logit itself; `feature_dim` 0 leaves the distillation
        head out. ValueError unless the resolution is a power of two from 8.
        """
        super().__init__(group=mbstd_group, layout=mbstd_layout, half_blocks=half_blocks, backend=backend)
        if resolution < 8 or resolution & (resolution - 1):
            raise ValueError(f"resolution: expected a power of two from 8, found {resolution}")
        self.resolution, self.image_channels, self.c_dim = resolution, image_channels, c_dim

        def channels(resolution: int) -> int:
            return min(channel_base // resolution, channel_max)

        width = channels(EPILOGUE_RESOLUTION)
        self._add_blocks(resolution, channels, image_channels, starts=0, clamp=clamp, hyper_dim=0)
        self.projection = ConditionedMLP(0, c_dim, width, mapping_layers) if c_dim else None
        self._add_head(width, width if c_dim else 1, feature_dim, clamp=clamp)

    def forward(
        self, images: Tensor, c: Tensor | None = None, *, with_features: bool = False
    ) -> DiscriminatorOutput:
        """Judges `images` [B,C,R,R] in [-1, 1] under the conditions `c` [B,c_dim], not looked at if c_dim is 0.

        ValueError for another shape, or when features are asked of a discriminator without the head.
        """
        check_shape("images", images, f"B {self.image_channels} {self.resolution} {self.resolution}")
        projection = None if self.projection is None else self.projection(None, c)
        return self._conclude(self._describe(images, None), projection, with_features=with_features)
