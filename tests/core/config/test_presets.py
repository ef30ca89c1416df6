"""The presets: all of them can be built, and the published ones hold the published numbers.

The constants below are the paper's and the release's own numbers under the paper's names, and deliberately not taken
from the code: whoever changes a preset has to change them here as well, and say why.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from gp3d_core.config.presets import PRESETS
from gp3d_core.config.schema import Prior, Ramp, RunConfig, flatten
from gp3d_core.networks.discriminator import Discriminator
from gp3d_core.networks.generator import Generator
from gp3d_core.rendering.patches import full_patch

RESNET50 = 2048  # width of the distilled features
FREE = ("camera_generator.regulariser", "camera_generator.force_mean_weight")


def networks(name: str, num_classes: int) -> tuple[Generator, Discriminator]:
    """Both players without any memory for their weights."""
    with torch.device("meta"):
        return Generator(PRESETS[name], num_classes), Discriminator(PRESETS[name], num_classes, RESNET50)


def size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("num_classes", [1000, 55, 0])
@pytest.mark.parametrize("name", [name for name, config in PRESETS.items() if config.system == "3dgp"])
def test_networks_of_every_preset_can_be_built(name: str, num_classes: int) -> None:
    generator, discriminator = networks(name, num_classes)
    for network in (generator, discriminator):
        assert network.c_dim == num_classes
        assert {tensor.device.type for tensor in network.state_dict().values()} == {"meta"}
    settings = PRESETS[name].generator
    assert (
        generator.backbone.num_ws
        == 2 * int(math.log2(settings.plane_resolution // settings.texel_square)) - 2
    )
    with torch.device("meta"):
        z, c = torch.zeros(1, settings.z_dim), torch.zeros(1, num_classes)
        planes = generator.eval().planes(generator.mapping(z, c))
        patch = torch.zeros(1, 4, *[PRESETS[name].patch.resolution] * 2)
        judged = discriminator(patch, full_patch(1), c, with_features=True)
    assert judged.logits.shape == (1,)
    assert judged.features.shape == (1, RESNET50)
    assert planes.shape == (1, 3, settings.plane_channels, *[settings.plane_resolution] * 2)


@pytest.mark.parametrize(
    ("name", "num_classes", "generator_size", "discriminator_size"),
    [
        ("dogs-256", 1000, 30_154_573, 38_287_232),  # 30.15 M and 38.30 M were published, the latter with
        ("dogs-256", 0, 29_339_693, 37_775_232),  # unused colour inputs of the later blocks
        ("imagenet-256", 1000, 105_721_805, 143_032_320),
        ("imagenet-256-paper", 1000, 30_154_573, 33_194_304),
    ],
)
def test_networks_have_the_published_sizes(
    name: str, num_classes: int, generator_size: int, discriminator_size: int
) -> None:
    generator, discriminator = networks(name, num_classes)
    assert (size(generator), size(discriminator)) == (generator_size, discriminator_size)


def test_unused_colour_inputs_make_up_the_published_size_of_the_discriminator() -> None:
    later_blocks = (256, 512, 512, 512, 512)  # channels of nominal resolutions 128, 64, 32, 16, 8
    unused = sum(4 * channels + channels for channels in later_blocks)
    published = 38_300_000
    assert abs(size(networks("dogs-256", 1000)[1]) + unused - published) < 5_000


def number(config: RunConfig, key: str) -> object:
    """The value of a dotted key."""
    value: object = config
    for name in key.split("."):
        value = getattr(value, name)
    return value


def ramp(start: float, end: float, kimg: float = 0.0) -> Ramp:
    return Ramp(start=start, end=end, kimg=kimg)


def uniform(low: float, high: float) -> Prior:
    return Prior(kind="uniform", low=low, high=high)


# What all published runs at 256² share.
METHOD = {
    "generator.z_dim": 512,
    "generator.w_dim": 512,
    "generator.mapping_layers": 2,
    "generator.plane_resolution": 512,
    "generator.plane_channels": 32,
    "generator.decoder_width": 64,
    "generator.rgb_activation": "linear",
    "depth_adaptor.layers": 3,
    "depth_adaptor.width": 64,
    "depth_adaptor.kernel": 5,
    "patch.resolution": 64,
    "patch.distribution": "beta",
    "patch.beta": ramp(0.001, 0.8, 10_000),
    "patch.min_scale.end": 0.25,
    "patch.group": 4,
    "discriminator.channel_max": 512,
    "discriminator.conv_clamp": 256,
    "discriminator.half_resolutions": 4,
    "discriminator.mbstd_group": 4,
    "discriminator.mbstd_layout": "contiguous",
    "discriminator.class_gain": 1,
    "loss.adversarial": "softplus",
    "loss.r1_interval": 16,
    "loss.blur": ramp(10, 0, 200),
    "loss.real_depth_blur": 0,
    "loss.augmentation": "none",
    "training.resolution": 256,
    "training.batch": 64,
    "training.kimg": 25_000,
    "training.ema_kimg": 320,
    "training.ema_rampup": 0.05,
    "training.mirror": True,
    "training.precision": "mixed",
}
PHOTOGRAPHS = {
    "camera.yaw": uniform(-1.57, 1.57),
    "camera.pitch": uniform(math.pi / 4, 3 * math.pi / 4),
    "camera.fov": uniform(10, 45),
    "camera.radius": Prior(kind="constant", mean=1, low=1, high=1),
    "camera.look_at_yaw": uniform(-math.pi, math.pi),
    "camera.look_at_pitch": Prior(kind="spherical_uniform", low=0, high=math.pi),
    "camera.look_at_radius": uniform(0, 0.2),
    "camera.t_near": 0.75,
    "camera.t_far": 1.25,
    "camera.box": 0.5,
    "camera_generator.adjust": ("angles", "fov", "look_at"),
    "camera_generator.width": 256,
    "camera_generator.embed": 16,
    "camera_generator.residual": False,
    "camera_generator.look_at_low": "radius",
    "render.last_interval": 1e10,
    "render.background": "none",
    "render.density_scale": 1,
    "render.density_gain": 1,
    "render.density_shift": 0,
    "render.density_noise": ramp(1, 0, 5000),
    "render.coarse_spacing": "normalised",
}
RELEASE = {
    "render.coarse_steps": 32,
    "render.fine_steps": 32,
    "camera_generator.regulariser": "emd",
    "camera_generator.angle_weight": 2,
    "camera_generator.radius_weight": 0,
    "camera_generator.fov_weight": 1e-4,
    "camera_generator.look_at_weight": 1e-4,
    "camera_generator.weight_ramp": ramp(0, 1, 10_000),
    "camera_generator.force_mean_weight": 10,
    "depth_adaptor.identity": ramp(0.25, 0.10, 10_000),
    "depth_adaptor.others": "sloped",
    "loss.distillation": "l2",
    "loss.distillation_weight": ramp(1, 0, 100_000),
    "loss.distillation_by_scale": True,
    "training.generator_lr": 0.0025,
    "training.discriminator_lr": 0.002,
}
PAPER = {
    "render.coarse_steps": 48,
    "render.fine_steps": 48,
    "camera_generator.regulariser": "gradient_penalty",
    "camera_generator.angle_weight": 0.3,
    "camera_generator.fov_weight": 0.03,
    "camera_generator.look_at_weight": 0.003,
    "camera_generator.weight_ramp": ramp(1, 1),
    "camera_generator.force_mean_weight": 0,
    "depth_adaptor.identity": ramp(0.5, 0.5),
    "depth_adaptor.others": "equal",
    "loss.distillation": "l2_squared",
    "loss.distillation_weight": ramp(1, 1),
    "loss.distillation_by_scale": False,
    "training.generator_lr": 0.002,
    "training.discriminator_lr": 0.002,
}
NARROW = {"generator.channel_base": 32_768, "generator.channel_max": 512}
SHAPENET = {
    "camera.yaw": Prior(kind="normal", mean=0, std=math.pi / 8, low=-math.pi / 2, high=math.pi / 2),
    "camera.pitch": Prior(
        kind="normal", mean=math.pi / 2, std=math.pi / 8, low=math.pi / 8, high=7 * math.pi / 8
    ),
    "camera.fov": Prior(kind="constant", mean=40, low=10, high=45),
    "camera.radius": Prior(kind="constant", mean=2, low=2, high=2),
    "camera.look_at_radius": uniform(0, 0),
    "camera.t_near": 1.45,
    "camera.t_far": 2.55,
    "camera.box": 1.2,
    "camera_generator.adjust": (),  # its cameras are known
    "camera_generator.force_mean_weight": 0,
    "render.last_interval": 1e-3,  # rays may stay empty, on white
    "render.background": "white",
    "render.outside_box": "empty",
    "render.density_noise": ramp(0, 0),
    "loss.r1_gamma": 0.1,
    **NARROW,
    "discriminator.channel_base": 32_768,
}
PUBLISHED = {
    "dogs-256": METHOD
    | PHOTOGRAPHS
    | RELEASE
    | NARROW
    | {"discriminator.channel_base": 32_768, "loss.r1_gamma": 2e-4 * 256**2 / 64},
    "imagenet-256": METHOD
    | PHOTOGRAPHS
    | RELEASE
    | {
        "generator.channel_base": 65_536,
        "generator.channel_max": 1024,
        "discriminator.channel_base": 65_536,
        "discriminator.channel_max": 1024,
        "loss.r1_gamma": 0.05,
    },
    "imagenet-256-paper": METHOD
    | PHOTOGRAPHS
    | PAPER
    | NARROW
    | {"discriminator.channel_base": 16_384, "loss.r1_gamma": 0.1},
    "shapenet-256": METHOD
    | {key: value for key, value in RELEASE.items() if not key.startswith("camera_generator")}
    | SHAPENET,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_preset_holds_the_published_numbers(name: str) -> None:
    found = {key: number(PRESETS[name], key) for key in PUBLISHED[name]}
    assert found == PUBLISHED[name]


@pytest.mark.parametrize("name", ["tiny", "objects-64", "shapenet-64", "shapenet-128", "shapenet-256"])
def test_object_presets_share_cameras_and_density(name: str) -> None:
    """Alpha of a coarse step is a sigmoid of the raw density when scale · step is about 1."""
    config = PRESETS[name]
    keys = ("yaw", "pitch", "fov", "radius", "look_at_radius", "t_near", "t_far")
    assert [number(config.camera, key) for key in keys] == [SHAPENET[f"camera.{key}"] for key in keys]
    render = config.render
    assert (render.density_gain, render.density_shift) == (10, -3)
    step = (config.camera.t_far - config.camera.t_near) / (render.coarse_steps + render.fine_steps)
    assert 0.5 < render.density_scale * step < 2
    assert config.camera_generator.adjust == ()


def test_the_row_of_objects_has_a_generator_as_large_as_eg3d_s() -> None:
    """Planes, widths and samples are the same, and the discriminator sees as many pixels as EG3D renders."""
    ours, theirs = PRESETS["objects-64"], PRESETS["eg3d-64"]
    same = (
        "z_dim",
        "w_dim",
        "mapping_layers",
        "plane_resolution",
        "plane_channels",
        "channel_base",
        "channel_max",
    )
    assert [getattr(ours.generator, key) for key in same] == [getattr(theirs.generator, key) for key in same]
    assert ours.generator.decoder_width == theirs.generator.decoder_width
    assert ours.patch.resolution == theirs.rendered
    assert (ours.render.coarse_steps, ours.render.fine_steps) == (
        theirs.render.coarse_steps,
        theirs.render.fine_steps,
    )
    assert (ours.training.batch, ours.training.kimg) == (theirs.training.batch, theirs.training.kimg)


def test_rows_of_photographs_differ_in_the_spread_alone() -> None:
    for name in ("epigraf-64", "epigraf-256"):
        default, wide = (flatten(PRESETS[f"{name}-{spread}"]) for spread in ("default", "wide"))
        assert {key for key in default if default[key] != wide[key]} == {
            "preset",
            "camera.yaw.std",
            "camera.pitch.std",
        }
        spread = [row[f"camera.{name}.std"] for row in (default, wide) for name in ("yaw", "pitch")]
        assert spread == [0.3, 0.155, 0.6, 0.3]


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("bare", ("camera_generator", "depth_adaptor.layers", "discriminator.depth")),
        ("identity-0", ("depth_adaptor.identity",)),
        ("identity-100", ("depth_adaptor.identity",)),
        ("camera-prior", ("camera_generator",)),
        ("camera-residual", ("camera_generator.residual", *FREE)),
        ("camera-unregularised", FREE),
        ("camera-penalty", ("camera_generator",)),
    ],
)
def test_ablations_are_the_full_method_but_for_what_they_are_about(
    name: str, changed: tuple[str, ...]
) -> None:
    row, full = flatten(PRESETS[f"dogs-256-{name}"]), flatten(PRESETS["dogs-256"])
    odd = {key for key in row if row[key] != full[key]} - {"preset"}
    assert odd
    assert all(key.startswith(changed) for key in odd)
    if name.startswith("identity"):
        assert (
            row["depth_adaptor.identity.start"] == row["depth_adaptor.identity.end"] == float(name[9:]) / 100
        )
