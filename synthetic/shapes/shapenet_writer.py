"""Writes the procedural models in ShapeNetCore.v2 layout (synthetic/layouts/shapenet_files.py).

Two ImageNet classes may share a ShapeNet synset (folding and rocking chair are both 03001627 "chair"), so the folder
alone does not tell the class: classes.json does. A class record has the class facts `name`, `imagenet_index`, `wnid`,
`synset` (null where ShapeNetCore has no such category; the folder is then the class's own WordNet offset), and how the
model was made: `family`, `parameters`, `seed`, `index`, `library_version`.

Geometry: bounding box centred on the origin with unit diagonal, +Y up, front -Z. Kd is linear light, which is how
Blender reads and writes it; textures are sRGB. A model folder appears whole (built beside its place, then renamed);
models that are already there are kept, so a second run only adds what is missing, and classes.json and taxonomy.json
cover everything that OUT holds.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from synthetic.atomic import alone_in, content_of, write_whole
from synthetic.layouts.licences import LICENCES, Credit, licence_lines
from synthetic.layouts.shapenet_files import (
    bounds,
    building_model,
    distinct_rows,
    is_whole,
    statements,
    write_index,
)
from synthetic.shapes.family import LIBRARY_VERSION, SHAPENET_NAMES, Family, Model, build_model, model_id
from synthetic.shapes.material import Material, linear
from synthetic.shapes.normals import corner_normals
from synthetic.shapes.parts import Part

MOST_PER_CLASS = 1_000_000


class LibraryError(ValueError):
    """An output folder that cannot take a library; the message says what to do."""


@dataclass(frozen=True)
class Written:
    """What a run did: models written now, models found in place, and models in the folder that it was not asked for."""

    new: int
    kept: int
    others: int


def write_library(
    out: Path, families: Sequence[Family], per_class: int, seed: int, progress: Any = iter
) -> Written:
    """Writes models 0 ... per_class - 1 of every family into `out`; returns how many were new, there, or others.

    `progress` wraps the list of (family, index) jobs, e.g. `tqdm`. Raises LibraryError when `out` holds something else
    or is written by another process, ValueError for per_class < 1 or seed < 0, OSError when it cannot be written.
    """
    if not 1 <= per_class <= MOST_PER_CLASS or seed < 0:
        raise ValueError(
            f"per_class must be from 1 to {MOST_PER_CLASS} and seed at least 0, got {per_class} and {seed}"
        )
    read_records(out)  # before anything is made, even the folder
    out.mkdir(parents=True, exist_ok=True)
    with alone_in(out, LibraryError(f"{out}: another process is writing it; wait for it")):
        return _write_missing(out, families, per_class, seed, progress)


def _write_missing(
    out: Path, families: Sequence[Family], per_class: int, seed: int, progress: Any
) -> Written:
    records = read_records(out)
    jobs = [(family, index) for family in families for index in range(per_class)]
    new = 0
    try:
        for family, index in progress(jobs):
            identity = model_id(family, seed, index)
            folder, key = out / family.folder / identity, f"{family.folder}/{identity}"
            whole = is_whole(folder)
            if whole and key in records:
                continue
            model = build_model(family, seed, index)
            records[key] = class_record(model)
            if not whole:
                write_model(model, folder)
                new += 1
    finally:  # of a library that is stopped here, too, everything that is whole is of use
        there = {key: record for key, record in records.items() if (out / key / "models").is_dir()}
        write_index(out, there, SHAPENET_NAMES)
        write_whole(out / LICENCES, licence_lines({key: _credit(there[key]) for key in there}).encode())
    asked = {f"{family.folder}/{model_id(family, seed, index)}" for family, index in jobs}
    others = sum((out / key / "models").is_dir() for key in records.keys() - asked)
    return Written(new, len(jobs) - new, others)


def _credit(record: Mapping[str, Any]) -> Credit:
    """Nobody has to be named for what this program draws."""
    source = f"python -m synthetic.shapes, library version {record['library_version']}"
    return Credit("GP3D", "CC0-1.0", source, "none")


def class_record(model: Model) -> dict[str, Any]:
    """Entry of classes.json for a model."""
    family = model.family
    return {
        "name": family.name,
        "imagenet_index": family.imagenet_index,
        "wnid": family.wnid,
        "synset": family.synset,
        "family": family.build.__module__.rpartition(".")[2],
        "parameters": model.parameters,
        "seed": model.seed,
        "index": model.index,
        "library_version": LIBRARY_VERSION,
    }


def read_records(out: Path) -> dict[str, dict[str, Any]]:
    """The records of OUT/classes.json, empty for a new folder.

    Raises LibraryError when `out` holds somebody else's models or a broken classes.json.
    """
    path = out / "classes.json"
    if not path.is_file():
        if (out / "taxonomy.json").exists():
            raise LibraryError(f"{out} holds models that are not from this library; choose another folder")
        return {}
    try:
        records = json.loads(content_of(path))
    except (ValueError, RecursionError) as error:
        raise LibraryError(
            f"{path} is not readable JSON ({error}); delete it or choose another folder"
        ) from error
    if not isinstance(records, dict) or not all(
        isinstance(record, dict) and "wnid" in record for record in records.values()
    ):
        raise LibraryError(
            f"{path} should map model folders to class records; delete it or choose another folder"
        )
    if others := [key for key, record in records.items() if "library_version" not in record]:
        raise LibraryError(
            f"{out} holds models that are not from this library, such as {others[0]}; choose another folder"
        )
    return records


def write_model(model: Model, folder: Path) -> None:
    """Writes one model as `folder`, which appears whole or not at all."""
    vertices = np.concatenate([part.vertices for part in model.parts])
    names = _material_names(model.parts)
    with building_model(folder) as partial:
        models = partial / "models"
        facts = json.dumps(bounds(folder.name, vertices))
        (models / "model_normalized.json").write_text(facts, encoding="utf-8")
        (models / "model_normalized.mtl").write_text(_mtl(names, partial / "images"), encoding="utf-8")
        text = _obj(model.parts, names, vertices.min(axis=0), vertices.max(axis=0))
        (models / "model_normalized.obj").write_text(text, encoding="utf-8")


def _material_names(parts: Iterable[Part]) -> dict[Material, str]:
    """A distinct name for every material, in order of first use."""
    names: dict[Material, str] = {}
    for part in parts:
        if part.material not in names:
            name, taken = part.material.name, sum(m.name == part.material.name for m in names)
            names[part.material] = f"{name}_{taken}" if taken else name
    return names


def _mtl(names: dict[Material, str], images: Path) -> str:
    """Text of the material file; writes the textures it names."""
    lines, count = [], 0
    for material, name in names.items():
        colour = (1.0, 1.0, 1.0) if material.texture is not None else linear(material.colour)
        shine = 0.5 * material.gloss
        lines += [
            f"newmtl {name}",
            "Ka 0 0 0",
            "Kd {:.4f} {:.4f} {:.4f}".format(*colour),
            f"Ks {shine:.4f} {shine:.4f} {shine:.4f}",
            f"Ns {1000 * material.gloss**2:.2f}",
            "d 1",
            "illum 2",
        ]
        if material.texture is not None:
            images.mkdir(exist_ok=True)
            Image.fromarray(material.texture).save(images / f"texture{count}.png")
            lines.append(f"map_Kd ../images/texture{count}.png")
            count += 1
        lines.append("")
    return "\n".join(lines)


def _obj(
    parts: Sequence[Part], names: dict[Material, str], low: NDArray[np.float64], high: NDArray[np.float64]
) -> str:
    """Text of the geometry file: one group per part, faces as v/vt/vn."""
    centre, diagonal = (low + high) / 2, float(np.linalg.norm(high - low))
    text = ["mtllib model_normalized.mtl"]
    base = np.ones(3, dtype=np.int64)
    for number, part in enumerate(parts):
        points = (part.vertices - centre) / diagonal
        uv, uv_index = distinct_rows(part.uv.reshape(-1, 2), 5)
        normals, normal_index = distinct_rows(corner_normals(part.vertices, part.faces).reshape(-1, 3), 4)
        index = np.stack([part.faces.ravel(), uv_index, normal_index], axis=1) + base
        text.append(f"g part{number:02d}_{part.material.name}\nusemtl {names[part.material]}")
        text += [
            statements("v %.6f %.6f %.6f", points),
            statements("vt %.5f %.5f", uv),
            statements("vn %.4f %.4f %.4f", normals),
        ]
        text.append(statements("f %d/%d/%d %d/%d/%d %d/%d/%d", index.reshape(-1, 9)))
        base = base + np.array([len(points), len(uv), len(normals)])
    return "\n".join(text) + "\n"
