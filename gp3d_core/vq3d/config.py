"""Configuration of VQ3D: small frozen dataclasses. Presets stand in `presets`.

Units: angles and `fov` in degrees, distances in scene units (the input camera is one unit from the origin), schedules
as fractions of the run's budget or in kimg. VQ3D's own values are unknown but for a few; docs/vq3d.md tells.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from gp3d_core.config.schedule import Schedule
from gp3d_core.config.schema import ConfigError, flatten, from_dict
from gp3d_core.errors import GP3DError


class SamplingError(GP3DError):
    """A request to the code prior that cannot be met; the message says what is possible."""


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """Vision transformer over patches of the picture."""

    patch: int = 4  # pixels a side of what becomes a token
    layers: int = 4  # of the transformer
    heads: int = 4  # of its attention
    width: int = 256  # numbers of a token


@dataclass(frozen=True, kw_only=True)
class CodebookConfig:
    """Factorised, l2-normalised codebook: `size` codes on the unit sphere of `width` dimensions."""

    size: int = 1024  # codes
    width: int = 16  # numbers of a code
    commitment: float = 0.25  # weight β of the tokens' way to their codes
    round_from: float = (
        0.0  # fraction of the budget from which tokens are rounded to codes; before, they pass as they are
    )
    revive_every: int = 25  # steps after which codes that nothing chose begin again as encoder outputs ...
    revive_until: float = 0.5  # ... up to this fraction of the budget


@dataclass(frozen=True, kw_only=True)
class DecoderConfig:
    """Transformer from tokens to tri-planes, and the perceptron that reads them."""

    layers: int = 6  # of the transformer
    heads: int = 6  # of its attention
    width: int = 384  # numbers of a token
    head: Literal["fold", "query"] = "fold"  # a token owns a cell of each plane, or plane cells ask tokens
    plane_resolution: int = 64  # texels along an edge of a plane
    plane_channels: int = 16  # features of a texel
    cell: int = 4  # texels a side of what one token (fold) or one query writes
    seam_convs: int = 2  # residual 3×3 convolutions over the planes
    field_width: int = 64  # hidden units from features to colour and density


@dataclass(frozen=True, kw_only=True)
class RenderConfig:
    """Samples of a ray: uniform in inverse depth, then more where they matter."""

    steps: int = 48  # samples of a ray
    fine_steps: int = 0  # further samples where those found something


@dataclass(frozen=True, kw_only=True)
class CameraConfig:
    """The input camera, the depths that it sees, and where novel views are taken from."""

    fov: float = 45.0  # degrees, between the centres of the outer pixels
    near: float = 0.4  # nearest depth, scene units
    far: float = 8.0  # farthest depth, scene units
    yaw_start: float = 7.5  # novel views turn by up to this, either way ...
    yaw: float = 20.0  # ... growing to this
    yaw_ramp: float = 1 / 3  # over this fraction of the budget
    pitch: float = 10.0  # novel views turn up or down by up to this
    dolly: float = 0.1  # share of the pivot's distance that the camera moves by, either way
    view_turn: float = 40.0  # true views to learn from turn by up to this against the picture


@dataclass(frozen=True, kw_only=True)
class DepthConfig:
    """Depth supervision. `point` is VQ3D's, the other modes are what it is compared with."""

    # of the data: depth that is known up to scale and shift, or true ray distance
    coding: Literal["relative", "metric"] = "relative"  # what the data's depth is
    unit: float = 1.0  # metric: the camera's distance from the origin, in the data's units
    ratio: float = 1.667  # relative: t_far / t_near that `gp3d data depth` was told
    mode: Literal["point", "accum", "none", "dsnerf", "urf"] = "point"  # which loss, docs/vq3d.md
    align: Literal["fixed", "lsq"] = "fixed"  # lsq: scale and shift of the prediction are free
    slope_low: float = 1.0  # lsq: least and greatest stretch of the prediction over the whole range
    slope_high: float = 2.5
    surface: float = 0.05  # dsnerf, urf: width of the surface, as a share of the range of inverse depth


@dataclass(frozen=True, kw_only=True)
class CriticConfig:
    """Discriminators of the input view and of novel views."""

    rgbd: bool = True  # they see disparity as well
    shared: bool = False  # one trunk with two heads
    channel_base: int = 4096  # channels at resolution r: min(channel_base / r, channel_max)
    channel_max: int = 256
    mbstd_group: int = 4  # images whose deviation is compared
    r1_gamma: float = 1.0  # weight of the gradient penalty on real pictures
    r1_interval: int = 16  # steps from one penalty to the next
    stop_encoder: bool = True  # novel views do not teach the encoder


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """Weights of what the tokenizer minimises."""

    mse: float = 1.0  # squared error of colours
    l1: float = 0.1  # absolute error of colours
    perceptual: Literal["features", "lpips", "none"] = "features"  # of the critic, or of VGG
    perceptual_weight: float = 0.1  # of the perceptual loss
    vq: float = 1.0  # codes and commitment
    depth: float = 1.0  # inverse depth
    adversarial: float = 0.1  # critic of the input view
    novel: float = 0.1  # critic of novel views
    smooth: float = 0.0  # total variation of novel disparity
    view: float = 0.0  # times `mse` and `depth`: colours and depth of novel views, where they are known:
    view_source: Literal["warp", "true"] = (
        "warp"  # the picture moved by its depth, or true views by cameras.json
    )


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """Clock, optimisers, phases and what is written when."""

    resolution: int = 64  # pixels a side of the pictures
    patch: int = 0  # pixels a side of the window that losses and critics see; 0 for the whole picture
    stride: int = 1  # the window takes every pixel, or every second ... of a larger part
    batch: int = 16  # pictures a step
    kimg: float = 160.0  # thousands of pictures in all
    lr: float = 2e-4  # learning rate of the tokenizer (AdamW)
    critic_lr: float = 2e-4  # learning rate of the critics
    final_lr: float = 0.5  # of lr, reached along a cosine
    warm_up: float = 0.02  # fraction of the budget over which the rates rise
    weight_decay: float = 1e-4  # of the tokenizer
    clip: float = 1.0  # largest norm of the gradient
    critic_from: float = 0.15  # fraction of the budget at which a phase begins
    novel_from: float = 0.30  # fraction of the budget at which the critic of novel views begins
    settle_from: float = 0.90  # from here the encoder and the codebook stay as they are
    ema_kimg: float = 11.0  # half-life
    ema_rampup: float = 0.05  # the half-life is at most this share of the pictures seen
    mirror: bool = True  # every picture also mirrored
    precision: Literal["float32", "mixed"] = "mixed"  # mixed: transformers in bfloat16
    status_kimg: float = 1.0  # from one line of stats.jsonl to the next
    snapshot_kimg: float = 20.0  # from one snapshot to the next
    checkpoint_kimg: float = 10.0  # from one checkpoint to the next
    seed: int = 0  # of everything that is drawn
    max_rollbacks: int = 3  # after so many the run gives up


@dataclass(frozen=True, kw_only=True)
class PriorConfig:
    """Class-conditional autoregressive transformer over the codes."""

    layers: int = 6  # of the transformer
    heads: int = 6  # of its attention
    width: int = 384  # numbers of a token
    dropout: float = 0.1  # share of activations that are dropped
    class_dropout: float = 0.1  # share of pictures whose class is hidden, for guidance
    batch: int = 64  # pictures a step
    kimg: float = 320.0  # thousands of pictures in all
    lr: float = 6e-4  # learning rate (AdamW)
    final_lr: float = 0.02  # of lr, reached along a cosine
    warm_up: float = 0.02  # fraction of the budget over which the rate rises
    weight_decay: float = 1e-4  # of all weights
    clip: float = 1.0  # largest norm of the gradient
    status_kimg: float = 4.0  # from one line of stats.jsonl to the next
    snapshot_kimg: float = 80.0  # from one snapshot to the next
    checkpoint_kimg: float = 40.0  # from one checkpoint to the next
    seed: int = 0  # of everything that is drawn


@dataclass(frozen=True, kw_only=True)
class Vq3dConfig:
    """Everything that decides a run; saved as config.json beside its results."""

    preset: str
    encoder: EncoderConfig = EncoderConfig()
    codebook: CodebookConfig = CodebookConfig()
    decoder: DecoderConfig = DecoderConfig()
    render: RenderConfig = RenderConfig()
    depth: DepthConfig = DepthConfig()
    camera: CameraConfig = CameraConfig()
    critic: CriticConfig = CriticConfig()
    loss: LossConfig = LossConfig()
    training: TrainingConfig = TrainingConfig()
    prior: PriorConfig = PriorConfig()

    @property
    def tokenizer_schedule(self) -> Schedule:
        """When the tokenizer's run saves and ends."""
        return self._schedule_of(self.training)

    @property
    def prior_schedule(self) -> Schedule:
        """When the prior's run saves and ends; how often it may roll back is the tokenizer's setting."""
        return self._schedule_of(self.prior)

    def _schedule_of(self, part: TrainingConfig | PriorConfig) -> Schedule:
        return Schedule(
            kimg=part.kimg,
            status_kimg=part.status_kimg,
            snapshot_kimg=part.snapshot_kimg,
            checkpoint_kimg=part.checkpoint_kimg,
            max_rollbacks=self.training.max_rollbacks,
        )

    @property
    def grid(self) -> int:
        """Tokens a side of a picture."""
        return self.training.resolution // self.encoder.patch

    @property
    def tokens(self) -> int:
        """Tokens N of a picture."""
        return self.grid**2


def parse_config(data: dict[str, Any]) -> Vq3dConfig:
    """The configuration of `gp3d_core.config.schema.to_dict`'s result, checked; ConfigError for what does not fit."""
    config: Vq3dConfig = from_dict(data, Vq3dConfig, "vq3d")
    check_config(config)
    return config


# Whole numbers are at least 1 and others at least 0, except these.
_WHOLE_ZERO = {"decoder.seam_convs", "render.fine_steps", "training.patch", "training.max_rollbacks"}
_ABOVE_ZERO = {"fov", "near", "far", "unit", "surface", "slope_low", "lr", "critic_lr"}
_ABOVE_ZERO |= {"kimg", "status_kimg", "snapshot_kimg", "checkpoint_kimg", "clip"}
_GREATEST = {
    "fov": 120.0,
    "yaw": 80.0,
    "yaw_start": 80.0,
    "pitch": 60.0,
    "dolly": 0.5,
    "view_turn": 90.0,
    "dropout": 0.9,
}
_GREATEST |= {"class_dropout": 0.9, "size": 65536, "layers": 256, "seam_convs": 256}


def check_config(config: Vq3dConfig) -> None:
    """Raises ConfigError for values out of range, and for values that do not fit together."""
    for key, value in flatten(config).items():
        if type(value) not in (int, float):
            continue
        name = key.split(".")[-1]
        least = 1 if type(value) is int and key not in _WHOLE_ZERO and name != "seed" else 0
        most = _GREATEST.get(name, math.inf)
        if not least <= value <= most or (name in _ABOVE_ZERO and value == 0):
            bound = f"above 0, at most {most:g}" if name in _ABOVE_ZERO else f"from {least} to {most:g}"
            raise ConfigError(f"{key} expects a number {bound}, found {value}")
    _check_sizes(config)
    camera = config.camera
    if not camera.near < 1 < camera.far:
        raise ConfigError(
            f"camera.near {camera.near} and camera.far {camera.far} must lie on either side of 1, the origin's depth"
        )
    if not config.depth.ratio > 1:
        raise ConfigError(f"depth.ratio expects a number above 1, found {config.depth.ratio}")
    if config.depth.slope_low > config.depth.slope_high:
        raise ConfigError("depth.slope_low is above depth.slope_high")


def _check_sizes(config: Vq3dConfig) -> None:
    settings, encoder, decoder = config.training, config.encoder, config.decoder
    for key, size in (("training.resolution", settings.resolution), ("training.patch", settings.patch or 8)):
        if size < 8 or size & (size - 1):
            raise ConfigError(f"{key} expects a power of two of at least 8, found {size}")
    if settings.patch > settings.resolution:
        raise ConfigError(
            f"training.patch {settings.patch} is larger than the picture, {settings.resolution}"
        )
    if settings.stride > 1 and not 0 < settings.patch * settings.stride <= settings.resolution:
        raise ConfigError(
            f"training.stride {settings.stride} needs training.patch from 8 to {settings.resolution // settings.stride}"
        )
    if settings.resolution % encoder.patch:
        raise ConfigError(
            f"encoder.patch {encoder.patch} does not divide training.resolution {settings.resolution}"
        )
    if decoder.head == "fold" and decoder.plane_resolution != config.grid * decoder.cell:
        raise ConfigError(
            f"decoder.plane_resolution {decoder.plane_resolution} must be {config.grid} tokens of decoder.cell "
            f"{decoder.cell} texels, {config.grid * decoder.cell}; or use decoder.head=query"
        )
    if decoder.plane_resolution % decoder.cell:
        raise ConfigError(f"decoder.cell {decoder.cell} does not divide {decoder.plane_resolution} texels")
    for part in ("encoder", "decoder", "prior"):
        width, heads = getattr(config, part).width, getattr(config, part).heads
        if width % heads:
            raise ConfigError(f"{part}.width {width} cannot be shared by {heads} heads")
    if config.critic.channel_base < (settings.patch or settings.resolution):
        raise ConfigError(f"critic.channel_base {config.critic.channel_base} leaves no channel")
    group = min(config.critic.mbstd_group, settings.batch)
    if settings.batch % group:
        raise ConfigError(f"training.batch {settings.batch} is not a multiple of critic.mbstd_group {group}")
