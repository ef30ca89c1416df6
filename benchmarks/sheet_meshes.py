"""Coarse meshes for sheets, each in a fifth of the time of `gp3d mesh`: `python -m benchmarks.sheet_meshes MODEL DIR`.

Of every class and seed a GLB file named as `gp3d mesh` does, with 72 samples an edge, at most 8,000 faces and colours
of vertices, where the density is 10, as in the paper; nothing is measured of them. What is there is kept: the same
command goes on where it stopped.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from tqdm import tqdm

from benchmarks.comparison.subjects import parse_names
from gp3d_core.cli.arguments import Parser, parse_seeds
from gp3d_core.datasets.imagenet import unrated
from gp3d_core.errors import GP3DError
from gp3d_core.generation.objects import DEFAULT_TRUNCATION, ObjectSpec
from gp3d_core.generation.sampling import generate, open_snapshot
from gp3d_core.licences.page import short_credits
from gp3d_core.meshing.extraction import EmptyMeshError
from gp3d_core.meshing.files.writing import save_mesh
from gp3d_core.meshing.level import Level
from gp3d_core.meshing.options import MeshOptions
from gp3d_core.meshing.pipeline import find_surface
from gp3d_core.meshing.texture.bake import vertex_colors
from gp3d_core.snapshots.run_folder import find_snapshot
from gp3d_core.snapshots.snapshot import Snapshot

COARSE = MeshOptions(grid=72, faces=8_000, color="vertex", level=Level(10.0))


@torch.no_grad()
def save_coarse(snapshot: Snapshot, spec: ObjectSpec, path: Path) -> None:
    """Writes the mesh of an object. Raises EmptyMeshError where it has no surface."""
    obj = generate(snapshot, spec, DEFAULT_TRUNCATION)
    field = snapshot.generator.field(obj.planes)
    surface = find_surface(field, snapshot.config, COARSE)
    mesh = vertex_colors(surface.mesh, field.fast())
    facts = {"license": snapshot.license, "credits": short_credits(snapshot.licences)}
    save_mesh(mesh, path, facts)


def run(options: argparse.Namespace) -> int:
    """Everything; returns the exit code."""
    torch.set_num_threads(1)
    snapshot = open_snapshot(find_snapshot(options.snapshot), "cpu")
    specs = [
        ObjectSpec(unrated(record), record["label"], seed)
        for record in snapshot.classes
        if not options.classes or record["name"] in options.classes
        for seed in options.seeds
    ]
    missing = [(spec, path) for spec in specs if not (path := options.out / f"{spec.stem}.glb").exists()]
    for spec, path in tqdm(missing, unit="mesh", file=sys.stderr, disable=None):
        try:
            save_coarse(snapshot, spec, path)
        except EmptyMeshError as error:
            print(f"{spec.stem}: {error}", file=sys.stderr)
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Makes them; an error is one line."""
    parser = Parser(prog="python -m benchmarks.sheet_meshes", description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("snapshot", type=Path, metavar="MODEL", help="file, run folder or name of a pretrained model")
    add("out", type=Path, metavar="DIR", help="folder of the meshes")
    add("--classes", type=parse_names, default=[], metavar="LIST", help="names with commas (all)")
    add("--seeds", type=parse_seeds, default=[0, 1, 2, 3], help="e.g. 0-3 (default)")
    try:
        return run(parser.parse_args(arguments))
    except GP3DError as error:
        print(f"sheet_meshes: {error}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
