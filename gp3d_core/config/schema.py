"""Configuration: small frozen dataclasses, and a table of presets one compares by eye.

Units: angles in radians, `fov` in degrees, distances in world units, schedules in kimg (thousands of images seen).
Every default is the released 3DGP setting unless its comment says otherwise; where paper, release and this project
differ, docs/training.md lists the three side by side.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import typing
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, ClassVar, Literal

from gp3d_core.config.grounding import GroundingConfig
from gp3d_core.config.schedule import Schedule
from gp3d_core.errors import GP3DError

Config = typing.TypeVar("Config")  # a dataclass of dataclasses, such as RunConfig

COLOURS = 3  # of a pixel: red, green, blue
# Keys that only 3DGP reads: none of the systems that it is compared with has patches, adaptors or learnt cameras.
OF_3DGP_ALONE = (
    "camera_generator",
    "depth_adaptor",
    "patch",
    "grounding",
    "generator.known_objects",
    "generator.texel_square",
    "generator.rgb_activation",
    "discriminator.depth",
    "discriminator.class_gain",
    "loss.distillation_by_scale",
    "loss.real_depth_blur",
)


class ConfigError(GP3DError):
    """A configuration key, value or preset that does not exist or does not fit; the message names the remedy."""


@dataclass(frozen=True, kw_only=True)
class Ramp:
    """A value that moves linearly from `start` to `end` over the first `kimg` thousand images, then stays."""

    start: float
    end: float
    kimg: float = 0.0

    def at(self, nimg: int) -> float:
        """Value after `nimg` images seen."""
        if self.kimg <= 0:
            return self.end
        return self.start + (self.end - self.start) * min(nimg / (1000.0 * self.kimg), 1.0)


@dataclass(frozen=True, kw_only=True)
class Prior:
    """Distribution of one camera parameter.

    constant: `mean`. uniform: U[low, high]. normal: N(mean, std²). truncnorm: N((low+high)/2, std²) cut to [low, high].
    spherical_uniform: equal area on the sphere (pitch only). hybrid: per batch, uniform within ±2 std or normal.
    custom: the angles of a random image of the data set (yaw and pitch together); `mean` is where pictures look from.
    `low` and `high` also normalise the parameter inside the camera generator, whatever the kind.
    """

    kind: Literal["constant", "uniform", "normal", "truncnorm", "spherical_uniform", "hybrid", "custom"]
    low: float
    high: float
    mean: float = 0.0
    std: float = 0.0


@dataclass(frozen=True, kw_only=True)
class CameraConfig:
    """Prior over ball-in-sphere cameras (3DGP §3.2) and the part of space that rays cross."""

    yaw: Prior  # radians; growing yaw moves the camera towards -x
    pitch: Prior  # radians from straight above: π/2 is level
    fov: Prior  # degrees, between the centres of the outer pixels
    radius: Prior  # distance from the origin, world units
    look_at_yaw: Prior  # where the point that cameras look at lies: its yaw ...
    look_at_pitch: Prior  # ... its pitch ...
    look_at_radius: Prior  # ... and its distance from the origin
    t_near: float = 0.75  # distance along a ray from which samples are taken, world units
    t_far: float = 1.25  # ... and to which
    box: float = 0.5  # the tri-planes cover [-box, box]³


@dataclass(frozen=True, kw_only=True)
class RenderConfig:
    """Volume rendering. The release marches with an infinite last interval and no background."""

    coarse_steps: int = 32  # stratified samples of a ray
    fine_steps: int = 32  # samples drawn where those found something
    last_interval: float = (
        1e10  # length of the last interval; 1e-3 lets a ray stay empty, so that opacity can be learnt
    )
    background: Literal["none", "last", "white"] = "none"  # what the light that nothing stopped becomes
    outside_box: Literal["zeros", "empty"] = "zeros"  # features 0 (release), or density 0 outside the box
    density_scale: float = 1.0  # sigma = density_scale * softplus(density_gain * raw + density_shift)
    density_gain: float = 1.0
    density_shift: float = 0.0
    density_noise: Ramp = Ramp(start=1.0, end=0.0, kimg=5000)  # deviation of noise on raw densities, training
    coarse_spacing: Literal["normalised", "metric"] = (
        "normalised"  # of the intervals that guide the fine samples
    )
    evaluation_jitter: bool = False  # the release jitters in evaluation as well
    backend: Literal["auto", "reference", "triton"] = "auto"  # plain torch or fused kernels, docs/kernels.md


@dataclass(frozen=True, kw_only=True)
class GeneratorConfig:
    """Mapping, tri-plane backbone and point decoder."""

    z_dim: int = 512  # numbers of noise
    w_dim: int = 512  # numbers of a style code
    mapping_layers: int = 2  # from noise and class to style codes
    known_objects: int = (
        0  # around whose latents noise is spread first; set by grounding with a mixture for prior
    )
    plane_resolution: int = 512  # texels along an edge of a tri-plane
    plane_channels: int = 32  # features of a texel
    texel_square: int = 1  # texels along an edge that the last block writes for each of its pixels
    channel_base: int = 32768  # channels at resolution r: min(channel_base / r, channel_max)
    channel_max: int = 512
    decoder_width: int = 64  # hidden units from features to colour and density
    rgb_activation: Literal["linear", "sigmoid"] = "linear"  # sigmoid is widened to [-1.002, 1.002]


@dataclass(frozen=True, kw_only=True)
class CameraGeneratorConfig:
    """Camera generator (3DGP §3.2) and what keeps its posterior from collapsing (3DGP Eq. 2, App. J)."""

    adjust: tuple[str, ...] = ("angles", "fov", "look_at")  # () switches it off: cameras are the prior's
    width: int = 256  # hidden units
    embed: int = 16  # numbers that stand for noise, and for the class
    residual: bool = False  # the network adds to the prior instead of replacing it
    regulariser: Literal["none", "gradient_penalty", "emd"] = "emd"  # 3DGP Eq. 2, or earth mover's distance
    angle_weight: float = 2.0  # weight of the regulariser for yaw and pitch ...
    radius_weight: float = 0.0  # ... the radius ...
    fov_weight: float = 1e-4  # ... the field of view ...
    look_at_weight: float = 1e-4  # ... and the look-at point
    weight_ramp: Ramp = Ramp(start=0.0, end=1.0, kimg=10000)  # of the weights above
    force_mean_weight: float = 10.0  # keeps the mean angles at the prior's
    look_at_low: Literal["radius", "pitch"] = (
        "radius"  # the release denormalises look-at radius with pitch's minimum
    )


@dataclass(frozen=True, kw_only=True)
class DepthAdaptorConfig:
    """Depth adaptor (3DGP §3.1). With `layers` = 0 the discriminator sees the normalised depth itself."""

    layers: int = 3  # also the number of adapted maps to choose from
    width: int = 64  # channels
    kernel: int = 5  # pixels a side
    identity: Ramp = Ramp(start=0.25, end=0.10, kimg=10000)  # probability of showing the unadapted depth
    others: Literal["sloped", "equal"] = "sloped"  # how the rest is shared among the adapted maps


@dataclass(frozen=True, kw_only=True)
class PatchConfig:
    """Patch sampling (EpiGRAF §3.2): which window of the image plane the discriminator sees."""

    resolution: int = 64  # pixels a side of what the discriminator sees
    distribution: Literal["beta", "uniform", "discrete"] = "beta"  # of the patches' scales
    beta: Ramp = Ramp(start=0.001, end=0.8, kimg=10000)  # beta: scale ~ min + (1 - min) Beta(1, beta)
    min_scale: Ramp = Ramp(
        start=1.0, end=0.25, kimg=10000
    )  # uniform: annealed; beta and discrete use its end
    group: int = 4  # neighbouring samples that share one patch


@dataclass(frozen=True, kw_only=True)
class DiscriminatorConfig:
    """Patch discriminator with hyper-modulation and a distillation head (3DGP §3.3)."""

    channel_base: int = 32768  # channels at resolution r: min(channel_base / r, channel_max)
    channel_max: int = 512
    conv_clamp: float = 256.0  # largest activation in its convolutions
    half_resolutions: int = 4  # highest resolutions run in half precision on a GPU
    depth: bool = True  # false: D sees colour alone (EpiGRAF), and depth teaches nothing
    mbstd_group: int = 4  # images whose deviation is compared
    mbstd_layout: Literal["contiguous", "strided"] = "contiguous"  # contiguous agrees with the patch groups
    class_gain: float = (
        1.0  # of the one-hot class beside the patch position, whose code is about 28 times as long
    )


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """What the two players minimise (3DGP §3.3–3.4)."""

    adversarial: Literal["softplus", "hinge"] = "softplus"  # of both players
    r1_gamma: float = 0.05  # weight of the gradient penalty on real images
    r1_interval: int = 16  # steps from one penalty to the next
    distillation: Literal["l2", "l2_squared", "kl"] = "l2"  # distance to the features; KL of their softmax
    distillation_weight: Ramp = Ramp(start=1.0, end=0.0, kimg=100000)  # 0 switches it off
    distillation_by_scale: bool = True  # weigh samples by their patch scale
    blur: Ramp = Ramp(start=10.0, end=0.0, kimg=200)  # half-width in pixels of what blurs patches for D
    real_depth_blur: float = 0.0  # the paper's ablation over depth quality
    augmentation: Literal["none", "ada", "fixed"] = "none"  # ada: as often as the target asks for
    augmentation_target: float = 0.6  # ada: mean sign of D on real images
    augmentation_probability: float = 0.2  # fixed


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """Clock, optimisers and what is written when."""

    resolution: int = 256  # of the images trained on
    batch: int = 64  # over all processes
    micro_batch: int = 16  # per process and forward pass; gradients are averaged over micro-batches
    kimg: float = 25000  # thousands of images in all
    generator_lr: float = 0.0025  # learning rate (Adam)
    discriminator_lr: float = 0.002  # learning rate (Adam)
    ema_kimg: float = 320.0  # half-life
    ema_rampup: float = 0.05  # the half-life is at most this share of the images seen
    mirror: bool = True  # every image also mirrored
    precision: Literal["float32", "mixed"] = (
        "mixed"  # mixed: half precision in D on a GPU, in G and D on some CPUs
    )
    status_kimg: float = 4.0  # from one line of stats.jsonl to the next
    snapshot_kimg: float = 400.0  # from one snapshot to the next
    checkpoint_kimg: float = 100.0  # from one checkpoint to the next
    seed: int = 0  # of everything that is drawn
    max_rollbacks: int = 5  # after so many the run gives up
    head_start_kimg: float = (
        0.0  # D learns alone for so long, to catch up with a G that can something already
    )

    @property
    def schedule(self) -> Schedule:
        """When the run saves and ends."""
        return Schedule(
            kimg=self.kimg,
            status_kimg=self.status_kimg,
            snapshot_kimg=self.snapshot_kimg,
            checkpoint_kimg=self.checkpoint_kimg,
            max_rollbacks=self.max_rollbacks,
        )


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Everything that decides a run; saved as config.json beside its results.

    This is 3DGP's. A system that it is compared with has a class of its own below this one, with one section more.
    """

    system: ClassVar[str] = "3dgp"  # what the run trains; snapshots carry the word
    dimensions: ClassVar[int] = 3  # of what is generated: 2 for pictures without a shape
    unused: ClassVar[tuple[str, ...]] = ()  # sections and keys that the system does not read

    preset: str
    camera: CameraConfig
    render: RenderConfig = RenderConfig()
    generator: GeneratorConfig = GeneratorConfig()
    camera_generator: CameraGeneratorConfig = CameraGeneratorConfig()
    depth_adaptor: DepthAdaptorConfig = DepthAdaptorConfig()
    patch: PatchConfig = PatchConfig()
    discriminator: DiscriminatorConfig = DiscriminatorConfig()
    loss: LossConfig = LossConfig()
    grounding: GroundingConfig = GroundingConfig()
    training: TrainingConfig = TrainingConfig()

    def check(self) -> None:
        """Raises ConfigError for what the system's own section asks for in vain; 3DGP has none."""

    @property
    def reads_depth(self) -> bool:
        """Whether training needs depth maps beside the pictures: where the discriminator looks at them."""
        return self.discriminator.depth

    @property
    def rendered(self) -> int:
        """Pixels a side of what is rendered point by point while training."""
        return self.patch.resolution


def checked(value: Any, hint: Any, key: str) -> Any:
    """Returns `value` when it is of type `hint` (after the lossless int → float and list → tuple), else raises."""
    origin = typing.get_origin(hint)
    if origin is Literal:
        if value not in typing.get_args(hint):
            choices = ", ".join(map(str, typing.get_args(hint)))
            raise ConfigError(f"{key} expects one of {choices}; found {value!r}")
        return value
    if origin is tuple:
        if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
            raise ConfigError(f"{key} expects a list of names, found {value!r}")
        return tuple(value)
    if hint is float and type(value) is int:
        try:
            return float(value)
        except OverflowError:
            raise ConfigError(f"{key} expects a number below 1.8e308, found one of more digits") from None
    if type(value) is not hint or (hint is float and not math.isfinite(value)):
        raise ConfigError(f"{key} expects {hint.__name__}, found {value!r}")
    return value


def from_dict(data: dict[str, Any], kind: type = RunConfig, key: str = "config") -> Any:
    """Builds a configuration from `to_dict`'s result; raises ConfigError for unknown, missing or ill-typed keys.

    Keys that are younger than the first files are filled in with what those files meant.
    """
    if not isinstance(data, dict):
        raise ConfigError(f"{key} expects a mapping, found {data!r}")
    hints, names = typing.get_type_hints(kind), [f.name for f in fields(kind)]
    data = {name: _YOUNGER[f"{key}.{name}"] for name in names if f"{key}.{name}" in _YOUNGER} | data
    data = {f.name: to_dict(f.default) for f in fields(kind) if f.name in _unused(kind)} | data
    if unknown := sorted(set(data) - set(names)):
        raise ConfigError(f"no configuration key {key}.{unknown[0]}; {nearest(unknown[0], names)}")
    if missing := [name for name in names if name not in data]:
        raise ConfigError(f"configuration key {key}.{missing[0]} is missing")
    values = {
        name: from_dict(data[name], hints[name], f"{key}.{name}")
        if is_dataclass(hints[name])
        else checked(data[name], hints[name], f"{key}.{name}")
        for name in names
    }
    return kind(**values)


def to_dict(config: Any) -> dict[str, Any]:
    """A configuration as nested plain values, ready for JSON; without sections that its system does not read."""
    values = dataclasses.asdict(config)
    return {name: value for name, value in values.items() if name not in _unused(config)}


def _unused(config: Any) -> tuple[str, ...]:
    """What a configuration, or its class, says that it does not read."""
    return getattr(config, "unused", ())


def unread(config: Any, key: str) -> str | None:
    """The section or key that the configuration's system does not read and that `key` lies in; None if it is read."""
    return next((name for name in _unused(config) if f"{key}.".startswith(f"{name}.")), None)


# Keys that came after files had been written, and what those files meant without saying so.
_YOUNGER: dict[str, Any] = {
    "config.render.backend": "auto",
    "config.discriminator.depth": True,
    "config.grounding": to_dict(GroundingConfig()),
    "config.grounding.colour": "picture",
    "config.grounding.surface_points": 0,
    "config.grounding.colour_jitter": 0.01,
    "config.grounding.free_weight": 0.0,
    "config.grounding.noise_maps": "const",
    "config.grounding.prior": "normal",
    "config.grounding.bandwidth": 0.3,
    "config.generator.known_objects": 0,
    "config.generator.texel_square": 1,
    "config.training.head_start_kimg": 0.0,
}


def flatten(config: Any, prefix: str = "") -> dict[str, Any]:
    """The values of a configuration by their dotted keys."""
    flat: dict[str, Any] = {}
    for name, value in ((f.name, getattr(config, f.name)) for f in fields(config)):
        key = f"{prefix}{name}"
        flat |= flatten(value, f"{key}.") if is_dataclass(value) else {key: value}
    return {key: value for key, value in flat.items() if unread(config, key) is None}


def nearest(name: str, names: typing.Iterable[str]) -> str:
    """Half a sentence that helps after a name that does not exist: the nearest of `names`, or all of them."""
    close = difflib.get_close_matches(name, list(names), n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"choose one of {', '.join(sorted(names))}"
