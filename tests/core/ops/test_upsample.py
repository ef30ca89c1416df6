"""Resampling in bfloat16 against the convolutions it stands for: upsampling by interpolation, low-pass by matrices."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from gp3d_core.ops.reference import plane_by_plane
from gp3d_core.ops.resampling import _Upsample, fir_kernel, low_pass, upsample
from tests.support.draws import normal


def transposed(x: torch.Tensor) -> torch.Tensor:
    """Zeros inserted, then the low-pass filter with gain 4, in one operation of torch."""
    return F.conv_transpose2d(x, fir_kernel(x.shape[1], 4.0, x), stride=2, padding=1, groups=x.shape[1])


def interpolated(x: torch.Tensor) -> torch.Tensor:
    return _Upsample.apply(x)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("size", [(1, 1), (2, 5), (8, 8)])
def test_the_interpolation_is_the_transposed_convolution(
    size: tuple[int, int], layout: torch.memory_format
) -> None:
    x = normal(2, 3, *size, seed=0).double().contiguous(memory_format=layout)
    torch.testing.assert_close(interpolated(x), transposed(x), rtol=1e-12, atol=1e-12)
    half = x.bfloat16()
    plus = normal(2, 3, 2 * size[0], 2 * size[1], seed=1).bfloat16()
    assert torch.equal(upsample(half, plus), interpolated(half) + plus)


def test_its_first_and_second_derivatives_are_those_of_the_convolution() -> None:
    results = []
    for way in (interpolated, transposed):
        x = normal(1, 2, 4, 3, seed=2).double().requires_grad_()
        (first,) = torch.autograd.grad(way(x).pow(3).sum(), x, create_graph=True)
        (second,) = torch.autograd.grad(first.square().sum(), x)
        results.append((first.detach(), second))
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("padding", "stride", "gain"), [(1, 2, 1.0), (2, 1, 1.0), (1, 1, 4.0)])
@pytest.mark.parametrize("size", [(4, 4), (9, 6), (17, 17), (40, 40)])
def test_low_pass_of_halves_and_its_derivatives_are_those_of_the_convolution(
    size: tuple[int, int], padding: int, stride: int, gain: float
) -> None:
    def convolved(x: torch.Tensor) -> torch.Tensor:
        return F.conv2d(x, fir_kernel(3, gain, x), padding=padding, stride=stride, groups=3)

    def filtered(x: torch.Tensor) -> torch.Tensor:
        return low_pass(x, padding=padding, stride=stride, gain=gain)

    half, results = normal(2, 3, *size, seed=5).bfloat16(), []
    assert torch.equal(filtered(half), convolved(half.double()).bfloat16())
    for way, dtype in ((filtered, torch.bfloat16), (convolved, torch.float64)):
        x = half.to(dtype, copy=True).requires_grad_()
        y = way(x)
        slope = normal(*y.shape, seed=6).bfloat16().to(dtype).requires_grad_()
        (first,) = torch.autograd.grad(y, x, slope, create_graph=True)
        (second,) = torch.autograd.grad(first, slope, half.to(dtype))
        results.append((first.detach(), second))
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found.double(), expected, rtol=2**-8, atol=2**-9)


def test_planes_are_laid_out_for_look_ups_and_slopes_for_convolutions() -> None:
    planes = normal(2, 6, 4, 5, seed=3).bfloat16().to(memory_format=torch.channels_last).requires_grad_()
    found = plane_by_plane(planes.unflatten(1, (3, 2)))
    assert found.dtype == torch.float32
    assert found.is_contiguous()
    assert torch.equal(found.flatten(1, 2), planes.float())
    slope = normal(2, 3, 2, 4, 5, seed=4)
    (back,) = torch.autograd.grad(found, planes, slope)
    assert back.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(back, slope.flatten(1, 2).bfloat16())
