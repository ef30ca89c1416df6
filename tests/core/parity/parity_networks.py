"""Generator, camera generator and depth adaptor against recorded tensors; test_parity.py runs these."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from gp3d_core.config.schema import CameraGeneratorConfig, DepthAdaptorConfig, GeneratorConfig
from gp3d_core.networks.camera_generator import (
    CameraGenerator,
    earth_movers_distance,
    force_mean,
    gradient_penalty,
)
from gp3d_core.networks.decoder import TriplaneDecoder, TriplaneField
from gp3d_core.networks.depth_adaptor import DepthAdaptor, selection_probabilities
from gp3d_core.networks.generator import Generator
from gp3d_core.ops.resampling import upsample
from gp3d_core.rendering.cameras import Cameras, sample_rays
from gp3d_core.rendering.patches import Patches
from gp3d_core.rendering.volume import render
from tests.core.parity.kinks import either_side_of_kinks
from tests.core.parity.parity_fixtures import Case, Close
from tests.core.parity.parity_names import (
    CLASSES,
    CONFIG,
    GENERATOR_NAMES,
    PENALISED,
    Recorded,
    check_gradients,
    load_weights,
    ours,
)

RECORDED_ORDER = [0, 1, 3, 4, 5, 6, 7]  # recorded regularisers leave roll out


# Tri-planes and decoder


@either_side_of_kinks
def test_triplane_field_matches_recorded_values_and_gradients(case02: Case, close: Close) -> None:
    decoder = TriplaneDecoder(GeneratorConfig(plane_channels=8))
    names = [(r"^model\.0", "hidden"), (r"^model\.1", "output"), (r"^mlp\.", "")]
    load_weights(decoder, case02.under("param:"), names)
    planes, points = (case02[key].clone().requires_grad_() for key in ("planes", "coords"))
    rgb, raw = TriplaneField(planes.unflatten(1, (3, 8)), decoder, case02.meta["cube_scale"])(points)
    close(rgb, case02["rgb"])
    close(raw, case02["sigma"])
    loss = (rgb * case02["cotangent.rgb"]).sum() + (raw * case02["cotangent.sigma"]).sum()
    loss.backward()
    close(planes.grad, case02["grad:planes"], "gradient")
    close(points.grad, case02["grad:coords"], "gradient")
    recorded = {key.removeprefix("mlp."): value for key, value in case02.under("grad:mlp.").items()}
    check_gradients(close, decoder, ours(recorded, names))


# Generator


def test_mapping_matches_recorded_codes(generator: Generator, case04: Case, close: Close) -> None:
    close(generator.mapping(case04["z"], case04["c"]), case04["ws"])
    close(generator.mapping(case04["z"], case04["c"], truncation=0.7), case04["ws_psi0.7"])


def test_backbone_matches_recorded_activations(generator: Generator, case04: Case, close: Close) -> None:
    seen: list[tuple[Tensor, Tensor]] = []
    for block in generator.backbone.blocks:
        block.register_forward_hook(lambda *args: seen.append(args[-1]))
    planes = generator.planes(case04["ws"])
    close(planes.flatten(1, 2), case04["planes"])
    close(generator.backbone(case04["ws"], "none").flatten(1, 2), case04["planes_noisenone"])
    image = None
    for power, (features, share) in enumerate(seen[:4], start=2):
        image = share if image is None else upsample(image) + share
        close(features, case04[f"act.b{2**power}.x"])
        close(image, case04[f"act.b{2**power}.img"])


def test_generator_matches_recorded_views(generator: Generator, case04: Case, close: Close) -> None:
    seen = generator(case04["z"], case04["c"], case04.cameras("cam_prior."))
    close(seen.cameras.flat(), case04.cameras().flat())
    close(seen.rgb, case04["eval.img"])
    close(seen.depth, case04["eval.depth"])
    close(seen.depth_adapted, case04["eval.depth_adapted"])
    close(generator.depth_adaptor(case04["eval.depth"]), case04["eval.depth_outs"])
    truncated = generator.view(case04["ws_psi0.7"], case04.cameras())
    close(truncated.rgb, case04["eval.img_psi0.7"])


def test_generator_field_matches_recorded_densities(generator: Generator, case04: Case, close: Close) -> None:
    _, raw = generator.field(generator.planes(case04["ws"]))(case04["density.coords"])
    close(raw, case04["density.sigma_raw"])


def draw_patches(
    generator: Generator, ws: Tensor, cameras: Cameras, patches: Patches, choice: Tensor
) -> Tensor:
    """Patches [B,4,h,h] with the recorded depth choice, stored noise maps and no jitter."""
    size = CONFIG.patch.resolution
    field = generator.field(generator.backbone(ws, "const"))
    seen = render(field, *sample_rays(cameras, size, patches), CONFIG.camera, CONFIG.render, jitter=False)
    rgb, depth = (x.transpose(1, 2).unflatten(2, (size, size)) for x in (seen.rgb, seen.depth))
    adaptor = generator.depth_adaptor
    return torch.cat([rgb, adaptor.select(adaptor(depth), choice)], dim=1)


@either_side_of_kinks
def test_generator_gradients_match_recorded_ones(generator: Generator, case04: Case, close: Close) -> None:
    ws = generator.mapping(case04["z"], case04["c"])
    ws.retain_grad()
    images = draw_patches(generator, ws, case04.cameras(), case04.patches(), case04["train.depth_choice"])
    close(images, case04["train.img4"])
    (images * case04["train.cotangent"]).sum().backward()
    close(ws.grad, case04["train.grad_ws"], "gradient")
    check_gradients(close, generator, ours(case04.under("grad:"), GENERATOR_NAMES))


# Camera generator and its regularisers


def build_camera_generator(case: Case, config: CameraGeneratorConfig) -> CameraGenerator:
    network = CameraGenerator(config, CONFIG.camera, CONFIG.generator.z_dim, CLASSES)
    network.load_state_dict(camera_generator_names(case.under("param:")), strict=True)
    return network


def camera_generator_names(tensors: Mapping[str, Recorded]) -> dict[str, Recorded]:
    """Tensors of the camera generator under our names."""
    names = [(r"^", "synthesis.camera_adaptor."), *GENERATOR_NAMES, (r"^camera_generator\.", "")]
    return ours(tensors, names)


@pytest.mark.parametrize("call", ["run_G", "lipschitz", "emd", "force_mean"])
def test_camera_generator_matches_recorded_cameras(case05: Case, close: Close, call: str) -> None:
    network = build_camera_generator(case05, PENALISED)
    posterior = network(case05.cameras(f"{call}.prior."), case05[f"{call}.z"], case05[f"{call}.c"])
    close(posterior.flat(), case05.cameras(f"{call}.post.").flat())


def test_camera_generator_stages_match_recorded_ones(case05: Case, close: Close) -> None:
    network = build_camera_generator(case05, PENALISED)
    inputs = (case05.cameras("force_mean.prior."), case05["force_mean.z"], case05["force_mean.c"])
    normalised, raw = network.raw(*inputs)
    close(normalised, case05["stage.norm"])
    close(raw, case05["stage.raw"])


def test_residual_camera_generator_matches_recorded_cameras(case05: Case, close: Close) -> None:
    network = build_camera_generator(case05, replace(PENALISED, residual=True))
    posterior = network(case05.cameras("force_mean.prior."), case05["force_mean.z"], case05["force_mean.c"])
    close(posterior.flat(), case05.cameras("residual.post.").flat())


def test_gradient_penalty_matches_recorded_values_and_gradients(case05: Case, close: Close) -> None:
    network = build_camera_generator(case05, PENALISED)
    inputs = (case05.cameras("lipschitz.prior."), case05["lipschitz.z"], case05["lipschitz.c"])
    derivatives = network.derivatives(*inputs)
    close(derivatives.abs(), case05["lipschitz.abs_diag_grads"])
    penalty = gradient_penalty(derivatives)
    close(penalty[RECORDED_ORDER], case05["lipschitz.per_param"])
    loss = network.weigh(penalty, 0)
    close(loss, case05["lipschitz.loss"])
    loss.backward()
    check_gradients(close, network, camera_generator_names(case05.under("grad:lipschitz.")))


def test_emd_matches_recorded_values_and_gradients(case05: Case, close: Close) -> None:
    network, prior = build_camera_generator(case05, CONFIG.camera_generator), case05.cameras("emd.prior.")
    distance = earth_movers_distance(case05.cameras("emd.post.").flat(), prior.flat())
    close(distance[RECORDED_ORDER], case05["emd.per_param"])
    posterior = network(prior, case05["emd.z"], case05["emd.c"])
    distance = earth_movers_distance(posterior.flat(), prior.flat())
    loss = network.weigh(distance, int(1000 * case05.meta["kimg"]))
    close(loss, case05["emd.loss"])
    loss.backward()
    # Look-at cameras a rounding apart change places in the order, and with it their tiny gradients.
    recorded = camera_generator_names(case05.under("grad:emd."))
    origin = {name: gradient for name, gradient in recorded.items() if name.startswith("origin.")}
    check_gradients(close, network, origin, partly=True)


def test_force_mean_matches_recorded_value(case05: Case, close: Close) -> None:
    found = force_mean(case05.cameras("force_mean.post."), CONFIG.camera)
    close(found * CONFIG.camera_generator.force_mean_weight, case05["force_mean.loss"])


# Depth adaptor


@either_side_of_kinks
def test_depth_adaptor_matches_recorded_maps_and_gradients(case06: Case, close: Close) -> None:
    adaptor = DepthAdaptor(DepthAdaptorConfig(width=8), case06.meta["near"], case06.meta["far"])
    names = [(r"^near_plane_offset_raw$", "near_offset")]
    load_weights(adaptor, case06.under("param:"), names)
    depth = case06["depth"].clone().requires_grad_()
    maps = adaptor(depth)
    close(maps, case06["outs"])
    close(adaptor.normalise(depth), case06["normalized"])
    close(adaptor.select(maps, None), case06["eval_out"])
    (maps * case06["cotangent"]).sum().backward()
    close(depth.grad, case06["grad:depth"], "gradient")
    recorded = {key: value for key, value in case06.under("grad:").items() if key != "depth"}
    check_gradients(close, adaptor, ours(recorded, names))


def test_selection_probabilities_match_recorded_schedule(case06: Case, close: Close) -> None:
    config = CONFIG.depth_adaptor
    for row, kimg in zip(case06["probs"], (0, 2500, 5000, 10000, 20000), strict=True):
        close(selection_probabilities(config, 1000 * kimg), row)
