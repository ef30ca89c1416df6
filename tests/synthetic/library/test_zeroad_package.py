"""The game's own files, where GP3D_0AD names Debian's 0ad-data: nothing of it is in the repository."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from synthetic.library.zeroad.actors import read_actor
from synthetic.library.zeroad.assembly import animation_member, as_part, mesh_member, stand_of
from synthetic.library.zeroad.looks import clips, looks
from synthetic.library.zeroad.package import open_package
from synthetic.library.zeroad.pmd import Mesh, read_pmd
from synthetic.library.zeroad.psa import bend, read_psa
from synthetic.library.zeroad.source import models
from synthetic.library.zeroad.table import entries

REAL = os.environ.get("GP3D_0AD", "")
pytestmark = pytest.mark.skipif(not REAL, reason="GP3D_0AD does not name Debian's 0ad-data")


def open_edges(mesh: Mesh) -> int:
    """How many edges have one triangle, where vertices at one place are one."""
    corners = as_part(mesh, np.eye(4), 0).triangles
    corners = corners[[len(set(corner)) == 3 for corner in corners.tolist()]]
    edges = np.sort(np.concatenate([corners[:, [0, 1]], corners[:, [1, 2]], corners[:, [2, 0]]]), axis=1)
    return int((np.unique(edges, axis=0, return_counts=True)[1] == 1).sum())


def test_all_that_the_table_promises_is_there(tmp_path: Path) -> None:
    jobs, unusable = models(open_package(Path(REAL), tmp_path), 1, 0)
    assert not unusable
    assert {job.object_class.wnid for job in jobs} == {entry.object_class.wnid for entry in entries()}
    for number, job in enumerate(jobs[::40]):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert len(job.make(folder).surface)


def test_left_and_right_are_on_their_sides(tmp_path: Path) -> None:
    """Whoever looks towards plus z, with y up, has its left at plus x; mirrored, it would be at minus x."""
    package = open_package(Path(REAL), tmp_path)
    sides: Counter[tuple[str, bool]] = Counter()
    for name in package.names:
        if name.startswith("art/meshes/skeletal/") and name.endswith(".pmd"):
            mesh = read_pmd(package.read(name), name)
            for point in mesh.points:
                x = stand_of(mesh, point)[0, 3]  # our x is the game's; z alone is turned round
                if point.lower().endswith(("_l", "_r")) and abs(x) > 0.05:
                    sides[point.lower()[-1], bool(x > 0)] += 1
    assert set(sides) == {("l", True), ("r", False)}
    assert min(sides.values()) > 500


def test_poses_open_no_surface(tmp_path: Path) -> None:
    package, seen = open_package(Path(REAL), tmp_path), set[str]()
    for entry in entries():
        for look in looks(read_actor(package, f"{entry.actor}.xml")):
            if look.variant.mesh in seen:
                continue
            seen.add(look.variant.mesh)
            name = mesh_member(package, look.variant.mesh)
            mesh = read_pmd(package.read(name), name)
            for clip in clips(look.variant):
                frames = read_psa(package.read(animation_member(package, clip.file)), clip.file)
                bent = bend(mesh, frames[len(frames) // 2])
                assert open_edges(bent) == open_edges(mesh), clip.file
