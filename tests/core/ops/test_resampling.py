"""Kernels for resampling and for what follows a convolution, in Triton's interpreter, against plain torch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")  # heeded when kernels are imported, in the tests

from gp3d_core.ops.resampling import finish, low_pass, upsample

pytest.importorskip("triton")

BOUNDS = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 1.6e-2}  # of the largest value
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"

WAYS = {
    "up": lambda x, backend: upsample(x, backend=backend),
    "down": lambda x, backend: low_pass(x, padding=1, stride=2, backend=backend),
    "shrink": lambda x, backend: low_pass(x, padding=1, gain=4.0, backend=backend),
    "grow": lambda x, backend: low_pass(x, padding=2, backend=backend),
}
SIZES = {"up": (5, 7), "down": (6, 10), "shrink": (7, 4), "grow": (1, 6)}


def normal(*shape: int, seed: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(DEVICE, dtype)


def assert_near(found: torch.Tensor, expected: torch.Tensor, bound: float) -> None:
    assert found.shape == expected.shape
    assert torch.isfinite(found).all()
    assert (found.float() - expected.float()).abs().max() <= bound * expected.float().abs().max()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("layout", "dtype"),
    [
        (torch.contiguous_format, torch.float32),
        (torch.channels_last, torch.float32),
        (torch.contiguous_format, torch.bfloat16),
        (torch.channels_last, torch.float16),
    ],
)
@pytest.mark.parametrize("way", WAYS)
def test_resampling_equals_convolution_with_the_filter(way, layout, dtype):
    x = normal(2, 3, *SIZES[way], seed=0, dtype=dtype).contiguous(memory_format=layout)
    expected = WAYS[way](x.float(), "reference")
    found = WAYS[way](x, "triton")
    assert found.dtype == dtype
    assert found.is_contiguous(memory_format=layout)
    assert_near(found, expected, BOUNDS[dtype])


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_resampling_of_many_blocks_of_a_strided_image(way):
    x = normal(1, 2, 80, 44, seed=1)[..., ::2]
    assert_near(WAYS[way](x, "triton"), WAYS[way](x, "reference"), 1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_resampling_can_be_differentiated_twice(way):
    """First and second derivatives of a nonlinear function of the result, as R1 takes them."""
    results = []
    for backend in ("reference", "triton"):
        x = normal(1, 2, *SIZES[way], seed=2).requires_grad_()
        (first,) = torch.autograd.grad(WAYS[way](x, backend).pow(3).sum(), x, create_graph=True)
        (second,) = torch.autograd.grad(first.square().sum(), x)
        results.append((first.detach(), second))
    for found, expected in zip(results[1], results[0], strict=True):
        assert_near(found, expected, 1e-5)


@pytest.mark.slow
def test_upsampling_adds_what_comes_on_top():
    results = []
    for backend in ("reference", "triton"):
        x, plus = normal(2, 3, 4, 5, seed=3).requires_grad_(), normal(2, 3, 8, 10, seed=4).requires_grad_()
        y = upsample(x, plus, backend=backend)
        results.append([y.detach(), *torch.autograd.grad(y.square().sum(), (x, plus))])
    for found, expected in zip(results[1], results[0], strict=True):
        assert_near(found, expected, 1e-5)


@pytest.mark.parametrize(("padding", "stride"), [(0, 1), (2, 2)])
def test_resampling_that_no_network_needs_is_refused(padding, stride):
    with pytest.raises(ValueError, match=r"expected .padding, stride"):
        low_pass(torch.zeros(1, 1, 4, 4, device=DEVICE), padding=padding, stride=stride, backend="triton")


def test_halving_an_odd_image_is_refused():
    with pytest.raises(ValueError, match="even size to halve, found 5x4"):
        low_pass(torch.zeros(1, 1, 5, 4, device=DEVICE), padding=1, stride=2, backend="triton")


def finished(backend, dtype, size, *, filtered, noise, exact=False):
    """Result and gradients of everything that has one."""
    batch, channels = 2, 3
    height, width = (size[0] + 1, size[1] + 1) if filtered else size
    inputs = [
        normal(batch, channels, height, width, seed=5, dtype=dtype),
        normal(batch, channels, seed=6).abs().add(0.2).to(dtype),
        normal(channels, seed=7, dtype=dtype),
        normal(seed=8, dtype=dtype),
    ]
    maps = {"none": None, "shared": (1, 1, *size), "own": (batch, 1, *size)}[noise]
    sample = None if maps is None else normal(*maps, seed=9, dtype=dtype)
    if exact:
        inputs, sample = [x.float() for x in inputs], None if sample is None else sample.float()
    inputs = [x.requires_grad_() for x in inputs]
    x, scale, bias, strength = inputs
    y = finish(x, scale, bias, sample, strength, filtered=filtered, backend=backend)
    slope = normal(*y.shape, seed=10, dtype=dtype).to(y.dtype)
    return [y.detach(), *torch.autograd.grad(y, inputs, slope, allow_unused=True)]


def compare_finish(size, filtered, noise, dtype):
    expected = finished("reference", dtype, size, filtered=filtered, noise=noise, exact=True)
    found = finished("triton", dtype, size, filtered=filtered, noise=noise)
    for name, a, b in zip(("result", "x", "scale", "bias", "strength"), found, expected, strict=True):
        if b is None:
            assert a is None, name
            continue
        # the gradient of the scale is found from the rounded result, in which bias and noise are large
        loose = 4 if name == "scale" and dtype != torch.float32 else 1
        assert_near(a, b, loose * BOUNDS[dtype])


@pytest.mark.slow
@pytest.mark.parametrize("filtered", [False, True])
@pytest.mark.parametrize(
    ("size", "noise"), [((1, 1), "own"), ((7, 5), "none"), ((7, 5), "shared"), ((7, 5), "own")]
)
def test_finish_equals_the_single_steps_and_so_do_its_gradients(size, filtered, noise):
    compare_finish(size, filtered, noise, torch.float32)


def test_finish_sums_over_several_blocks():
    compare_finish((41, 33), False, "own", torch.float32)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("filtered", [False, True])
def test_finish_in_half_precision(filtered, dtype):
    compare_finish((7, 5), filtered, "own", dtype)


def test_finish_is_the_formula():
    """One number by hand: √2 · leaky(2 · 3 + 0.5 · 4 − 10) = √2 · 0.2 · (−2)."""
    x, one = torch.full((1, 1, 1, 1), 3.0), torch.ones(1, 1, 1, 1)
    y = finish(x, torch.full((1, 1), 2.0), torch.full((1,), -10.0), 4.0 * one, torch.tensor(0.5))
    assert y.item() == pytest.approx(2**0.5 * 0.2 * -2.0)


COMPILE = """
import sys
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile
from gp3d_core.ops.triton.epilogue import finish_kernel, finish_slope_kernel
from gp3d_core.ops.triton.resample import resample_kernel

pointer = "*fp32"
small = ("*fp32",) * 4
resampled = dict(x=pointer, result=pointer, blocks="i32", sizes=("i32",) * 4, gain="fp32")
finished = dict(x=pointer, small=small, result=pointer, blocks="i32", sizes=("i32",) * 3, stride="i32")
sloped = dict(slope=pointer, result=pointer, small=small, back=pointer, sums=pointer, blocks="i32", stride="i32")
for kernel, types, constants in (
    (resample_kernel, resampled | {"plus": pointer}, dict(INNER=1, UP=2, DOWN=1, FRONT=2, N=1024)),
    (resample_kernel, resampled, dict(plus=None, INNER=16, UP=1, DOWN=2, FRONT=1, N=1024)),
    (finish_kernel, finished, dict(FILTER=True, N=1024)),
    (finish_slope_kernel, sloped | {"sizes": ("i32",) * 4}, dict(N=1024)),
):
    signature = {name: types.get(name, "constexpr") for name in kernel.arg_names}
    places = {(kernel.arg_names.index(name),): value for name, value in constants.items()}
    source = ASTSource(fn=kernel, signature=signature, constexprs=places)
    print(len(compile(source, target=GPUTarget("cuda", 90, 32)).asm["cubin"]))
"""


@pytest.mark.slow
def test_kernels_compile_for_a_card_that_is_not_there(tmp_path):
    """The interpreter is plain Python and lets through what the compiler does not know."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment |= {"PYTHONPATH": str(Path(__file__).parents[3]), "TRITON_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", COMPILE],
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert all(int(size) > 1000 for size in done.stdout.split())
    assert len(done.stdout.split()) == 4
