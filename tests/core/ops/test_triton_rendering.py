"""The fused renderer against the plain one: everything it returns and all gradients, with every option."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch
from torch.nn import functional as F

from gp3d_core.config.cameras import CAMERAS
from gp3d_core.config.schema import RenderConfig
from gp3d_core.ops.backends import BackendError
from gp3d_core.ops.reference import Perceptron, decode_triplane
from gp3d_core.rendering.volume import Rendering, Triplanes, render
from tests.support.triton_device import DEVICE

pytest.importorskip("triton")

CAMERA = replace(CAMERAS["shapenet"], box=0.55)
OBJECT = RenderConfig(
    last_interval=1e-3,
    background="white",
    outside_box="empty",
    density_scale=2.0,  # half transparent, so that every part of a ray counts
    density_gain=2.0,
    density_shift=-1.0,
)
DENSE = {"density_scale": 32.0, "density_gain": 10.0, "density_shift": -3.0}  # as presets have it
OUTPUTS = ("rgb", "depth", "opacity", "weights", "t")

# Largest |fused − plain| as a share of the largest |plain|. Planes in half precision: of their gradient, rounded once.
BOUND = {torch.float32: 1e-5, torch.float16: 1e-3, torch.bfloat16: 8e-3}


@dataclass(frozen=True)
class Field:
    """A field that both bodies know: as a function of points, and as its parts."""

    planes: torch.Tensor
    perceptron: Perceptron
    box: float = CAMERA.box

    def __call__(self, points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return decode_triplane(self.planes, points, self.perceptron, box=self.box)

    def triplanes(self) -> Triplanes:
        return Triplanes(self.planes, self.perceptron, self.box)


def normal(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(DEVICE)


def leaves_of(
    batch: int, rays: int, channels: int, width: int, size: int, dtype: torch.dtype = torch.float32
) -> list[torch.Tensor]:
    """Planes, layers, and rays from a little around (0, 0, 2) into and past the box."""
    forward = torch.tensor([0.0, 0.0, -1.0], device=DEVICE)
    return [
        normal(batch, 3, channels, size, size, seed=1).to(dtype),
        normal(width, channels, seed=2) / channels**0.5,
        normal(width, seed=3),
        normal(4, width, seed=4) / width**0.5,
        normal(4, seed=5),
        normal(batch, rays, 3, seed=6) * 0.1 - 2 * forward,
        F.normalize(normal(batch, rays, 3, seed=7) * 0.25 + forward, dim=-1),
    ]


def rendered(
    backend: str, leaves: list[torch.Tensor], config: RenderConfig, *, bounded: bool = False, **options
) -> tuple[Rendering, list[torch.Tensor | None]]:
    """What is seen, and gradients of a random sum of it to all leaves."""
    leaves = [leaf.detach().clone().requires_grad_() for leaf in leaves]
    field = Field(leaves[0], Perceptron(*leaves[1:5], bounded))
    draws = torch.Generator(DEVICE).manual_seed(8)
    options = {"jitter": True, "generator": draws, **options}
    seen = render(field, *leaves[5:], CAMERA, config, backend=backend, **options)
    parts = [getattr(seen, name) for name in OUTPUTS[:4]]
    sum((part * normal(*part.shape, seed=20 + k)).sum() for k, part in enumerate(parts)).backward()
    return seen, [leaf.grad for leaf in leaves]


def assert_same(leaves: list[torch.Tensor], config: RenderConfig, *, bound: float = 1e-5, **options) -> None:
    """The fused body errs no more than the bound and twice what the plain one errs, both against float64.

    Intervals are small differences of distances, and a fine sample's place is as uncertain as its bin is empty: where
    the numbers are badly conditioned, float32 itself is further than the bound from the truth, in any body.
    """
    exact = [leaf.double() for leaf in leaves]
    wide = {
        key: value.double() if isinstance(value, torch.Tensor) else value for key, value in options.items()
    }
    runs = [
        rendered("triton", leaves, config, **options),
        rendered("reference", leaves, config, **options),
        rendered("reference", exact, config, **wide),
    ]
    names = ("planes", "hidden", "bias", "output", "output bias", "origins", "directions")
    columns = [{name: getattr(seen, name) for name in OUTPUTS} for seen, _ in runs]
    columns = [seen | dict(zip(names, run[1], strict=True)) for seen, run in zip(columns, runs, strict=True)]
    for name in columns[0]:
        found, plain, truth = (column[name].detach() for column in columns)
        assert found.shape == plain.shape
        assert found.dtype == plain.dtype
        errors, size = [(x.double() - truth).abs().max() for x in (found, plain)], truth.abs().max()
        limit = bound if name == "planes" else 1e-5
        assert errors[0] <= limit * size + 2 * errors[1], f"{name}: {errors} of {size:.1e}"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "steps", "settings", "options"),
    [
        ((1, 7, 8, 32, 8), (12, 12), DENSE, {}),
        ((1, 4, 8, 32, 8), (6, 6), {}, {}),
        ((2, 1, 16, 64, 8), (24, 24), {"background": "last", "coarse_spacing": "metric"}, {"bounded": True}),
        ((1, 3, 32, 64, 8), (32, 32), {"last_interval": 1e10, "background": "none"}, {"density_noise": 1.0}),
        ((1, 5, 8, 32, 4), (7, 2), {"outside_box": "zeros"}, {}),
        ((2, 5, 3, 5, 4), (5, 9), {"density_scale": 1.0}, {"jitter": False, "density_noise": 0.5}),
        ((1, 123, 3, 5, 4), (3, 0), {"last_interval": 1e10}, {"jitter": False}),
    ],
)
def test_fused_rendering_equals_the_plain_one(
    shape: tuple[int, ...], steps: tuple[int, int], settings: dict, options: dict
) -> None:
    config = replace(OBJECT, coarse_steps=steps[0], fine_steps=steps[1], **settings)
    assert_same(leaves_of(*shape), config, **options)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_planes_in_half_precision_are_read_as_they_are(dtype: torch.dtype) -> None:
    config = replace(OBJECT, coarse_steps=64, fine_steps=64)
    assert_same(leaves_of(1, 1, 16, 32, 8, dtype), config, bound=BOUND[dtype])


def test_rays_beside_the_box_are_empty() -> None:
    leaves = leaves_of(1, 3, 8, 16, 4)
    leaves[5] = leaves[5] + torch.tensor([5.0, 0.0, 0.0], device=DEVICE)
    config = replace(OBJECT, coarse_steps=4, fine_steps=4)
    seen, gradients = rendered("triton", leaves, config)
    assert seen.opacity.abs().max() == 0
    assert seen.rgb.min() == 1.0
    assert seen.depth.unique().tolist() == pytest.approx([CAMERA.t_far])
    assert all(gradient.abs().max() == 0 for gradient in gradients)


@pytest.mark.slow
def test_given_numbers_are_used_and_distances_increase() -> None:
    config = replace(OBJECT, coarse_steps=6, fine_steps=5)
    numbers = {"u_coarse": normal(1, 4, 6, seed=30).sigmoid(), "u_fine": normal(1, 4, 5, seed=31).sigmoid()}
    leaves = leaves_of(1, 4, 8, 16, 4)
    assert_same(leaves, config, jitter=False, generator=None, **numbers)
    seen, _ = rendered("triton", leaves, config, jitter=False, generator=None, **numbers)
    assert (seen.t.diff(dim=-1) >= 0).all()


def test_strided_rays_and_chunks_change_nothing() -> None:
    planes, *layers, origins, directions = leaves_of(1, 6, 8, 16, 4)
    field, config = Field(planes, Perceptron(*layers)), replace(OBJECT, coarse_steps=4, fine_steps=4)
    plain = render(field, origins, directions, CAMERA, config, jitter=False, backend="triton")
    strided = [ray.transpose(1, 2).contiguous().transpose(1, 2) for ray in (origins, directions)]
    other = render(field, *strided, CAMERA, config, jitter=False, backend="triton", chunk=2)
    assert torch.equal(plain.rgb, other.rgb)
    assert torch.equal(plain.t, other.t)
    with pytest.raises(ValueError, match="at least 1"):
        render(field, origins, directions, CAMERA, config, jitter=False, backend="triton", chunk=0)


def test_a_box_of_the_planes_that_differs_from_the_cameras_is_kept_apart() -> None:
    planes, *layers, origins, directions = leaves_of(1, 5, 8, 16, 4)
    field, config = Field(planes, Perceptron(*layers), box=0.8), replace(OBJECT, coarse_steps=8, fine_steps=0)
    seen = [
        render(field, origins, directions, CAMERA, config, jitter=False, backend=backend).opacity
        for backend in ("triton", "reference")
    ]
    torch.testing.assert_close(*seen, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("cut", "steps"), [(0.5, (6, 6)), (0.0, (3, 65))])
def test_what_is_not_fused_is_rendered_op_by_op_and_said(
    cut: float, steps: tuple[int, int], capsys: pytest.CaptureFixture[str]
) -> None:
    from gp3d_core.ops.backends import announce

    announce.cache_clear()
    leaves = leaves_of(1, 3, 8, 16, 4)
    assert_same(leaves, replace(OBJECT, coarse_steps=steps[0], fine_steps=steps[1]), cut_quantile=cut)
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert "op by op" in said[0]


def test_kernels_that_cannot_run_name_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    planes, *layers, origins, directions = (leaf.cpu() for leaf in leaves_of(1, 2, 8, 16, 4))
    field, config = Field(planes, Perceptron(*layers)), replace(OBJECT, backend="triton")
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with pytest.raises(BackendError, match=r"on the CPU, take a CUDA card, or use backend reference"):
        render(field, origins, directions, CAMERA, config, jitter=False)
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    with pytest.raises(BackendError, match="float64, take float32"):
        render(field, origins.double(), directions.double(), CAMERA, config, jitter=False)
    monkeypatch.setattr("gp3d_core.ops.backends.find_spec", lambda name: None)
    with pytest.raises(BackendError, match=r"pip install 'gp3d\[kernels\]'"):
        render(field, origins, directions, CAMERA, config, jitter=False)
    assert render(field, origins, directions, CAMERA, config, jitter=False, backend="auto").rgb.shape == (
        1,
        2,
        3,
    )


@pytest.mark.skipif(
    DEVICE == "cpu", reason="needs a CUDA card: the paper's shape is too large for the interpreter"
)
@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_fused_rendering_equals_the_plain_one_at_the_papers_shape(noise: float) -> None:
    config = RenderConfig(coarse_steps=32, fine_steps=32)
    assert_same(leaves_of(4, 4096, 32, 64, 512), config, density_noise=noise)
