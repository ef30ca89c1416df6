"""Makes blender_addon/samples: procedural objects as mesh bundles, so that the add-on can be tried without an engine.

    .venv/bin/python tools/addon_samples.py

They are no results of a model: they come from the procedural library (python -m synthetic.shapes), and say so.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import distance_transform_edt

from gp3d_core.meshing.colors import sample_texture
from gp3d_core.meshing.files.npz import FORMAT
from gp3d_core.meshing.files.reading import load_mesh
from gp3d_core.meshing.files.writing import save_mesh
from gp3d_core.meshing.mesh import Mesh
from gp3d_core.meshing.options import VERSION

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "blender_addon" / "samples"
MODELS = (  # class, index, colour
    ("coffee mug", 1, "texture"),
    ("mushroom", 0, "vertex"),
    ("teapot", 1, "texture"),
)
THUMBNAIL = 128
ORIGIN = "procedural library, no result of a model"


def shapes(folder: Path) -> dict[tuple[str, int], tuple[Path, dict]]:
    """Writes the models into `folder`; returns their OBJ file and class record by class name and index."""
    names = ",".join(name for name, _, _ in MODELS)
    count = 1 + max(index for _, index, _ in MODELS)
    command = [
        sys.executable,
        "-m",
        "synthetic.shapes",
        folder,
        "--classes",
        names,
        "--per-class",
        str(count),
    ]
    subprocess.run(command, cwd=ROOT, check=True, stderr=subprocess.DEVNULL, timeout=120)
    records = json.loads((folder / "classes.json").read_text(encoding="utf-8"))
    for key in records:
        bring_textures(folder / key)
    return {
        (record["name"], record["index"]): (folder / key / "models/model_normalized.obj", record)
        for key, record in records.items()
    }


def bring_textures(model: Path) -> None:
    """Puts the textures of a model beside its OBJ: the reader does not follow "../images"."""
    for picture in (model / "images").glob("*.png"):
        picture.rename(model / "models" / picture.name)
    mtl = model / "models/model_normalized.mtl"
    mtl.write_text(mtl.read_text(encoding="utf-8").replace("../images/", ""), encoding="utf-8")


def to_gp3d(mesh: Mesh, color: str) -> Mesh:
    """A model in ShapeNet's frame (front -z) in ours (front +z), coloured as asked."""
    vertices = np.ascontiguousarray(mesh.vertices * np.float32([-1, 1, -1]))
    if color == "texture" or mesh.texture is None or mesh.uv is None:
        return filled(Mesh(vertices, mesh.faces, uv=mesh.uv, texture=mesh.texture))
    return Mesh(vertices, mesh.faces, vertex_colors=sample_texture(mesh.texture, mesh.uv))


def filled(mesh: Mesh) -> Mesh:
    """The mesh with a texture without background: texels that no face looks up have the colour of the nearest ones.

    The reader puts the pictures of several materials into one, with black around them.
    """
    if mesh.texture is None or mesh.uv is None:
        return mesh
    size = np.array(mesh.texture.shape[:2])
    rows = np.linspace(0, 1, 33)
    weights = np.array([(a, b, 1 - a - b) for a in rows for b in rows if a + b <= 1])
    u, v = np.einsum("kc,fcd->fkd", weights, mesh.uv[mesh.faces].astype(np.float64)).reshape(-1, 2).T
    place = np.floor(np.stack([1 - v, u], axis=1) * size).astype(int)
    unused = np.ones(size, bool)
    unused[tuple(np.clip(place, 0, size - 1).T)] = False
    row, column = distance_transform_edt(unused, return_distances=False, return_indices=True)
    return replace(mesh, texture=mesh.texture[row, column])


def thumbnail(mesh: Mesh, folder: Path) -> np.ndarray:
    """A picture of the mesh, uint8 [H,W,3], drawn by Blender."""
    save_mesh(mesh, folder / "thumbnail.obj")
    command = [sys.executable, "-m", "synthetic.preview", folder / "thumbnail.obj", folder / "thumbnail.png"]
    options = ["--yaws", "0.5", "--resolution", str(THUMBNAIL), "--radius", "1.6"]
    subprocess.run([*command, *options], cwd=ROOT, check=True, timeout=240, stdout=subprocess.DEVNULL)
    with Image.open(folder / "thumbnail.png") as picture:
        return np.asarray(picture.convert("RGB"), np.uint8)


def save_sample(mesh: Mesh, picture: np.ndarray, recipe: dict, path: Path) -> None:
    """A mesh bundle as the engine writes it, with a picture besides."""
    arrays = {"vertices": mesh.vertices, "faces": mesh.faces, "uv": mesh.uv, "texture": mesh.texture}
    arrays |= {"vertex_colors": mesh.vertex_colors, "thumbnail": picture}
    memory = io.BytesIO()
    present = {name: array for name, array in arrays.items() if array is not None}
    np.savez_compressed(memory, format=FORMAT, version=VERSION, recipe=json.dumps(recipe), **present)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(memory.getvalue())


def main() -> int:
    """Makes all samples anew."""
    with tempfile.TemporaryDirectory() as scratch:
        found = shapes(Path(scratch) / "shapes")
        for name, index, color in MODELS:
            path, record = found[name, index]
            mesh = to_gp3d(load_mesh(path), color)
            facts = {key: record[key] for key in ("name", "imagenet_index", "wnid")}
            recipe = {"class": facts, "seed": index, "color": color, "sample": True, "origin": ORIGIN}
            recipe |= {"faces": len(mesh.faces), "license": "CC0-1.0"}
            out = OUT / f"{name.replace(' ', '_')}.npz"
            save_sample(mesh, thumbnail(mesh, Path(scratch)), recipe, out)
            print(f"{out.relative_to(ROOT)}: {len(mesh.faces)} faces, {out.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("stopped")
