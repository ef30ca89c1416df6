"""Registers, spills and shared memory of every Triton kernel, without a card: `python -m benchmarks.compiled_kernels`.

Kernels are compiled for compute capability 9.0 as their own launches have them: these run on torch's `meta` device at
the size of training on ImageNet, only that compiling takes the place of launching. What `ptxas` says of each goes to
standard output as CSV; `--write` renews `benchmarks/compiled_kernels.csv`, which a test compares.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import triton
from torch import Tensor
from triton import knobs
from triton._C.libtriton import ir
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, make_backend
from triton.runtime.jit import JITFunction, create_function_from_signature

from gp3d_core.ops.reference import Perceptron
from gp3d_core.ops.triton import compositing, decoding, epilogue, importance, rendering, resample
from gp3d_core.ops.triton.marching import Scene

TABLE = Path(__file__).with_suffix(".csv")
COLUMNS = ("kernel", "options", "registers", "spilled", "read_back", "shared", "triton")
RENEW = "python -m benchmarks.compiled_kernels --write"
_TARGET = GPUTarget("cuda", 90, 32)

Launch = tuple[JITFunction, tuple[Any, ...], dict[str, Any]]


def main(arguments: list[str] | None = None) -> None:
    """Compiles every kernel and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help=f"renew benchmarks/{TABLE.name}")
    options = parser.parse_args(arguments)
    if os.environ.get("TRITON_INTERPRET", "0") != "0":
        sys.exit("expected kernels to compile, found TRITON_INTERPRET set; unset it")
    rows = [measured(name, launch) for name, launch in launches()]
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    if options.write:
        TABLE.write_text(text.getvalue(), encoding="utf-8")
    print(text.getvalue(), end="")


def measured(options: str, launch: Launch) -> dict[str, str]:
    """A row of the table: what `ptxas` says of a launch's kernel; bytes a thread, and shared bytes a program."""
    source, wanted = specialised(launch)
    log = io.StringIO()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(log), knobs.cache.scope():
        knobs.cache.dir = folder  # nothing compiled before is read, for then ptxas says nothing
        with knobs.nvidia.scope():
            knobs.nvidia.dump_ptxas_log = True
            compiled = triton.compile(source, target=_TARGET, options=wanted.__dict__)
    spills = re.search(r"(\d+) bytes spill stores, (\d+) bytes spill loads", log.getvalue())
    registers = re.search(r"Used (\d+) registers", log.getvalue())
    if not (spills and registers):
        raise RuntimeError(f"expected registers and spills from ptxas, found {log.getvalue()!r}")
    found = (registers[1], spills[1], spills[2], str(compiled.metadata.shared), triton.__version__)
    return dict(zip(COLUMNS, (launch[0].fn.__name__, options, *found), strict=True))


def intermediate(launch: Launch) -> str:
    """A launch's kernel in Triton's own language, before anything is simplified, with the places in the source."""
    source, wanted = specialised(launch)
    backend = make_backend(_TARGET)
    context = ir.context()
    ir.load_dialects(context)
    backend.load_dialects(context)
    module = source.make_ir(
        _TARGET, wanted, backend.get_codegen_implementation(wanted), backend.get_module_map(), context
    )
    return str(module)


def specialised(launch: Launch) -> tuple[ASTSource, Any]:
    """What Triton compiles for a launch on a card: types, constants, and which numbers 16 divides; and its options."""
    kernel, given, named = launch
    backend = make_backend(_TARGET)
    binder = create_function_from_signature(kernel.signature, kernel.params, backend)
    bound, special, _ = binder(*given, **{**named, "debug": False})
    wanted, signature, constants, attributes = kernel._pack_args(backend, dict(named), bound, special, None)
    return ASTSource(kernel, signature, constants, attributes), wanted


def launches(dtype: torch.dtype = torch.float32) -> Iterator[tuple[str, Launch]]:
    """Every kernel's launches, named by their options, with planes and images of a type."""
    for name, act in _acts(dtype):
        for launch in recorded(act):
            yield name, launch


def recorded(act: Callable[[], object]) -> list[Launch]:
    """The launches of what is done on the `meta` device, none of which happens."""
    found: list[Launch] = []

    def record(kernel: JITFunction, *given: Any, grid: object, warmup: bool, **named: Any) -> None:
        del grid, warmup
        found.append((kernel, given, named))

    before = JITFunction.run
    JITFunction.run = record
    try:
        act()
    finally:
        JITFunction.run = before
    return found


def _acts(dtype: torch.dtype) -> Iterator[tuple[str, Callable[[], object]]]:
    """What launches kernels, and with which options; backward follows forward."""
    yield "32 + 32 samples, as trained", lambda: _render(dtype, trained=True)
    yield "48 + 48 samples, no options", lambda: _render(dtype, trained=False)
    yield "points", lambda: _decode(dtype)
    yield "64 samples", _composite
    yield "32 + 32 samples", lambda: importance.sample_importance(*(_numbers(64, 4096, 32) for _ in range(3)))
    yield "filter, noise", lambda: _finish(dtype, filtered=True)
    yield "noise", lambda: _finish(dtype, filtered=False)
    images = _numbers(16, 96, 256, 256, dtype=dtype)
    yield "up, added", lambda: resample.upsample(images, _numbers(16, 96, 512, 512, dtype=dtype))
    by_pixel = images.contiguous(memory_format=torch.channels_last)
    yield "down, by pixel", lambda: resample.low_pass(by_pixel, padding=1, stride=2)


def _numbers(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Numbers without memory that want a gradient."""
    return torch.empty(shape, dtype=dtype, device="meta", requires_grad=True)


def _perceptron() -> Perceptron:
    return Perceptron(_numbers(64, 32), _numbers(64), _numbers(4, 64), _numbers(4), True)


def _planes(dtype: torch.dtype) -> Tensor:
    return _numbers(64, 3, 32, 512, 512, dtype=dtype)


def _render(dtype: torch.dtype, *, trained: bool) -> None:
    """A training step's rays, forward and backward; or longer ones, forward only, without any option."""
    samples = 32 if trained else 48
    noise = torch.empty(64, 4096, 2 * samples, device="meta") if trained else None
    rays = [_numbers(64, 4096, 3) for _ in range(2)]
    given = [_numbers(64, 4096, samples).detach() for _ in range(2)]
    scene = Scene(0.75, 0.5, 1.25, 0.5, 0.5, 1e10, 1.0, 1.0, -1.0)
    seen, _ = rendering.render_rays(
        _planes(dtype), _perceptron(), *rays, *given, noise, scene,
        background="white" if trained else "none", empty_outside=trained, metric=trained,
    )  # fmt: skip
    if trained:
        (seen.rgb.sum() + seen.depth.sum()).backward()


def _decode(dtype: torch.dtype) -> None:
    rgb, raw = decoding.decode_triplane(_planes(dtype), _numbers(64, 65536, 3), _perceptron(), box=0.5)
    (rgb.sum() + raw.sum()).backward()


def _composite() -> None:
    seen = compositing.composite_rays(
        _numbers(64, 4096, 64, 3), _numbers(64, 4096, 64), _numbers(64, 4096, 64),
        last_interval=1e10, background="white", t_far=1.25,
    )  # fmt: skip
    seen.rgb.sum().backward()


def _finish(dtype: torch.dtype, *, filtered: bool) -> None:
    side = 513 if filtered else 512
    images, noise = _numbers(16, 128, side, side, dtype=dtype), _numbers(16, 1, 512, 512).detach()
    epilogue.finish(
        images, _numbers(16, 128), _numbers(128), noise, _numbers(), filtered=filtered
    ).sum().backward()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("stopped")
