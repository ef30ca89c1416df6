"""Each kernel against the reference: values and all gradients, in Triton's interpreter or on a CUDA card."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch

from gp3d_core.ops import accelerated, reference
from gp3d_core.ops.reference import Perceptron
from tests.support.triton_device import DEVICE

pytest.importorskip("triton")

Tensors = Sequence[torch.Tensor]

# Largest |kernel − reference| as a share of the largest |reference|. Both compute in float32; the kernels add in
# another order, and gradients to planes in half precision are rounded to it once.
BOUNDS = {
    torch.float32: {"value": 1e-5, "gradient": 1e-5},
    torch.float16: {"value": 1e-5, "gradient": 1e-3},
    torch.bfloat16: {"value": 1e-5, "gradient": 8e-3},
}


def uniform(*shape: int, seed: int, low: float = 0.0, high: float = 1.0) -> torch.Tensor:
    u = torch.rand(shape, generator=torch.Generator().manual_seed(seed))
    return (low + (high - low) * u).to(DEVICE)


def normal(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(DEVICE)


def outcome(operation: Callable[..., Tensors], leaves: Tensors) -> tuple[list, list]:
    """Results, and gradients of a random sum of them."""
    leaves = [leaf.detach().clone().requires_grad_() for leaf in leaves]
    results = operation(*leaves)
    total = sum((x * normal(*x.shape, seed=99 + k)).sum() for k, x in enumerate(results))
    total.backward()
    return list(results), [leaf.grad for leaf in leaves]


def assert_same(kernel: Callable[..., Tensors], law: Callable[..., Tensors], leaves: Tensors) -> None:
    dtype = next((leaf.dtype for leaf in leaves if leaf.dtype != torch.float32), torch.float32)
    for kind, found, expected in zip(
        ("value", "gradient"), outcome(kernel, leaves), outcome(law, leaves), strict=True
    ):
        for number, (one, other) in enumerate(zip(found, expected, strict=True)):
            assert one.shape == other.shape
            assert one.dtype == other.dtype
            if one.numel():
                error, size = (one.float() - other.float()).abs().max(), other.float().abs().max()
                assert error <= BOUNDS[dtype][kind] * size, f"{kind} {number}: {error:.1e} of {size:.1e}"


# --- look-up and perceptron


def decoder(channels: int, width: int) -> list[torch.Tensor]:
    return [
        normal(width, channels, seed=1) / channels**0.5,
        normal(width, seed=2),
        normal(4, width, seed=3) / width**0.5,
        normal(4, seed=4),
    ]


def decoding(body: Callable, bounded: bool, **options: str) -> Callable[..., Tensors]:
    def run(planes: torch.Tensor, points: torch.Tensor, *layers: torch.Tensor) -> Tensors:
        return body(planes, points, Perceptron(*layers, bounded), box=0.6, **options)

    return run


@pytest.mark.slow
@pytest.mark.parametrize(
    ("batch", "count", "channels", "width", "size", "bounded", "dtype"),
    [
        (2, 123, 8, 32, (5, 7), False, torch.float32),
        (1, 1, 3, 5, (4, 4), True, torch.float32),
        (2, 7, 32, 64, (9, 4), True, torch.float32),
        (2, 0, 8, 32, (4, 4), False, torch.float32),
        (1, 7, 8, 32, (1, 1), False, torch.float32),
        (1, 70, 16, 64, (8, 8), False, torch.float16),
        (1, 70, 16, 64, (8, 8), False, torch.bfloat16),
    ],
)
def test_decoding_equals_the_reference(
    batch: int,
    count: int,
    channels: int,
    width: int,
    size: tuple[int, int],
    bounded: bool,
    dtype: torch.dtype,
) -> None:
    planes = normal(batch, 3, channels, *size, seed=5).to(dtype)
    points = uniform(batch, count, 3, seed=6, low=-0.8, high=0.8)  # some beyond the box of 0.6
    kernel = decoding(accelerated.decode_triplane, bounded, backend="triton")
    law = decoding(reference.decode_triplane, bounded)
    assert_same(kernel, law, [planes, points, *decoder(channels, width)])


def test_points_on_the_border_and_far_beyond_are_looked_up_as_the_reference_does() -> None:
    edge = torch.tensor([-1e30, -0.6, 0.0, 0.6, 9.0], device=DEVICE)
    points = torch.cartesian_prod(edge, edge, edge)[None]
    planes, layers = normal(1, 3, 8, 4, 4, seed=7), Perceptron(*decoder(8, 32))
    found = accelerated.decode_triplane(planes, points, layers, box=0.6, backend="triton")
    near = points.clamp(-9, 9)  # grid_sample itself overflows for the farthest
    for one, other in zip(found, reference.decode_triplane(planes, near, layers, box=0.6), strict=True):
        assert torch.isfinite(one).all()
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_nan_coordinates_give_nan() -> None:
    points = torch.tensor([[[0.1, float("nan"), 0.2], [0.1, 0.1, 0.2]]], device=DEVICE)
    _, raw = accelerated.decode_triplane(
        normal(1, 3, 8, 4, 4, seed=8), points, Perceptron(*decoder(8, 32)), backend="triton"
    )
    assert raw.isnan().flatten().tolist() == [True, False]


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["channels last", "strided", "expanded"])
def test_planes_of_any_layout_give_the_same(layout: str) -> None:
    planes = normal(2, 24, 6, 6, seed=9)
    if layout == "channels last":
        planes = planes.contiguous(memory_format=torch.channels_last)
    elif layout == "strided":
        planes = normal(2, 24, 6, 12, seed=9)[..., ::2]
    else:
        planes = planes[:1].expand(2, -1, -1, -1)

    def through(body: Callable, **options: str) -> Callable[..., Tensors]:
        def run(flat: torch.Tensor, *rest: torch.Tensor) -> Tensors:
            return decoding(body, bounded=False, **options)(flat.unflatten(1, (3, 8)), *rest)

        return run

    points = uniform(2, 3, 9, seed=10, low=-0.6, high=0.6).transpose(1, 2)  # not contiguous either
    leaves = [planes, points, *decoder(8, 16)]
    assert_same(
        through(accelerated.decode_triplane, backend="triton"), through(reference.decode_triplane), leaves
    )


def test_only_what_is_asked_for_gets_a_gradient() -> None:
    layers = decoder(8, 16)
    planes, points = normal(1, 3, 8, 4, 4, seed=11), uniform(1, 5, 3, seed=12, high=0.5).requires_grad_()
    rgb, raw = accelerated.decode_triplane(planes, points, Perceptron(*layers), box=0.6, backend="triton")
    (rgb.sum() + raw.sum()).backward()
    expected = uniform(1, 5, 3, seed=12, high=0.5).requires_grad_()
    sum(x.sum() for x in reference.decode_triplane(planes, expected, Perceptron(*layers), box=0.6)).backward()
    torch.testing.assert_close(points.grad, expected.grad, rtol=1e-5, atol=1e-5)
    assert planes.grad is None


# --- compositing


def rays_with_everything(batch: int, rays: int, samples: int, channels: int) -> list[torch.Tensor]:
    """Colours, densities and distances of rays, the first of them empty, the last with an opaque sample."""
    sigma = uniform(batch, rays, samples, seed=1) ** 4 * 30
    sigma[:, 0] = 0.0
    sigma[-1, -1, samples // 2] = 1e6
    t = uniform(batch, rays, samples, seed=2, low=1, high=2).sort(dim=-1).values
    return [normal(batch, rays, samples, channels, seed=3), sigma, t]


@pytest.mark.parametrize(
    ("batch", "rays", "samples", "channels", "last_interval", "background"),
    [
        (2, 7, 5, 3, 1e10, "none"),
        (1, 123, 4, 3, 1e-3, "white"),
        (2, 1, 7, 1, 0.2, "last"),
        (1, 5, 1, 3, 0.2, "none"),
        (1, 3, 96, 5, 0.1, "white"),
        (1, 2, 128, 3, 1e10, "last"),
        (1, 0, 4, 3, 1.0, "none"),
    ],
)
def test_compositing_equals_the_reference(
    batch: int, rays: int, samples: int, channels: int, last_interval: float, background: str
) -> None:
    settings = {"last_interval": last_interval, "background": background, "t_far": 2.5}
    leaves = (
        rays_with_everything(batch, rays, samples, channels)
        if rays
        else [torch.zeros(1, 0, 4, 3), torch.zeros(1, 0, 4), torch.zeros(1, 0, 4)]
    )
    assert_same(
        lambda *x: accelerated.composite_rays(*x, **settings, backend="triton"),
        lambda *x: reference.composite_rays(*x, **settings),
        [leaf.to(DEVICE) for leaf in leaves],
    )


def test_compositing_stays_finite_for_extreme_densities() -> None:
    sigma = torch.tensor([[[0.0, 1e-30, 1e30, 1e-8, 1e4]]], device=DEVICE, requires_grad=True)
    t = torch.linspace(0.75, 1.25, 5, device=DEVICE).expand(1, 1, 5)
    rgb = torch.ones(1, 1, 5, 3, device=DEVICE)
    seen = accelerated.composite_rays(rgb, sigma, t, last_interval=1e10, t_far=1.25, backend="triton")
    (seen.rgb.sum() + seen.depth.sum()).backward()
    assert torch.isfinite(seen.rgb).all()
    assert torch.isfinite(sigma.grad).all()


def test_faint_light_is_not_lost_to_rounding() -> None:
    """1 − exp(−x) for tiny x, where 1 − e⁻ˣ computed as it stands would be 0 or a multiple of 6e-8."""
    sigma = torch.logspace(-12, 0, 64, device=DEVICE).reshape(1, 64, 1)
    t, rgb = torch.ones_like(sigma), torch.ones(1, 64, 1, 3, device=DEVICE)
    seen = accelerated.composite_rays(rgb, sigma, t, last_interval=1.0, t_far=2.0, backend="triton")
    torch.testing.assert_close(seen.opacity, -torch.expm1(-sigma), rtol=2e-6, atol=0.0)


# --- importance sampling


@pytest.mark.parametrize(
    ("batch", "rays", "coarse", "fine"),
    [(2, 7, 5, 9), (1, 123, 4, 4), (1, 1, 3, 1), (2, 3, 48, 7), (1, 2, 64, 64), (1, 0, 4, 4)],
)
@pytest.mark.parametrize("even", [False, True])
def test_importance_sampling_equals_the_reference(
    batch: int, rays: int, coarse: int, fine: int, even: bool
) -> None:
    # Where a bin holds little, rounding of its borders moves what is drawn from it by as much as it holds little:
    # bounds are for bins of about equal share, here within a factor of 4.
    s = uniform(batch, rays, coarse, seed=1).sort(dim=-1).values
    weights = uniform(batch, rays, coarse, seed=2, low=0.25)
    u = uniform(batch, rays, fine, seed=3)
    if even:
        u = torch.linspace(0, 1, fine, device=DEVICE).expand_as(u)
    found = accelerated.sample_importance(s, weights, u, backend="triton")
    assert not found.requires_grad
    torch.testing.assert_close(found, reference.sample_importance(s, weights, u), rtol=0, atol=1e-5)


def test_importance_sampling_of_an_empty_ray_spreads_evenly() -> None:
    s = torch.linspace(0, 1, 12, device=DEVICE).expand(1, 3, 12)
    u = torch.linspace(0, 1, 11, device=DEVICE).expand(1, 3, 11)
    found = accelerated.sample_importance(s, torch.zeros_like(s), u, backend="triton")
    torch.testing.assert_close(found, 0.5 / 11 + 10 / 11 * u, rtol=0, atol=1e-5)


def test_kernels_refuse_what_the_reference_refuses() -> None:
    two = torch.rand(1, 1, 2, device=DEVICE)
    with pytest.raises(ValueError, match="at least 3"):
        accelerated.sample_importance(two, two, two, backend="triton")
    with pytest.raises(ValueError, match="rgb must have shape"):
        accelerated.composite_rays(
            torch.ones(1, 1, 4, 3, device=DEVICE), two, two, last_interval=1.0, t_far=1.0, backend="triton"
        )
    with pytest.raises(ValueError, match="planes must have shape"):
        accelerated.decode_triplane(
            torch.zeros(1, 6, 4, 4, device=DEVICE), two, Perceptron(*decoder(4, 4)), backend="triton"
        )
