"""A small model library for tests of the renderer: known shapes, broken models, and real ones where they are at hand.

`SHAPES` are given in our world frame (front +z); `write_library` turns them to ShapeNet's (front -z), as the format
says: (x, y, z) -> (-x, y, -z).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import trimesh

REPOSITORY = Path(__file__).resolve().parents[2]
REAL_MODELS = REPOSITORY.parent / "shared/data/meshes"
REAL_KEYS = ("02958343", "03001627", "02880940")  # a car, a chair, a bowl: the first of each

RED, GREEN, BLUE, BLACK, GREY = (
    (0.8, 0.02, 0.02),
    (0.02, 0.5, 0.05),
    (0.03, 0.05, 0.8),
    (0.0,) * 3,
    (0.4,) * 3,
)


@dataclass(frozen=True)
class Part:
    """A mesh in the world frame, its colour (linear light) and opacity."""

    mesh: trimesh.Trimesh
    color: tuple[float, ...] = GREY
    opacity: float = 1.0


def box(centre: tuple[float, ...], side: float) -> trimesh.Trimesh:
    """A cube."""
    return trimesh.creation.box((side,) * 3, trimesh.transformations.translation_matrix(centre))


def ball(centre: tuple[float, ...], radius: float) -> trimesh.Trimesh:
    """A sphere of triangles."""
    mesh = trimesh.creation.icosphere(subdivisions=3, radius=radius)
    mesh.apply_translation(centre)
    return mesh


DOTS = [(x, y, z) for x in (-0.3, 0.3) for y in (-0.3, 0.3) for z in (-0.2, 0.2)]
SHAPES: dict[str, list[Part]] = {
    "02876657/blocks": [
        Part(box((0, 0, 0.3), 0.14), RED),
        Part(box((0.3, 0, 0), 0.14), GREEN),
        Part(box((0, 0.3, 0), 0.14), BLUE),
    ],
    "03797390/ball": [Part(ball((0, 0, 0), 0.28))],
    "04379243/dots": [Part(ball(centre, 0.03), BLACK) for centre in DOTS],
    "04379243/pane": [Part(box((0, 0, 0), 0.2), RED), Part(box((0, 0, 0), 0.5), GREY, opacity=0.3)],
}
BROKEN = {
    "03797390/cut": "a corner that is none of its 321 vertices",
    "03797390/empty": "is empty",
    "03797390/glass": "all of its faces are transparent",
    "03797390/huge": "normalise the model",
    "03797390/missing": "model_normalized.obj is missing",
    "03797390/nan": "not finite",
    "03797390/points": "no faces",
    "03797390/unreadable": "texture.png is missing or unreadable",
    "03797390/untextured": "nothing.png is missing",
}
CLASSES = {
    "02876657/blocks": {
        "name": "building blocks",
        "imagenet_index": 440,
        "wnid": "n02823428",
        "synset": "02876657",
    }
}
TAXONOMY = [
    {"synsetId": synset, "name": name, "children": [], "numInstances": 1}
    for synset, name in [
        ("02876657", "bottle"),
        ("03797390", "mug"),
        ("04379243", "table"),
        ("02958343", "car,auto"),
        ("03001627", "chair"),
        ("02880940", "bowl"),
    ]
]


def opaque_mesh(parts: list[Part]) -> trimesh.Trimesh:
    """What a renderer should see of `parts`."""
    return trimesh.util.concatenate([part.mesh for part in parts if part.opacity == 1.0])


def write_model(root: Path, key: str, parts: list[Part], texture: str | None = None) -> Path:
    """Writes `parts` as a model of the library `root`."""
    text, materials, base = ["mtllib model_normalized.mtl"], [], 1
    for number, part in enumerate(parts):
        materials += [f"newmtl m{number}", "Kd {:.4f} {:.4f} {:.4f}".format(*part.color), f"d {part.opacity}"]
        materials += [f"map_Kd {texture}"] if texture else []
        text += ["v {:.7f} {:.7f} {:.7f}".format(*vertex) for vertex in part.mesh.vertices * [-1, 1, -1]]
        text += [f"o part{number}", f"g part{number}", f"usemtl m{number}"]
        text += ["f {}/1 {}/1 {}/1".format(*face + base) for face in part.mesh.faces]
        base += len(part.mesh.vertices)
    folder = root / key / "models"
    folder.mkdir(parents=True)
    (folder / "model_normalized.mtl").write_text("\n".join(materials) + "\n")
    (folder / "model_normalized.obj").write_text("\n".join(["vt 0.5 0.5", *text]) + "\n")
    return folder / "model_normalized.obj"


def write_facts(root: Path) -> None:
    """Writes taxonomy.json and classes.json."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "taxonomy.json").write_text(json.dumps(TAXONOMY))
    (root / "classes.json").write_text(json.dumps(CLASSES))


def write_shapes(root: Path) -> None:
    """Writes the good models, and the real ones where a neighbouring folder has them."""
    for key, parts in SHAPES.items():
        write_model(root, key, parts)
    for synset in REAL_KEYS if REAL_MODELS.is_dir() else ():
        model = sorted((REAL_MODELS / synset).iterdir())[0]
        shutil.copytree(model, root / synset / model.name)


def write_broken(root: Path, only_text: bool = False) -> None:
    """Writes the broken models; with `only_text` those alone that show without Blender."""
    cube = box((0, 0, 0), 0.5)
    for name in ("empty", "missing", "nan", "points"):
        path = write_model(root, f"03797390/{name}", [Part(cube)])
        text = path.read_text()
        path.write_text(
            {
                "empty": "\n",
                "nan": text.replace("v -0.25", "v nan", 1),
                "points": text.partition("f ")[0],
            }.get(name, "")
        )
        if name == "missing":
            path.unlink()
    if not only_text:
        write_model(root, "03797390/glass", [Part(cube, opacity=0.3)])
        write_model(root, "03797390/huge", [Part(box((0, 0, 0), 5.0))])
        write_model(root, "03797390/untextured", [Part(cube)], texture="nothing.png")
        unreadable = write_model(root, "03797390/unreadable", [Part(cube)], texture="texture.png")
        (unreadable.parent / "texture.png").write_bytes(b"not a picture")
        cut = write_model(root, "03797390/cut", [Part(ball((0, 0, 0), 0.4))])
        lines = cut.read_text().splitlines()
        cut.write_text("\n".join(line for i, line in enumerate(lines) if not line.startswith("v ") or i % 2))


def command(module: str, *arguments: object) -> list[str]:
    """Command line of one of the package's programs."""
    return [sys.executable, "-m", module, *map(str, arguments)]


def environment(scratch: Path) -> dict[str, str]:
    """Environment in which a child keeps its temporary files in `scratch`."""
    scratch.mkdir(parents=True, exist_ok=True)
    path = os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "TMPDIR": str(scratch), "PYTHONPATH": path}


def run(scratch: Path, module: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Runs one of the package's programs to its end."""
    return subprocess.run(
        command(module, *arguments),
        env=environment(scratch),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def pixel_rays(record: dict[str, object], resolution: int) -> tuple[np.ndarray, np.ndarray]:
    """Origin [3] and directions [R,R,3] (z-depth 1) of a view's rays, from what its camera record says."""
    matrix, pose = np.array(record["intrinsics"]), np.array(record["cam2world"])
    v, u = np.mgrid[:resolution, :resolution]
    local = np.stack(
        [(u - matrix[0, 2]) / matrix[0, 0], -(v - matrix[1, 2]) / matrix[1, 1], -np.ones(u.shape)], -1
    )
    return pose[:3, 3], local @ pose[:3, :3].T


def project(record: dict[str, object], points: np.ndarray) -> np.ndarray:
    """Pixel coordinates [N,2] (column, row) of world points [N,3]."""
    matrix, pose = np.array(record["intrinsics"]), np.array(record["cam2world"])
    local = (points - pose[:3, 3]) @ pose[:3, :3] * [1, -1, -1]
    image = local @ matrix.T
    return image[:, :2] / image[:, 2:]
