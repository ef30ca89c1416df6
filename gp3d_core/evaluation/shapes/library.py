"""Model libraries as reference: real models by class, turned into the GP3D frame, as clouds of surface points.

Two layouts are read: ShapeNetCore.v2 and what `synthetic.shapes` writes (LIBRARY/<synset>/<id>/models/
model_normalized.obj, y up, front −z, with classes.json or taxonomy.json for the names), and a folder for each class
with .obj, .glb, .ply or .npz files in the GP3D frame (y up, front +z); files in the folder itself are of one class.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import trimesh
from torch import Tensor
from tqdm import tqdm

from gp3d_core.errors import GP3DError
from gp3d_core.meshing.files.reading import load_mesh
from gp3d_core.meshing.mesh import Mesh, MeshError
from gp3d_core.metrics.pointclouds import surface_points, unit_clouds
from gp3d_core.rng import generator_for

SUFFIXES = (".obj", ".glb", ".ply", ".npz")  # of files with one stem, the first counts
_UNREAD = {".3ds", ".3mf", ".abc", ".blend", ".dae", ".fbx", ".gltf", ".off", ".stl"} | {
    ".usd",
    ".usda",
    ".usdc",
    ".usdz",
}
_SHAPENET_MESH = Path("models", "model_normalized.obj")
_GENERATED = re.compile(r"(?P<name>.+?)-\d+(-[0-9a-f]{8})?")  # names that `gp3d mesh` gives, without suffix
_HALF_TURN = np.array([-1.0, 1.0, -1.0], np.float32)  # ShapeNet's front −z to ours


class LibraryError(GP3DError):
    """A folder without models, or with too few of a class; the message says what was expected and found."""


@dataclass(frozen=True)
class Model:
    """A mesh file of a class. `key` is its path below the library, "<synset>/<id>" in ShapeNet's layout.

    `names` are what its class is known by: WordNet id, name, synset or folder. `turned` says that its front is −z.
    """

    key: str
    path: Path
    names: tuple[str, ...]
    turned: bool

    def mesh(self) -> Mesh:
        """The bare mesh in the GP3D frame; MeshError if the file cannot be read."""
        mesh = read_shape(self.path)
        return Mesh(mesh.vertices * _HALF_TURN, mesh.faces) if self.turned else mesh

    def cloud(self) -> Tensor:
        """Points [P,3] of its surface, the same every time, as `unit_clouds` makes them."""
        mesh = self.mesh()
        return unit_clouds(surface_points(mesh.vertices, mesh.faces, cloud_seed("model", self.key))[None])[0]


def read_shape(path: Path) -> Mesh:
    """The triangles of a mesh file alone, whatever its materials need. Raises MeshError if it cannot be read."""
    if path.suffix.lower() != ".obj":
        mesh = load_mesh(path)
        return Mesh(mesh.vertices, mesh.faces)
    try:
        shape = trimesh.load_scene(path, process=False, skip_materials=True).to_mesh()
        return Mesh(np.asarray(shape.vertices, np.float32), np.asarray(shape.faces, np.int32))
    except (
        ValueError,
        IndexError,
        KeyError,
        TypeError,
        AttributeError,
        OSError,
    ) as error:  # MeshError among them
        raise MeshError(f"{path}: no readable triangles ({error})") from error


def cloud_seed(*key: int | str) -> int:
    """The seed of a surface's points, from what the surface is called."""
    return generator_for("cloud", *key).initial_seed() % 2**32


def read_library(root: Path) -> list[Model]:
    """All models below `root`, sorted by key. Raises LibraryError if there is no folder or no model in it."""
    if not root.is_dir():
        raise LibraryError(
            f"{root}: no such folder; expected models in ShapeNet's layout or a folder for each class"
        )
    models = _shapenet_models(root) or _plain_models(root)
    if not models:
        raise LibraryError(
            f"{root}: no models; expected <synset>/<id>/{_SHAPENET_MESH.as_posix()}, "
            f"or files {', '.join(SUFFIXES)} in a folder for each class"
        )
    return sorted(models, key=lambda model: model.key)


def _shapenet_models(root: Path) -> list[Model]:
    classes, taxonomy = _facts(root / "classes.json"), _facts(root / "taxonomy.json")
    names = {
        str(entry["synsetId"]): str(entry["name"]) for entry in taxonomy or [] if isinstance(entry, dict)
    }
    found = []
    for path in root.glob(f"*/*/{_SHAPENET_MESH.as_posix()}"):
        model, synset = path.parts[-3], path.parts[-4]
        key = f"{synset}/{model}"
        record = classes.get(key) or classes.get(synset) or {} if isinstance(classes, dict) else {}
        own = [str(record[field]) for field in ("wnid", "name") if record.get(field)]
        found.append(Model(key, path, tuple(own or [f"n{synset}", names.get(synset, synset)]), turned=True))
    return found


def _facts(path: Path) -> Any:
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise LibraryError(f"{path} is not valid JSON ({error})") from error


def _plain_models(root: Path) -> list[Model]:
    return [
        Model(path.relative_to(root).as_posix(), path, names, turned=False)
        for path, names in mesh_files(root)
    ]


def mesh_files(root: Path) -> list[tuple[Path, tuple[str, ...]]]:
    """Mesh files and the names of their class: those of each folder in `root`, or else those in `root` itself.

    In folders without classes `gp3d mesh` puts the class before the seed in a name, `teapot-0007` or, for a combined
    object, `teapot-0007-417129a1`; where a name has no seed, all are of one class.
    """
    folders = [path for path in sorted(root.iterdir()) if path.is_dir() and not path.name.startswith(".")]
    found = [(path, _written(folder.name)) for folder in folders for path in _one_a_stem(folder.rglob("*"))]
    if found:
        return found
    files = _one_a_stem(root.glob("*"))
    matches = [_GENERATED.fullmatch(path.stem) for path in files]
    named = [match["name"] for match in matches if match]
    if len(named) < len(files):
        return [(path, ()) for path in files]
    return [(path, _written(name)) for path, name in zip(files, named, strict=True)]


def unread_in_words(root: Path) -> str:
    """How many models below `root` are in no format that is read, and the first of them; nothing if all are."""
    files = [path for path in sorted(root.rglob("*")) if not path.name.startswith(".")]
    read = {path.with_suffix("") for path in files if path.suffix.lower() in SUFFIXES}
    unread = [path for path in files if path.suffix.lower() in _UNREAD and path.with_suffix("") not in read]
    if not unread:
        return ""
    return (
        f"{root}: {len(unread)} files are left out, such as {unread[0].relative_to(root).as_posix()}; "
        f"{', '.join(SUFFIXES)} are read, and Blender saves most others as .glb"
    )


def _written(name: str) -> tuple[str, ...]:
    """A name as it is and as people write it."""
    return tuple(dict.fromkeys((name, name.replace("_", " "))))


def _one_a_stem(paths: Iterable[Path]) -> list[Path]:
    chosen: dict[Path, Path] = {}
    files = [path for path in paths if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")]
    for path in sorted(files, key=lambda path: (SUFFIXES.index(path.suffix.lower()), path)):
        chosen.setdefault(path.with_suffix(""), path)
    return sorted(chosen.values())


def models_of(models: Sequence[Model], record: Mapping[str, Any]) -> list[Model]:
    """The models of a class record: those with its WordNet id or name, or else with its ShapeNet synset."""
    exact = {str(record[field]) for field in ("wnid", "name") if record.get(field)}
    chosen = [model for model in models if exact & set(model.names)]
    synset = record.get("synset")
    return chosen or [model for model in models if synset and f"n{synset}" in model.names]


def draw_models(models: Sequence[Model], count: int, *key: int | str) -> list[Model]:
    """`count` of the models, drawn without replacement by the stream named `key`; all of them if there are fewer."""
    order = torch.randperm(len(models), generator=generator_for("models", *key))[:count]
    return [models[i] for i in order.tolist()]


def model_clouds(models: Sequence[Model]) -> Tensor:
    """Clouds [N,P,3] of the models."""
    bar = tqdm(models, desc="real models", unit="model", file=sys.stderr, disable=None, leave=False)
    return torch.stack([model.cloud() for model in bar])
