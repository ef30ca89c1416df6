"""Kernels beside plain torch: `python -m benchmarks.bench_kernels [--toy] [--seconds 150] [--csv FILE]`.

Renderer forward and with gradients at the training shape and forward at 256², resampling and the end of a modulated
convolution at the backbone's largest size, the density grid, and the two ceilings that they are held against: the
bandwidth of a copy (bytes read and written) and the rate of a matrix product. Medians of CUDA events, CPU time without
a GPU; `--toy` makes everything so small that a CPU runs it, which proves the program and measures nothing.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.measuring import Rows, measure, tf32
from gp3d_core.config.presets import PRESETS, resolve
from gp3d_core.config.schema import RunConfig
from gp3d_core.distributed import pick_device
from gp3d_core.networks.decoder import TriplaneDecoder, TriplaneField
from gp3d_core.ops.resampling import finish, upsample
from gp3d_core.rendering.cameras import Cameras, sample_cameras, sample_rays
from gp3d_core.rendering.patches import sample_patches
from gp3d_core.rendering.triplane_density import point_grid
from gp3d_core.rendering.volume import render
from gp3d_core.rng import generator_for

BACKENDS = ("reference", "triton")


@dataclass(frozen=True)
class Sizes:
    """How large: the configuration, patches in a batch, whole images in a batch, features and samples of the backbone's
    last block, cells of the density grid, side of the matrices, bytes of the copy.
    """

    config: RunConfig
    patches: int
    images: int
    image: int
    backbone: tuple[int, int, int, int]
    grid: int
    matrix: int
    copied: int


FULL = Sizes(PRESETS["imagenet-256"], 64, 4, 256, (16, 128, 512, 512), 256, 8192, 2**32)
TOY = Sizes(
    resolve("tiny", ["generator.plane_resolution=16", "render.coarse_steps=4", "render.fine_steps=4"]),
    2,
    1,
    8,
    (1, 2, 8, 8),
    8,
    64,
    2**16,
)


def main(arguments: list[str] | None = None) -> None:
    """Prints and saves one row per figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--toy", action="store_true")
    parser.add_argument("--seconds", type=float, default=150.0)
    parser.add_argument("--csv", type=Path)
    options = parser.parse_args(arguments)
    sizes = TOY if options.toy else FULL
    device = pick_device("cpu" if options.toy else "cuda")
    backends = BACKENDS if device.type == "cuda" else BACKENDS[:1]
    rows = Rows("kernels", options.csv, device, options.seconds)
    with rows.attempt("copy and matrix products"):
        ceilings(rows, sizes)
    for allowed in (False, True):
        with tf32(allowed) as mode, rows.attempt(f"renderer, {mode}"):
            renderer(rows, sizes, backends, mode)
    with rows.attempt("backbone"):
        backbone(rows, sizes, backends)
    with rows.attempt("density grid"):
        density(rows, sizes)
    rows.close()


def ceilings(rows: Rows, sizes: Sizes) -> None:
    """What a copy and a matrix product reach on this device, on random numbers."""
    source = torch.randn(sizes.copied // 4, device=rows.device)
    target = torch.empty_like(source)
    milliseconds, _ = measure(lambda: target.copy_(source), rows.device, 5)
    rows.add("copy, bytes read and written", 2 * sizes.copied / max(milliseconds, 1e-6) / 1e9, "TB/s")
    n = sizes.matrix
    for dtype, allowed in ((torch.bfloat16, False), (torch.float32, True), (torch.float32, False)):
        a, b = (torch.randn(n, n, device=rows.device).to(dtype) for _ in range(2))
        with tf32(allowed) as mode:
            milliseconds, _ = measure(lambda a=a, b=b: a @ b, rows.device, 5)
        kind = "bfloat16" if dtype == torch.bfloat16 else f"float32, {mode}"
        rows.add(f"matrix product {n}³, {kind}", 2 * n**3 / max(milliseconds, 1e-6) / 1e9, "TFLOP/s")


def renderer(rows: Rows, sizes: Sizes, backends: tuple[str, ...], mode: str) -> None:
    """The two-pass render, at the training shape forward and with all gradients, and of whole images."""
    config = sizes.config
    settings, patch = config.generator, config.patch.resolution
    source = generator_for("bench", device=rows.device)

    def scene(count: int, side: int, patches: bool) -> tuple[torch.Tensor, Cameras, Any]:
        planes = torch.randn(
            count, 3, settings.plane_channels, *[settings.plane_resolution] * 2, device=rows.device
        )
        cameras = sample_cameras(config.camera, count, source)
        windows = sample_patches(config.patch, count, 10**6, config.training.resolution, source)
        return planes, cameras, windows if patches else None

    decoder = TriplaneDecoder(settings).to(rows.device)

    def forward(
        backend: str, planes: torch.Tensor, cameras: Cameras, windows: Any, side: int
    ) -> torch.Tensor:
        rays_o, rays_d = sample_rays(cameras, side, windows)
        field = TriplaneField(planes, decoder, config.camera.box)
        options = replace(config.render, backend=backend)
        draws = generator_for("bench draws", device=rows.device)
        seen = render(field, rays_o, rays_d, config.camera, options, jitter=True, generator=draws)
        return torch.cat([seen.rgb, seen.depth, seen.opacity], dim=-1)

    def silent(backend: str, *objects: Any) -> None:
        with torch.no_grad():
            forward(backend, *objects)

    def with_gradients(backend: str, planes: torch.Tensor, cameras: Cameras, windows: Any, side: int) -> None:
        planes = planes.detach().requires_grad_()
        flat = cameras.flat().requires_grad_()
        forward(backend, planes, Cameras.from_flat(flat), windows, side).square().sum().backward()
        decoder.zero_grad(set_to_none=True)

    training = scene(sizes.patches, patch, True)
    shape = f"{sizes.patches} patches of {patch}²"
    for what, work in (("forward", silent), ("forward + backward", with_gradients)):
        works: dict[str, Callable[[], object]] = {
            backend: lambda backend=backend, work=work: work(backend, *training, patch)
            for backend in backends
        }
        rows.compare(f"render {shape}, {what}, {mode}", works)
    whole = scene(sizes.images, sizes.image, False)
    rows.compare(
        f"render {sizes.images} images of {sizes.image}², forward, {mode}",
        {backend: lambda backend=backend: silent(backend, *whole, sizes.image) for backend in backends},
    )


def backbone(rows: Rows, sizes: Sizes, backends: tuple[str, ...]) -> None:
    """The end of a modulated convolution and the sum of planes at the largest size, with their gradients."""
    batch, channels, height, width = sizes.backbone
    scale = torch.rand(batch, channels, device=rows.device) + 0.5
    bias, strength = torch.randn(channels, device=rows.device), torch.tensor(0.1, device=rows.device)
    noise = torch.randn(batch, 1, height, width, device=rows.device)

    def end(backend: Any, x: torch.Tensor, filtered: bool) -> None:
        inputs = [value.detach().requires_grad_() for value in (x, scale, bias, strength)]
        x, *small, power = inputs
        y = finish(x, *small, noise, power, filtered=filtered, backend=backend)
        torch.autograd.grad(y, inputs, y.detach())

    for filtered in (False, True):
        x = torch.randn(batch, channels, height + filtered, width + filtered, device=rows.device)
        name = "filter and end" if filtered else "end"
        rows.compare(
            f"{name} of a modulated convolution {channels}×{height}², batch {batch}, forward + backward",
            {b: lambda b=b, x=x, filtered=filtered: end(b, x, filtered) for b in backends},
        )
    planes = torch.randn(batch, 3 * sizes.config.generator.plane_channels, height // 2, width // 2)
    planes, share = planes.to(rows.device), torch.randn(*planes.shape[:2], height, width, device=rows.device)
    rows.compare(
        f"planes doubled and added to {height}², batch {batch}, forward",
        {b: lambda b=b: upsample(planes, share, backend=b) for b in backends},
    )
    _modulation(rows, batch, channels, height)


def _modulation(rows: Rows, batch: int, channels: int, side: int) -> None:
    """A kernel per sample in one grouped convolution, against scaling what goes into a shared one."""
    x = torch.randn(batch, channels, side, side, device=rows.device)
    weight = torch.randn(channels, channels, 3, 3, device=rows.device)
    style = torch.rand(batch, channels, device=rows.device) + 0.5

    def shared() -> None:
        inputs = [value.detach().requires_grad_() for value in (x, weight, style)]
        y = torch.nn.functional.conv2d(inputs[0] * inputs[2][:, :, None, None], inputs[1], padding=1)
        torch.autograd.grad(y, inputs, y.detach())

    def grouped() -> None:
        inputs = [value.detach().requires_grad_() for value in (x, weight, style)]
        kernels = (inputs[1] * inputs[2][:, None, :, None, None]).flatten(0, 1)
        y = torch.nn.functional.conv2d(inputs[0].flatten(0, 1)[None], kernels, padding=1, groups=batch)
        torch.autograd.grad(y, inputs, y.detach())

    for allowed in (False, True):
        with tf32(allowed) as mode:
            rows.compare(
                f"modulated convolution {channels}×{side}², batch {batch}, forward + backward, {mode}",
                {"scaled": shared, "grouped": grouped},
            )


@torch.no_grad()
def density(rows: Rows, sizes: Sizes) -> None:
    """The grid that meshes are marched on: point by point on the device, and separable."""
    settings = sizes.config.generator
    planes = torch.randn(1, 3, settings.plane_channels, *[settings.plane_resolution] * 2, device=rows.device)
    decoder = TriplaneDecoder(settings).to(rows.device)
    field = TriplaneField(planes, decoder, sizes.config.camera.box)
    axis = torch.linspace(-field.box, field.box, sizes.grid)
    rows.compare(
        f"density grid {sizes.grid}³",
        {
            "points": lambda: point_grid(field, axis, axis, axis, device=rows.device),
            "separable": lambda: field.separable_density().grid(axis, axis, axis),
        },
    )


if __name__ == "__main__":
    main()
