"""Generator, camera generator and depth adaptor against recorded tensors."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from gp3d_core.config.schema import CameraGeneratorConfig, DepthAdaptorConfig, GeneratorConfig, Prior, Ramp
from gp3d_core.networks import camera_generator
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
from gp3d_core.rendering.cameras import PARAMETERS, POLE_MARGIN, Cameras, normalise_cameras
from tests.core.parity.kinks import either_side_of_kinks
from tests.core.parity.parity_fixtures import Case, Close
from tests.core.parity.parity_names import CAMERA_GENERATOR_NAMES, Names, check_gradients, load_weights
from tests.core.parity.recording import Recording, normalise_as_released

RECORDED_ORDER = [0, 1, 3, 4, 5, 6, 7]  # recorded regularisers leave roll out
PROBABILITIES_AT = (0, 2500, 5000, 10000, 20000)  # kimg


# Tri-planes and decoder


@either_side_of_kinks
def test_triplane_field_matches_recorded_values_and_gradients(case02: Case, close: Close) -> None:
    width, channels = case02["param:model.0.weight"].shape
    decoder = TriplaneDecoder(GeneratorConfig(plane_channels=channels, decoder_width=width))
    names = Names(((r"^model\.0", "hidden"), (r"^model\.1", "output")))
    load_weights(decoder, case02.under("param:"), names)
    planes, points = (case02[key].clone().requires_grad_() for key in ("planes", "coords"))
    rgb, raw = TriplaneField(planes.unflatten(1, (3, channels)), decoder, case02.meta["cube_scale"])(points)
    close(rgb, case02["rgb"])
    close(raw, case02["sigma"])
    loss = (rgb * case02["cotangent.rgb"]).sum() + (raw * case02["cotangent.sigma"]).sum()
    loss.backward()
    close(planes.grad, case02["grad:planes"], "gradient")
    close(points.grad, case02["grad:coords"], "gradient")
    check_gradients(close, decoder, names.ours(case02.under("grad:mlp.")))


# Generator


def test_mapping_matches_recorded_codes(generator: Generator, case04: Case, close: Close) -> None:
    close(generator.mapping(case04["z"], case04["c"]), case04["ws"])
    for psi, truncated in case04.under("ws_psi").items():
        close(generator.mapping(case04["z"], case04["c"], truncation=float(psi)), truncated)
    assert case04.under("ws_psi")


def test_backbone_matches_recorded_activations(generator: Generator, case04: Case, close: Close) -> None:
    seen: list[tuple[Tensor, Tensor]] = []
    for block in generator.backbone.blocks:
        block.register_forward_hook(lambda *args: seen.append(args[-1]))
    planes = generator.planes(case04["ws"])
    close(planes.flatten(1, 2), case04["planes"])
    close(generator.backbone(case04["ws"], "none").flatten(1, 2), case04["planes_noisenone"])
    image = None
    recorded = [2**power for power in range(2, 13) if f"act.b{2**power}.x" in case04.tensors]
    assert recorded
    for power, (features, share) in enumerate(seen[: len(recorded)], start=2):
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
    for psi, image in case04.under("eval.img_psi").items():
        close(generator.view(case04[f"ws_psi{psi}"], case04.cameras()).rgb, image)
    assert case04.under("eval.img_psi")


def test_generator_field_matches_recorded_densities(generator: Generator, case04: Case, close: Close) -> None:
    _, raw = generator.field(generator.planes(case04["ws"]))(case04["density.coords"])
    close(raw, case04["density.sigma_raw"])


@either_side_of_kinks
def test_generator_gradients_match_recorded_ones(
    generator: Generator, case04: Case, close: Close, recording: Recording
) -> None:
    ws = generator.mapping(case04["z"], case04["c"])
    ws.retain_grad()
    patches, choice = case04.patches(), case04["train.depth_choice"]
    images = recording.draw_patches(generator, ws, case04.cameras(), patches, choice)
    close(images, case04["train.img4"])
    (images * case04["train.cotangent"]).sum().backward()
    close(ws.grad, case04["train.grad_ws"], "gradient")
    check_gradients(close, generator, recording.generator_names.ours(case04.under("grad:")))


# Camera generator and its regularisers


def build(recording: Recording, case: Case, config: CameraGeneratorConfig) -> CameraGenerator:
    """The recorded camera generator, with other regularisers or residual."""
    settings = recording.config
    network = CameraGenerator(config, settings.camera, settings.generator.z_dim, recording.classes)
    load_weights(network, case.under("param:"), CAMERA_GENERATOR_NAMES)
    return network


@pytest.mark.parametrize("call", ["run_G", "lipschitz", "emd", "force_mean"])
def test_camera_generator_matches_recorded_cameras(
    recording: Recording, case05: Case, close: Close, call: str
) -> None:
    network = build(recording, case05, recording.penalised)
    posterior = network(case05.cameras(f"{call}.prior."), case05[f"{call}.z"], case05[f"{call}.c"])
    close(posterior.flat(), case05.cameras(f"{call}.post.").flat())


def test_camera_generator_stages_match_recorded_ones(
    recording: Recording, case05: Case, close: Close
) -> None:
    network = build(recording, case05, recording.penalised)
    inputs = (case05.cameras("force_mean.prior."), case05["force_mean.z"], case05["force_mean.c"])
    normalised, raw = network.raw(*inputs)
    close(normalised, case05["stage.norm"])
    close(raw, case05["stage.raw"])


def test_residual_camera_generator_matches_recorded_cameras(
    recording: Recording, case05: Case, close: Close
) -> None:
    network = build(recording, case05, replace(recording.penalised, residual=True))
    posterior = network(case05.cameras("force_mean.prior."), case05["force_mean.z"], case05["force_mean.c"])
    close(posterior.flat(), case05.cameras("residual.post.").flat())


def test_gradient_penalty_matches_recorded_values_and_gradients(
    recording: Recording, case05: Case, close: Close
) -> None:
    network = build(recording, case05, recording.penalised)
    inputs = (case05.cameras("lipschitz.prior."), case05["lipschitz.z"], case05["lipschitz.c"])
    derivatives = network.derivatives(*inputs)
    close(derivatives.abs(), case05["lipschitz.abs_diag_grads"])
    penalty = gradient_penalty(derivatives)
    close(penalty[RECORDED_ORDER], case05["lipschitz.per_param"])
    loss = network.weigh(penalty, 0)
    close(loss, case05["lipschitz.loss"])
    loss.backward()
    check_gradients(close, network, CAMERA_GENERATOR_NAMES.ours(case05.under("grad:lipschitz.")))


def test_emd_matches_recorded_values_and_gradients(recording: Recording, case05: Case, close: Close) -> None:
    network = build(recording, case05, recording.config.camera_generator)
    prior = case05.cameras("emd.prior.")
    distance = earth_movers_distance(case05.cameras("emd.post.").flat(), prior.flat())
    close(distance[RECORDED_ORDER], case05["emd.per_param"])
    posterior = network(prior, case05["emd.z"], case05["emd.c"])
    distance = earth_movers_distance(posterior.flat(), prior.flat())
    nimg = int(1000 * case05.meta["kimg"])
    assert network.config.weight_ramp.at(nimg) == pytest.approx(case05.meta["emd_multiplier"])
    loss = network.weigh(distance, nimg)
    close(loss, case05["emd.loss"])
    loss.backward()
    # Look-at cameras a rounding apart change places in the order, and with it their tiny gradients.
    recorded = CAMERA_GENERATOR_NAMES.ours(case05.under("grad:emd."))
    origin = {name: gradient for name, gradient in recorded.items() if name.startswith("origin.")}
    check_gradients(close, network, origin, partly=True)


def test_force_mean_matches_recorded_value(recording: Recording, case05: Case, close: Close) -> None:
    config = recording.config
    found = force_mean(case05.cameras("force_mean.post."), config.camera)
    close(found * config.camera_generator.force_mean_weight, case05["force_mean.loss"])


def test_a_parameter_without_a_range_leaves_the_other_parameters_alone(
    recording: Recording, case05: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the division of the recorded run, every camera ends at one end of the fields of view, without a gradient."""
    up = Prior(kind="constant", low=0.0, high=0.0)
    camera = replace(recording.config.camera, look_at_pitch=up)
    network = build(recording, case05, recording.config.camera_generator)
    network.camera = camera
    flat = case05.cameras("force_mean.prior.").flat()
    flat[:, PARAMETERS.index("look_at_pitch")] = POLE_MARGIN  # as cameras are drawn
    inputs = Cameras.from_flat(flat), case05["force_mean.z"], case05["force_mean.c"]
    spans = {"fov": recording.config.camera.fov, "look_at_yaw": recording.config.camera.look_at_yaw}

    def spread_and_slopes() -> tuple[list[float], float]:
        posterior = network(*inputs)
        columns = [posterior.flat().detach()[:, PARAMETERS.index(name)] for name in spans]
        (slope,) = torch.autograd.grad(posterior.fov.sum(), network.look_at.output.bias)
        ranges = zip(columns, spans.values(), strict=True)
        return [float(x.max() - x.min()) / (p.high - p.low) for x, p in ranges], float(slope.abs().max())

    monkeypatch.setattr(camera_generator, "normalise_cameras", normalise_cameras)
    spread, slope = spread_and_slopes()
    assert min(spread) > 1e-3
    assert slope > 0.1
    assert (network(*inputs).look_at[:, 1] == 0).all()
    monkeypatch.setattr(camera_generator, "normalise_cameras", normalise_as_released)
    spread, slope = spread_and_slopes()
    assert max(spread) < 1e-6
    assert slope < 1e-6
    assert network(*inputs).fov.max() in (spans["fov"].low, spans["fov"].high)


# Depth adaptor


def recorded_adaptor(case: Case) -> DepthAdaptorConfig:
    """Sizes by the recorded tensors; at first all maps, the raw depth among them, are equally likely."""
    width, _, kernel, _ = case["param:layers.0.weight"].shape
    maps = case["probs"].shape[1]
    start, end = 1 / maps, case.meta["selection_start_p"]
    identity = Ramp(start=start, end=end, kimg=case.meta["anneal_kimg"])
    return DepthAdaptorConfig(layers=maps - 1, width=width, kernel=kernel, identity=identity)


@either_side_of_kinks
def test_depth_adaptor_matches_recorded_maps_and_gradients(case06: Case, close: Close) -> None:
    adaptor = DepthAdaptor(recorded_adaptor(case06), case06.meta["near"], case06.meta["far"])
    names = Names(((r"^near_plane_offset_raw$", "near_offset"),))
    load_weights(adaptor, case06.under("param:"), names)
    depth = case06["depth"].clone().requires_grad_()
    maps = adaptor(depth)
    close(maps, case06["outs"])
    close(adaptor.normalise(depth), case06["normalized"])
    close(adaptor.select(maps, None), case06["eval_out"])
    (maps * case06["cotangent"]).sum().backward()
    close(depth.grad, case06["grad:depth"], "gradient")
    recorded = {key: value for key, value in case06.under("grad:").items() if key != "depth"}
    check_gradients(close, adaptor, names.ours(recorded))


def test_selection_probabilities_match_recorded_schedule(case06: Case, close: Close) -> None:
    config = recorded_adaptor(case06)
    rows = zip(PROBABILITIES_AT, case06["probs"], case06.meta["start_p"], strict=True)
    for kimg, row, first in rows:
        close(selection_probabilities(config, 1000 * kimg), row)
        assert config.identity.at(1000 * kimg) == pytest.approx(first)
