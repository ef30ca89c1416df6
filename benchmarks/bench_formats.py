"""What the files of a mesh weigh and take to write: `python -m benchmarks.bench_formats [--csv FILE]`.

A mug of 30,000 faces with a texture of 1024², and the same with vertex colours; CPU-milliseconds, median of several
writes with their journal and their waits for the disk, and bytes of all files of a format together.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch

from benchmarks.measuring import Rows, measure
from gp3d_core.meshing.extraction import extract_mesh
from gp3d_core.meshing.files.formats import FORMATS, writable_formats
from gp3d_core.meshing.files.writing import save_mesh
from gp3d_core.meshing.mesh import Mesh
from gp3d_core.meshing.options import COMPRESSIONS
from gp3d_core.meshing.texture.bake import bake_texture, vertex_colors
from tests.support.quadrics import MUG, quadric_field

_CPU = torch.device("cpu")


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints one line per figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--csv", type=Path, help="append the figures to this file")
    parser.add_argument("--seconds", type=float, default=60.0, help="that all may take")
    parser.add_argument("--toy", action="store_true", help="a small mesh: to see that it runs")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    rows = Rows("formats", options.csv, _CPU, options.seconds)
    for kind, mesh in _meshes(options.toy).items():
        for name in FORMATS:
            if name not in writable_formats():
                print(f"formats  {name}: left out, its library is not installed")
                continue
            for compress in COMPRESSIONS if name == "glb" else COMPRESSIONS[:1]:
                _measure(rows, mesh, f"{len(mesh.faces)} faces, {kind}, {name}", name, compress)


def _meshes(toy: bool) -> dict[str, Mesh]:
    field = quadric_field(MUG, roughness=0.01)
    grid, faces, size = (48, 2000, 64) if toy else (256, 30000, 1024)
    mesh = extract_mesh(field, box=field.box, grid=grid, level=0.0, faces=faces).mesh
    return {
        f"{size}² texture": bake_texture(mesh, field.fast(), size=size),
        "vertex colours": vertex_colors(mesh, field.fast()),
    }


def _measure(rows: Rows, mesh: Mesh, figure: str, name: str, compress: str) -> None:
    figure += "" if compress == "none" else f" {compress}"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"mug.{name}")
        milliseconds, _ = measure(
            partial(save_mesh, mesh, path, {"compress": compress}), _CPU, rows.seconds / 18, most=5
        )
        rows.add(figure, milliseconds, "CPU-ms")
        rows.add(figure, sum(file.stat().st_size for file in Path(folder).iterdir()) / 1e6, "MB")


if __name__ == "__main__":
    main()
