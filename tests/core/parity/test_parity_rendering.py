"""Cameras, tri-planes and rendering against recorded tensors."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
import torch
from torch.nn import functional as F

from gp3d_core.config.cameras import CAMERAS
from gp3d_core.config.schema import CameraConfig, RenderConfig
from gp3d_core.ops.backends import Backend
from gp3d_core.ops.reference import (
    Perceptron,
    activate_density,
    ray_weights,
    sample_importance,
    sample_triplane,
)
from gp3d_core.rendering.cameras import Cameras, cam2world, sample_rays, spherical_to_cartesian
from gp3d_core.rendering.volume import Rendering, Triplanes, render
from tests.core.parity.parity_fixtures import Case, Close
from tests.support.triton_device import DEVICE

VARIANTS = {
    "det": {},
    "jitter": {},
    "det_noinf": {"last_interval": 1e-3},
    "det_noinf_lastback": {"last_interval": 1e-3, "background": "last"},
    "det_cutq50": {},
}


def decode(features: torch.Tensor, layers: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Recorded two-layer decoder: rgb [B,N,3] and raw density [B,N,1]; stored weights are divided by √fan-in here."""
    for index in (0, 1):
        weight, bias = layers[f"model.{index}.weight"], layers[f"model.{index}.bias"]
        features = F.linear(features, weight / weight.shape[1] ** 0.5, bias)
        if index == 0:
            features = F.leaky_relu(features, 0.2) * 2**0.5
    return features[..., :3], features[..., 3:]


@dataclass(frozen=True)
class RecordedField:
    """The recorded planes and decoder as a function of points, and as the parts that the fused renderer takes."""

    planes: torch.Tensor
    layers: dict[str, torch.Tensor]
    box: float

    def __call__(self, points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return decode(sample_triplane(self.planes.unflatten(1, (3, -1)), points / self.box), self.layers)

    def triplanes(self) -> Triplanes:
        (first, first_bias), (second, second_bias) = (
            (self.layers[f"model.{k}.weight"], self.layers[f"model.{k}.bias"]) for k in (0, 1)
        )
        first, first_bias = first * (2 / first.shape[1]) ** 0.5, first_bias * 2**0.5
        perceptron = Perceptron(first, first_bias, second / second.shape[1] ** 0.5, second_bias)
        return Triplanes(self.planes.unflatten(1, (3, -1)), perceptron, self.box)


def near_pole(case: Case) -> torch.Tensor:
    pitch = case["cam.angles"][:, 1]
    return torch.minimum(pitch, torch.pi - pitch) < 1e-3


def test_poses_and_rays_match_in_float32(case01: Case, close: Close) -> None:
    cameras, resolution = case01.cameras(), case01.meta["resolution"]
    full_o, full_d = sample_rays(cameras, resolution)
    patch_o, patch_d = sample_rays(cameras, resolution, case01.patches())
    yaw, pitch, _ = cameras.angles.unbind(-1)
    close(spherical_to_cartesian(yaw, pitch, cameras.radius), case01["origin"])
    found = {
        "c2w": cam2world(cameras),
        "full.ray_o": full_o,
        "full.ray_d": full_d,
        "patch.ray_o": patch_o,
        "patch.ray_d": patch_d,
    }
    poles = near_pole(case01)
    assert poles.any()
    for key, value in found.items():
        close(value[~poles], case01[key][~poles])
        close(value[poles], case01[key][poles], "pole")


def test_poses_and_rays_match_in_float64(case01: Case, close: Close) -> None:
    cameras, patches = case01.cameras(dtype=torch.float64), case01.patches(dtype=torch.float64)
    rays_o, rays_d = sample_rays(cameras, case01.meta["resolution"], patches)
    close(cam2world(cameras), case01["f64.c2w"], "forward64")
    close(rays_o, case01["f64.patch.ray_o"], "forward64")
    close(rays_d, case01["f64.patch.ray_d"], "forward64")


def test_triplane_and_decoder_match_with_gradients(case02: Case, close: Close) -> None:
    planes = case02["planes"].clone().requires_grad_()
    points = case02["coords"].clone().requires_grad_()
    layers = {name: value.clone().requires_grad_() for name, value in case02.under("param:").items()}
    features = sample_triplane(planes.unflatten(1, (3, -1)), points / case02.meta["cube_scale"])
    rgb, sigma = decode(features, layers)
    close(features.detach(), case02["feats_mean"])
    close(rgb.detach(), case02["rgb"])
    close(sigma.detach(), case02["sigma"])
    ((rgb * case02["cotangent.rgb"]).sum() + (sigma * case02["cotangent.sigma"]).sum()).backward()
    close(planes.grad, case02["grad:planes"], "gradient")
    close(points.grad, case02["grad:coords"], "gradient")
    for name, value in layers.items():
        close(value.grad, case02[f"grad:mlp.{name}"], "gradient")


def render_case(
    case: Case, variant: str, dtype: torch.dtype, backend: Backend = "reference"
) -> tuple[Rendering, dict[str, torch.Tensor], Callable]:
    """The recorded rays rendered, the leaves that gradients flow to, and the field."""
    cameras = case.cameras(dtype=dtype)
    leaves = {
        f"cam.{name}": getattr(cameras, name).clone() for name in ("angles", "fov", "radius", "look_at")
    }
    leaves["planes"] = case["planes"].to(dtype, copy=True)
    layers = {name: value.to(dtype, copy=True) for name, value in case.under("param:").items()}
    leaves |= {f"mlp.{name}": value for name, value in layers.items()}
    for leaf in leaves.values():
        leaf.requires_grad_()
    cameras = Cameras(*(leaves[f"cam.{name}"] for name in ("angles", "fov", "radius", "look_at")))
    camera, config = recorded_configs(case, variant)

    field = RecordedField(leaves["planes"], layers, camera.box)
    random = {}
    if variant == "jitter":
        u_coarse = case["u_coarse"].to(dtype).squeeze(-1)
        random = {"u_coarse": u_coarse, "u_fine": case["u_fine"].to(dtype).reshape_as(u_coarse)}
    rays = sample_rays(cameras, side(case), case.patches(dtype=dtype))
    cut = 0.5 if variant == "det_cutq50" else 0.0
    options = {"jitter": False, "cut_quantile": cut, "backend": backend}
    return render(field, *rays, camera, config, **options, **random), leaves, field


def require(case: Case, variant: str) -> None:
    """Skips a test of a variant that was not recorded; the project's own folder has them all."""
    assert set(case.meta["variants"]) <= set(VARIANTS), "a recorded variant that no test knows"
    if variant not in case.meta["variants"]:
        pytest.skip(f"{variant} was not recorded")


def side(case: Case) -> int:
    """Pixels along the side of a recorded patch."""
    return math.isqrt(case["cotangent.rgb"].shape[1])


def recorded_configs(case: Case, variant: str) -> tuple[CameraConfig, RenderConfig]:
    """Space and steps as recorded; the cameras are, so that their prior doesn't matter."""
    meta = case.meta
    space = {"t_near": meta["ray_start"], "t_far": meta["ray_end"], "box": meta["box_size"] / 2}
    camera = replace(CAMERAS["uniform"], **space)
    steps = {"coarse_steps": meta["num_proposal_steps"], "fine_steps": meta["num_fine_steps"]}
    return camera, RenderConfig(**steps, **VARIANTS[variant])


@pytest.mark.parametrize("prefix", [*(f"{variant}." for variant in VARIANTS), "f64.det.", "f64.jitter."])
def test_rendering_matches_with_gradients(case03: Case, close: Close, prefix: str) -> None:
    double, variant = prefix.startswith("f64."), prefix.split(".")[-2]
    require(case03, variant)
    dtype = torch.float64 if double else torch.float32
    rendering, leaves, _ = render_case(case03, variant, dtype)
    forward, gradient = ("composited64", "gradient64") if double else ("forward", "gradient")
    close(rendering.rgb.detach(), case03[prefix + "rgb"], forward)
    close(rendering.depth.detach(), case03[prefix + "depth"], forward)
    close(rendering.opacity.detach(), case03[prefix + "wsum"], forward)
    if variant != "det_noinf_lastback":  # whose weights include the light that is left
        close(1 - rendering.opacity.detach().squeeze(-1), case03[prefix + "T_final"], forward)
    loss = rendering.rgb * case03["cotangent.rgb"].to(dtype)
    (loss.sum() + (rendering.depth * case03["cotangent.depth"].to(dtype)).sum()).backward()
    recorded = case03.under(prefix + "grad:")
    assert {"planes", "cam.angles", "cam.fov", "cam.radius", "cam.look_at"} <= set(recorded)
    assert variant not in ("det", "jitter") or double or set(recorded) == set(leaves)
    for name, expected in recorded.items():
        close(leaves[name].grad, expected, gradient)


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["jitter", "det_noinf_lastback"])
def test_fused_rendering_matches_with_gradients(case03: Case, close: Close, variant: str) -> None:
    pytest.importorskip("triton")
    if DEVICE == "cuda":
        pytest.skip("the recorded tensors are on the CPU: tests/core/ops compares the bodies on a card")
    require(case03, variant)
    rendering, leaves, _ = render_case(case03, variant, torch.float32, backend="triton")
    for name, part in (("rgb", rendering.rgb), ("depth", rendering.depth), ("wsum", rendering.opacity)):
        close(part.detach(), case03[f"{variant}.{name}"])
    loss = (rendering.rgb * case03["cotangent.rgb"]).sum()
    (loss + (rendering.depth * case03["cotangent.depth"]).sum()).backward()
    for name, expected in case03.under(f"{variant}.grad:").items():
        close(leaves[name].grad, expected, "gradient")


@pytest.mark.parametrize("variant", ["det", "jitter"])
def test_samples_of_both_passes_match(case03: Case, close: Close, variant: str) -> None:
    require(case03, variant)
    recorded = case03.under(f"{variant}.")
    # Where weights are small, a sample's position magnifies rounding: on this side it is computed without.
    rendering, _, _ = render_case(case03, variant, torch.float64)
    close(rendering.t[..., None], recorded["t_all"])
    close(rendering.weights.detach()[..., None], recorded["w_all"])
    s_coarse = recorded["s_coarse"].squeeze(-1)
    sigma = activate_density(recorded["sigma_coarse"].squeeze(-1))
    coarse = ray_weights(sigma, s_coarse, last_interval=1e10)
    close(coarse[..., None], recorded["w_coarse"])
    shape = (*s_coarse.shape[:2], case03.meta["num_fine_steps"])
    u = torch.linspace(0, 1, shape[-1]).expand(shape)
    u = case03["u_fine"].reshape(shape) if variant == "jitter" else u
    close(sample_importance(s_coarse, coarse, u)[..., None], recorded["s_fine"])
    _, _, field = render_case(case03, variant, torch.float32)
    rays_o, rays_d = sample_rays(case03.cameras(), side(case03), case03.patches())
    points = rays_o[:, :, None] + recorded["t_all"] * rays_d[:, :, None]
    rgb, raw = (x.detach().unflatten(1, recorded["t_all"].shape[1:3]) for x in field(points.flatten(1, 2)))
    close(rgb, recorded["rgb_all"])
    close(raw, recorded["sigma_all"])


def test_importance_sampling_matches(case03b: Case, close: Close) -> None:
    s, weights = case03b["s_coarse"][None], case03b["weights"][None]
    even = torch.linspace(0, 1, case03b.meta["N"]).expand(1, len(s[0]), -1)
    close(sample_importance(s, weights, even)[0], case03b["det"])
    close(sample_importance(s, weights, case03b["u"][None])[0], case03b["random"])
