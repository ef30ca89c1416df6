"""EG3D's cameras, rays, fields, networks and losses against recorded tensors of its release."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from gp3d_core.baselines.eg3d.field import FeatureDecoder, FeatureField
from gp3d_core.baselines.eg3d.generator import Eg3dGenerator
from gp3d_core.baselines.eg3d.marching import cross_box, march
from gp3d_core.baselines.eg3d.poses import pose_vectors
from gp3d_core.baselines.eg3d.rendering import RawPicture, Uniforms, render_features
from gp3d_core.config.eg3d import Eg3dConfig
from gp3d_core.config.presets import PRESETS
from gp3d_core.config.schema import GeneratorConfig, Ramp, RenderConfig
from gp3d_core.datasets.dataset import Batch
from gp3d_core.networks.discriminator import ImageDiscriminator
from gp3d_core.ops.resampling import resize
from gp3d_core.rendering.cameras import Cameras, sample_rays
from gp3d_core.training.losses import blur_kernel, fake_loss, generator_loss, r1_penalty, real_loss
from gp3d_core.training.phases import StepContext
from gp3d_core.training.systems.eg3d import Eg3dAdversary, both, density_difference, real_raw
from gp3d_core.training.systems.phases import PicturePhases, Players, Shown
from tests.core.baselines.comparing import (
    MAPPING,
    STYLED,
    TWICE,
    block_of,
    check_gradient,
    check_gradients,
    check_norms,
    fill,
)
from tests.core.parity.kinks import either_side_of_kinks
from tests.core.parity.parity_fixtures import Case, Close
from tests.core.parity.parity_names import Names

Recorded = Callable[[str], Case]

GENERATOR = Names(
    (
        (r"^backbone\.mapping\.", "mapping."),
        (r"^backbone\.synthesis\.", "backbone."),
        (r"^backbone\.b4\.const$", "backbone.const"),
        block_of("backbone"),
        *MAPPING,
        *STYLED,
        (r"\.(conv\d)\.weight$", r".\1.conv.weight"),
        (r"^decoder\.net\.0\.", "decoder.hidden."),
        (r"^decoder\.net\.2\.", "decoder.output."),
    )
)
DECODER = Names(((r"^net\.0\.", "hidden."), (r"^net\.2\.", "output.")))


def discriminator_names(resolution: int) -> Names:
    first = resolution.bit_length()
    return Names(
        (
            (r"^mapping\.embed\.", "projection.embed."),
            (r"^mapping\.fc(\d+)\.", r"projection.layers.\1."),
            (r"^b4\.out\.", "output."),
            (r"^b4\.", ""),
            (rf"^b{resolution}\.fromrgb\.", "from_image."),
            (r"^b(\d+)\.", lambda m: f"blocks.{first - int(m[1]).bit_length()}."),
        )
    )


def recorded_cameras(case: Case) -> Cameras:
    """The recorded angles as our cameras: pictures of the recorded resolution, from the recorded radius."""
    h, v = case["h"].double(), case["v"].double()
    pixels, edges = case.meta["resolution"], math.radians(case.meta["horizontal_fov_deg"])
    fov = 2 * math.degrees(math.atan(math.tan(edges / 2) * (pixels - 1) / pixels))
    pitch = torch.arccos(1 - 2 * v.clamp(1e-5, math.pi - 1e-5) / math.pi)
    zero = torch.zeros_like(h)
    return Cameras(
        angles=torch.stack([math.pi / 2 - h, pitch, zero], dim=1),
        fov=torch.full_like(h, fov),
        radius=torch.full_like(h, case.meta["radius"]),
        look_at=torch.stack([zero, zero + math.pi / 2, zero], dim=1),
    )


def test_cameras_rays_and_box(recorded: Recorded, close: Close) -> None:
    case = recorded("eg3d_cameras")
    cameras, pixels = recorded_cameras(case), case.meta["resolution"]
    poses = pose_vectors(cameras, pixels).float()
    close(poses[:, :16].unflatten(1, (4, 4)), case["cam2world"])
    close(poses[:, 16:].unflatten(1, (3, 3)), case["intrinsics"])
    origins, directions = sample_rays(cameras, pixels)
    close(origins.float(), case["ray_o"])
    close(directions.float(), case["ray_d"])
    near, far, hits = cross_box(case["ray_o"], case["ray_d"], 0.5)  # the recorded box has side 1
    close(torch.where(hits, near, -1.0), case["box_near"].reshape(near.shape))
    close(torch.where(hits, far, -2.0), case["box_far"].reshape(far.shape))


def test_helper_of_the_release_takes_a_diagonal(recorded: Recorded) -> None:
    facts = recorded("eg3d_cameras").meta
    focal = 1 / (1.414 * math.tan(math.radians(facts["fov_argument"]) / 2))
    assert math.isclose(2 * math.degrees(math.atan(0.5 / focal)), facts["horizontal_fov_deg"], rel_tol=1e-6)


@pytest.mark.parametrize("background", ["black", "white"])
def test_marcher(recorded: Recorded, close: Close, background: str) -> None:
    case = recorded("eg3d_marcher")
    colours, density = (case[name].clone().requires_grad_() for name in ("colours", "density"))
    config = RenderConfig(density_shift=-1.0, background="white" if background == "white" else "none")
    seen = march(colours, density[..., 0], case["t"][..., 0], config)
    close(seen.features, case[f"{background}.rgb"], "forward64")
    close(seen.depth, case[f"{background}.depth"], "forward64")
    close(seen.weights[..., None], case[f"{background}.weights"], "forward64")
    (seen.features * case[f"{background}.cotangent"]).sum().backward()
    close(colours.grad, case[f"{background}.grad:colours"], "forward64")
    close(density.grad, case[f"{background}.grad:density"], "forward64")


def config_of(facts: dict[str, Any], **ours: Any) -> Eg3dConfig:
    """The recorded sizes as our configuration."""
    base = PRESETS["eg3d-64"]
    assert isinstance(base, Eg3dConfig)
    return replace(
        base,
        camera=replace(
            base.camera, t_near=facts["ray_start"], t_far=facts["ray_end"], box=facts["box_warp"] / 2
        ),
        render=RenderConfig(
            coarse_steps=facts["depth_resolution"],
            fine_steps=facts["depth_resolution_importance"],
            density_shift=-1.0,
            background="white" if facts["white_back"] else "none",
            density_noise=Ramp(start=0.0, end=0.0),
        ),
        eg3d=replace(base.eg3d, guide="released", **ours),
    )


def check_fine(actual: Tensor, expected: Tensor) -> None:
    """Fine distances agree; one that hits an edge of its distribution function may lie in either bin."""
    off = (actual - expected).abs() > 1e-4
    assert off.float().mean() <= 0.01, f"{int(off.sum())} of {off.numel()} fine distances differ"


VARIANTS = {
    "released": {"planes": "released"},
    "fixed": {},
    "fixed_white": {},
    "fixed_auto": {"limits": "released"},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_renderer(recorded: Recorded, close: Close, variant: str) -> None:
    case = recorded("eg3d_renderer")
    facts = case.meta | {"white_back": variant == "fixed_white"}
    config = config_of(facts, **VARIANTS[variant])
    decoder = FeatureDecoder(
        facts["features"], case["param:net.0.weight"].shape[0], len(case["param:net.2.bias"]) - 1
    )
    fill(decoder, case.under("param:"), DECODER)
    planes = case["planes"].clone().requires_grad_()
    field = FeatureField(planes, decoder, config.camera.box, config.eg3d.planes)
    if f"points.{variant}.features" in case.tensors:
        close(field.looked_up(case["points"]), case[f"points.{variant}.features"])
        colours, raw = field.decoded(case["points"])
        close(colours, case[f"points.{variant}.colour"])
        close(raw, case[f"points.{variant}.density"])
    numbers = uniforms_of(case, variant)
    seen = render_features(field, case["ray_o"], case["ray_d"], config, numbers)
    torch.testing.assert_close(seen.t_coarse[..., None], case[f"{variant}.t_coarse"], rtol=0, atol=1e-5)
    close(seen.coarse_weights[..., None], case[f"{variant}.w_coarse"])
    check_fine(seen.t_fine[..., None], case[f"{variant}.t_fine"])
    check_picture(seen, case, variant, close)
    depth = seen.marched.depth * case[f"{variant}.cotangent_depth"]
    ((seen.marched.features * case[f"{variant}.cotangent"]).sum() + depth.sum()).backward()
    gradients = case.under(f"{variant}.grad:")
    check_gradient(planes.grad, gradients.pop("planes"), "planes")
    check_gradients(decoder, gradients, DECODER)


def uniforms_of(case: Case, variant: str) -> Uniforms:
    coarse = case[f"{variant}.u_coarse"][..., 0]
    return Uniforms(coarse, case[f"{variant}.u_fine"].reshape(*coarse.shape[:2], -1))


def check_picture(seen: RawPicture, case: Case, variant: str, close: Close) -> None:
    close(seen.marched.features, case[f"{variant}.feature"])
    close(seen.marched.depth, case[f"{variant}.depth"])
    close(seen.marched.opacity, case[f"{variant}.opacity"])


def recorded_generator(case: Case) -> Eg3dGenerator:
    facts = case.meta
    features = case["param:decoder.net.0.weight"].shape[1]
    config = config_of(
        facts,
        features=len(case["param:decoder.net.2.bias"]) - 1,
        start_resolution=facts["sr_input_resolution"],
        start_channels=facts["sr_channels"][0],
        end_channels=facts["sr_channels"][1],
        pose_to_generator=True,
    )
    layers = len(
        {name for name in case.tensors if re.fullmatch(r"param:backbone\.mapping\.fc\d+\.bias", name)}
    )
    config = replace(
        config,
        generator=GeneratorConfig(
            z_dim=facts["z_dim"],
            w_dim=facts["w_dim"],
            mapping_layers=layers,
            plane_resolution=facts["plane_resolution"],
            plane_channels=features,
            channel_base=facts["channel_base"],
            channel_max=facts["channel_max"],
            decoder_width=case["param:decoder.net.0.weight"].shape[0],
        ),
        training=replace(config.training, resolution=facts["img_resolution"]),
    )
    network = Eg3dGenerator(config, num_classes=0).eval()
    fill(network, case.under("param:"), GENERATOR)
    return network


def seen_by(generator: Eg3dGenerator, case: Case, variant: str, ws: Tensor):
    """The recorded variant, from rays that the recorded camera vectors have, OpenCV's frame and all."""
    side = case[f"{variant}.depth"].shape[-1]
    c = case["c"]
    pose, intrinsics = c[:, :16].unflatten(1, (4, 4)), c[:, 16:].unflatten(1, (3, 3))
    line = (torch.arange(side) + 0.5) / side
    y, x = torch.meshgrid(line, line, indexing="ij")
    plane = torch.stack([x, y], dim=-1).reshape(1, -1, 2)
    focal = torch.stack([intrinsics[:, 0, 0], intrinsics[:, 1, 1]], dim=1)[:, None]
    middle = torch.stack([intrinsics[:, 0, 2], intrinsics[:, 1, 2]], dim=1)[:, None]
    flat = (plane - middle) / focal
    directions = torch.cat([flat, torch.ones_like(flat[..., :1])], dim=-1) @ pose[:, :3, :3].transpose(1, 2)
    directions = directions / directions.norm(dim=-1, keepdim=True)
    origins = pose[:, None, :3, 3].expand_as(directions)
    numbers = uniforms_of(case, variant)
    planes = generator.planes(ws)
    picture = generator.rendered(planes, origins, directions, numbers)
    return planes, picture, generator.finished(ws, picture, None)  # type: ignore[arg-type]


@pytest.mark.parametrize("variant", ["same", "resized"])
@either_side_of_kinks
def test_generator(recorded: Recorded, close: Close, variant: str) -> None:
    case = recorded("eg3d_generator")
    generator = recorded_generator(case)
    told = case["c"] * case.meta["c_scale"] * (not case.meta["c_gen_conditioning_zero"])
    close(generator.mapping(case["z"], None, pose=told), case["ws"])
    ws = case["ws"].clone().requires_grad_()
    planes, picture, seen = seen_by(generator, case, variant, ws)
    close(planes, case["planes"])
    close(seen.rgb, case[f"{variant}.image"])
    close(seen.raw, case[f"{variant}.image_raw"])
    close(picture.marched.depth, case[f"{variant}.depth"].flatten(2).transpose(1, 2))
    loss = (seen.rgb * case[f"{variant}.cotangent"]).sum()
    loss = loss + (seen.raw * case[f"{variant}.cotangent_raw"]).sum()
    loss.backward()
    gradients = case.under(f"{variant}.grad:")
    check_gradient(ws.grad, gradients.pop("ws"), "ws")
    if gradients:
        check_gradients(generator, gradients, GENERATOR)
    norms = case.meta.get(f"gradnorm_{variant}")
    if norms:
        check_norms(generator, {name.removeprefix("grad:"): norm for name, norm in norms.items()}, GENERATOR)


@either_side_of_kinks
def test_density_regulariser(recorded: Recorded, close: Close) -> None:
    case, weights = recorded("eg3d_density_regulariser"), recorded("eg3d_generator")
    generator = recorded_generator(weights)
    ws = case["ws"].clone().requires_grad_()
    field = generator.field(generator.planes(ws))
    raw = field.decoded(torch.cat([case["points"], case["perturbed"]], dim=1))[1]
    close(raw.chunk(2, dim=1)[0], case["density"])
    close(raw.chunk(2, dim=1)[1], case["density_perturbed"])
    loss = case.meta["weight"] * density_difference(raw)
    close(loss, case["loss"])
    loss.backward()
    gradients = case.under("grad:")
    check_gradient(ws.grad, gradients.pop("ws"), "ws")
    # it moves both densities alike, so that what is recorded of it is 0, or rounding around it
    level = gradients.pop("decoder.net.2.bias", torch.zeros(1))
    level = torch.cat([level.abs(), generator.decoder.output.bias.grad.abs()])
    assert level.max() <= 1e-6 * case.meta["weight"]
    check_gradients(generator, gradients, GENERATOR)


def recorded_discriminator(case: Case) -> tuple[ImageDiscriminator, Names]:
    facts = case.meta
    network = ImageDiscriminator(
        resolution=facts["resolution"],
        image_channels=6,
        c_dim=facts["c_dim"],
        channel_base=facts["channel_base"],
        channel_max=facts["channel_max"],
        mapping_layers=facts["mapping_layers"],
        mbstd_group=facts["mbstd_group"],
        mbstd_layout="strided",
    )
    names = discriminator_names(facts["resolution"])
    fill(network, case.under("param:"), names)
    return network, names


@either_side_of_kinks
def test_discriminator_and_its_penalty(recorded: Recorded, close: Close) -> None:
    case = recorded("eg3d_discriminator")
    network, names = recorded_discriminator(case)
    image, raw = (case[name].clone().requires_grad_() for name in ("image", "raw"))
    logits = network(both(image, raw, 0.0), case["c"] if network.c_dim else None).logits
    close(logits, case["logits"])
    leaves = torch.autograd.grad((logits * case["cotangent"]).sum(), (image, raw), retain_graph=True)
    check_gradient(leaves[0], case["grad:image"], "image")
    check_gradient(leaves[1], case["grad:raw"], "raw")
    alone = torch.autograd.grad(logits.sum(), (image, raw), retain_graph=True)
    check_gradient(alone[0], case["r1.image"], "r1.image")
    check_gradient(alone[1], case["r1.raw"], "r1.raw")
    penalty = r1_penalty(logits, image, raw)
    torch.testing.assert_close(penalty, case["penalty"], rtol=1e-3, atol=0)
    (0.5 * penalty.mean()).backward()
    check_norms(network, case.meta["gradnorm_of_half_mean_penalty"], names, rounding=TWICE)


def test_resizing(recorded: Recorded, close: Close) -> None:
    case = recorded("eg3d_discriminator")
    kinds = {"antialiased": 1.0, "none": 0.0}
    found = case.under("resize.")
    images = found.pop("in")
    assert found
    for name, expected in found.items():
        kind = name.rsplit(".", 1)[0]
        share = kinds[kind] if kind in kinds else float(kind.removeprefix("blend"))
        close(resize(images, expected.shape[-1], antialias=share), expected)


class TestLosses:
    """What reaches the discriminator while the blur is on, and where R1 is taken."""

    def adversary(self, case: Case, weights: Case) -> Eg3dAdversary:
        config = PRESETS["eg3d-64"]
        assert isinstance(config, Eg3dConfig)
        pixels, sigma = float(case.meta["neural_resolution"]), case.meta["sigma"]
        config = replace(
            config,
            loss=replace(config.loss, blur=Ramp(start=sigma, end=sigma), r1_gamma=case.meta["gamma"]),
            eg3d=replace(config.eg3d, neural_resolution=Ramp(start=pixels, end=pixels)),
        )
        return Eg3dAdversary(config, SimpleNamespace(num_classes=weights.meta["c_dim"], angles=None))

    @either_side_of_kinks
    def test_both_players(self, recorded: Recorded, close: Close) -> None:
        case, weights = recorded("eg3d_losses"), recorded("eg3d_discriminator")
        network, names = recorded_discriminator(weights)
        adversary, context = self.adversary(case, weights), StepContext(0, 0.0, torch.Generator())
        c = case["c"] if network.c_dim else None
        labels = torch.zeros(len(case["real"])).long() if c is None else c.argmax(dim=1)
        whole = Batch(case["real"], case["real"][:, :1], labels, None)
        real = adversary.real(whole, context)
        close(real_raw(case["real"], case.meta["neural_resolution"], 1.0, 0.0), case["real_raw"])
        close(real.pictures[1], case["real_raw_blurred"])
        sigma = case.meta["sigma"]
        close(blur_kernel(sigma, math.floor(3 * sigma), case["real"]), case["blur_kernel"])
        close(both(case["real"], case["real_raw"], sigma)[:, :3], case["real_image_seen"])
        fake, raw = (case[name].clone().requires_grad_() for name in ("fake", "fake_raw"))
        close(both(fake, raw, case.meta["sigma"])[:, :3], case["fake_image_seen"])
        on_fake = adversary.judge(network, Shown((fake, raw), c), context).logits
        close(on_fake, case["fake_logits"])
        loss = generator_loss(on_fake, "softplus").mean()
        close(loss, case["generator_loss"])
        slopes = torch.autograd.grad(loss, (fake, raw), retain_graph=True)
        check_gradient(slopes[0], case["grad:fake"], "fake")
        check_gradient(slopes[1], case["grad:fake_raw"], "fake_raw")

        phases = PicturePhases(adversary, adversary.config)
        leaves = [picture.detach().requires_grad_() for picture in real.pictures]
        on_real = adversary.judge(network, replace(real, pictures=tuple(leaves)), context).logits
        close(on_real, case["real_logits"])
        both_losses = fake_loss(on_fake.detach(), "softplus").mean() + real_loss(on_real, "softplus").mean()
        close(both_losses, case["discriminator_loss"])
        torch.testing.assert_close(r1_penalty(on_real, *leaves), case["penalty"], rtol=1e-3, atol=0)
        network.zero_grad()
        seen = adversary.judge(network, Shown((fake.detach(), raw.detach()), c), context).logits
        on_real = adversary.judge(network, real, context).logits
        players = Players(None, network, whole, context, lambda: None)
        lazy, _ = phases.r1(players)
        losses = fake_loss(seen, "softplus").mean() + real_loss(on_real, "softplus").mean()
        (losses + lazy / adversary.config.loss.r1_interval).backward()
        check_norms(network, case.meta["gradnorm_of_D_loss_plus_half_mean_penalty"], names)
