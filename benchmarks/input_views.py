"""How well meshes that VQ3D makes of photographs show them: `python -m benchmarks.input_views FOLDER [--csv FILE]`.

For every picture in FOLDER that of its mesh (`gp3d vq3d reconstruct` and `mesh`, their defaults), drawn from the input
camera at 512 pixels, against the photograph, where there is a mesh: PSNR at these pixels and at the mean of what the
model sees. Views are drawn with as many pixels as the photograph has, and averaged. Seams, from the input camera and
from ±30°: the mean step of brightness from a pixel to the next where the photograph fades into the model's colours,
over that where all is photograph; and the same on the line that has half of the photograph.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from benchmarks.measuring import Rows
from gp3d_core import ScenePipeline
from gp3d_core.cli.arguments import Parser, existing, new_path, number
from gp3d_core.errors import GP3DError
from gp3d_core.meshing.colors import sample_texture
from gp3d_core.meshing.mesh import Mesh
from gp3d_core.meshing.options import SceneMeshOptions
from gp3d_core.meshing.rasterizer import render_mesh
from gp3d_core.meshing.texture.projection import Photograph, Projection
from gp3d_core.rendering.cameras import cam2world, sample_rays
from gp3d_core.visualization import save_picture
from gp3d_core.vq3d.scenes.mesh import mesh_of
from gp3d_core.vq3d.scenes.scenefile import Scene

SIZE = 512
YAWS = (0.0, -30.0, 30.0)
TURNED = (-30.0, -15.0, 0.0, 15.0, 30.0)
_FADES = (0.02, 0.98)  # weights of a photograph between which it fades
_SURFACE = 0.03  # of the distance: neighbours that differ by more are two surfaces
_PICTURES = (".png", ".jpg", ".jpeg", ".webp")


@dataclass(frozen=True)
class Shown:
    """PSNR (dB) at `SIZE` and at what the model sees; `plain`, the share that is all photograph; seams."""

    sharp: float
    seen: float
    plain: float
    seam: float
    half: float


def measure(scene: Scene, options: SceneMeshOptions) -> tuple[Shown, NDArray[Any]]:
    """How well the mesh of a `scene` of one picture shows it.

    And a picture: photograph, mesh, four times their difference; below the mesh turned by `TURNED`.
    """
    mesh, _ = mesh_of(scene, options)
    photograph = _camera(scene, 0.0)
    projection = Projection.onto(Mesh(mesh.vertices, mesh.faces), photograph)
    times = math.ceil(len(photograph.rgb) / SIZE)  # as often as a viewer has to look that leaves no pixel out
    drawn = render_mesh(mesh, photograph.camera, times * SIZE)
    line = np.linspace(0, 1, times * SIZE)
    places = np.stack(np.meshgrid(line, 1 - line), axis=-1).reshape(-1, 2)
    pixels = sample_texture(projection.at_most(times * SIZE).rgb, places).reshape(drawn.rgb.shape)
    view, wanted, whole = _means(drawn.rgb, times), _means(pixels, times), _means(drawn.mask, times) == 1
    blocks = SIZE // scene.resolution
    fading, crossing, plain = _steps(mesh, scene, projection)
    weights, _ = _weights(mesh, photograph, projection)
    shown = Shown(
        psnr(view, wanted, whole),
        psnr(_means(view, blocks), _means(wanted, blocks), _means(whole, blocks) == 1),
        float((weights[np.isfinite(weights)] >= _FADES[1]).mean()),
        float(fading.mean() / plain.mean()),
        float(crossing.mean() / plain.mean()),
    )
    off = 4 * np.abs(view - wanted) * whole[..., None]
    turned = [render_mesh(mesh, _camera(scene, yaw).camera, SIZE).rgb for yaw in TURNED]
    upper, lower = (np.concatenate(row, axis=1) for row in ((wanted, view, off), turned))
    upper = np.pad(upper, ((0, 0), (0, lower.shape[1] - upper.shape[1]), (0, 0)), constant_values=255)
    return shown, np.clip(np.concatenate([upper, lower]), 0, 255).astype(np.uint8)


def _camera(scene: Scene, yaw: float) -> Photograph:
    """The scene's picture as if it had been taken by a camera turned by `yaw` degrees."""
    return replace(scene.inputs[0], yaw=yaw).photograph(scene.camera, scene.resolution, scene.pivot)


def psnr(one: NDArray[Any], other: NDArray[Any], where: NDArray[Any]) -> float:
    """Of pictures of bytes, in dB."""
    off = (one.astype(float) - other.astype(float))[where] / 255
    return float(-10 * np.log10(max(float((off**2).mean()), 1e-10)))


def _means(values: NDArray[Any], block: int) -> NDArray[Any]:
    count = len(values) // block
    means: NDArray[Any] = values.astype(float).reshape(count, block, count, block, -1).mean(axis=(1, 3))
    return means[..., 0] if values.ndim == 2 else means


def _weights(mesh: Mesh, photograph: Photograph, projection: Projection) -> tuple[NDArray[Any], NDArray[Any]]:
    """How much [S,S] of the photograph each pixel of the view from that camera takes, and how far away it is.

    NaN where no mesh is.
    """
    depth = render_mesh(Mesh(mesh.vertices, mesh.faces), photograph.camera, SIZE).depth
    _, directions = sample_rays(photograph.camera, SIZE)
    origin = cam2world(photograph.camera)[0, :3, 3].double().numpy()
    shown = np.isfinite(depth)
    points = origin + directions[0].double().numpy()[shown.ravel()] * depth[shown][:, None]
    weights = np.full((SIZE, SIZE), np.nan)
    weights[shown] = projection(points)[1]
    return weights, np.where(shown, depth, np.nan)


def _steps(
    mesh: Mesh, scene: Scene, projection: Projection
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Steps of brightness between neighbours on one surface, in levels.

    Where the photograph fades, where half of it is left between the two, and where it is all.
    """
    fading, crossing, plain = [], [], []
    for yaw in YAWS:
        camera = _camera(scene, yaw)
        weights, depth = _weights(mesh, camera, projection)
        grey = render_mesh(mesh, camera.camera, SIZE).rgb.astype(float).mean(axis=2)
        for axis in (0, 1):
            step = np.abs(np.diff(grey, axis=axis))
            first, second = (np.delete(weights, end, axis) for end in (-1, 0))
            low, high = np.minimum(first, second), np.maximum(first, second)
            whole = np.abs(np.diff(np.log(depth), axis=axis)) < _SURFACE  # false of NaN
            fading.append(step[whole & (high > _FADES[0]) & (low < _FADES[1])])
            crossing.append(step[whole & (high >= 0.5) & (low < 0.5)])
            plain.append(step[whole & (low >= _FADES[1])])
    return np.concatenate(fading), np.concatenate(crossing), np.concatenate(plain)


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints, and saves with --csv, the figures of all pictures; an error is one line."""
    parser = Parser(prog="python -m benchmarks.input_views", description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("folder", type=existing, metavar="FOLDER")
    add("--model", help="tokenizer or code prior (default: the one that comes along)")
    add("--grid", type=number(int, 8, 512), default=SceneMeshOptions().grid)
    add(
        "--out",
        type=new_path,
        help="a picture for each: photograph, mesh, four times the difference, turned views",
    )
    add("--csv", type=Path)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    try:
        run(options)
    except GP3DError as error:
        print(f"input_views: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def run(options: argparse.Namespace) -> None:
    """Measures every picture."""
    pipeline = ScenePipeline.from_pretrained(options.model, device="cpu")
    rows = Rows("vq3d", options.csv, torch.device("cpu"), float("inf"))
    found: list[Shown] = []
    for path in sorted(options.folder.iterdir()):
        if path.suffix.lower() not in _PICTURES:
            continue
        shown, picture = measure(pipeline.reconstruct(path).scene, SceneMeshOptions(grid=options.grid))
        found.append(shown)
        figure = f"input view of a mesh, grid {options.grid}, {path.stem}"
        rows.add(f"{figure}, {SIZE} px", shown.sharp, "dB")
        rows.add(f"{figure}, {pipeline.tokenizer.config.training.resolution} px", shown.seen, "dB")
        rows.add(f"{figure}, all photograph", shown.plain, "of what is seen")
        rows.add(f"{figure}, seams", shown.seam, "x")
        rows.add(f"{figure}, seams, half of the photograph", shown.half, "x")
        if options.out is not None:
            options.out.mkdir(parents=True, exist_ok=True)
            save_picture(Image.fromarray(picture), options.out / f"{path.stem}.png")
    if not found:
        raise GP3DError(f"{options.folder} has no picture")
    for name in ("sharp", "seen", "plain", "seam", "half"):
        values = [getattr(one, name) for one in found]
        print(f"{name:8} mean {np.mean(values):.3g}, from {min(values):.3g} to {max(values):.3g}")


if __name__ == "__main__":
    sys.exit(main())
