"""Garbled glTF files of all kinds: read, or refused as broken in a bounded space, and nothing else."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import DracoPy
import numpy as np
import pytest

from synthetic.layouts.shapenet import BrokenModelError
from synthetic.staging.surface import merge
from synthetic.staging.treatment import ModelLimits
from tests.synthetic.staging.glb_writer import Glb, pack, primitive_of, read, single
from tests.synthetic.staging.gltf_scenes import morphed, skinned, tube

LIMITS = ModelLimits(max_faces=20_000, max_megabytes=4, max_texture_side=64)
MOST_MEMORY = 64 * 2**20
NASTY: tuple[Any, ...] = (
    *(None, True, False, -1, 0, 1, 2, 3, 7, 255, 65536, 2**31, 2**63, 10**400, 0.5, -1e300, 1e300),
    *(
        float("nan"),
        float("inf"),
        "",
        "x",
        "data:,",
        "\0",
        "../x",
        [],
        [0],
        [[]],
        [1e308] * 3,
        [0, 0, 0, 0],
        {},
    ),
    *({"index": 0}, {"count": 10**9}, 5120, 5126, "VEC3", "SCALAR", "MAT4", [0] * 16, [3] * 4),
)


def rich() -> Glb:
    """A skin, textures with a transform, vertex colours, sparse changes and instances in one file."""
    glb = skinned(1, 5, sets=1)
    vertices, _, _ = tube()
    attributes = primitive_of(glb)["attributes"]
    attributes["TEXCOORD_0"] = glb.accessor(vertices[:, :2])
    attributes["COLOR_0"] = glb.accessor((vertices * 100 + 50).clip(0, 255).astype(np.uint8), normalized=True)
    glb.json["accessors"][attributes["COLOR_0"]]["sparse"] = {
        "count": 2,
        "indices": {"bufferView": glb.view(b"\2\3"), "componentType": 5121},
        "values": {"bufferView": glb.view(bytes(6))},
    }
    glb.texture(np.arange(48).reshape(4, 4, 3), wrapS=33071)
    glb.json["textures"][0]["sampler"] = glb.add("samplers", wrapS=33071, magFilter=9728)
    moved = {"KHR_texture_transform": {"offset": [0.1, 0.2], "rotation": 1, "scale": [2, 3], "texCoord": 0}}
    primitive_of(glb)["material"] = glb.add(
        "materials",
        alphaMode="MASK",
        emissiveFactor=[0.1, 0.2, 0.3],
        emissiveTexture={"index": 0, "texCoord": 0},
        pbrMetallicRoughness={"baseColorTexture": {"index": 0, "extensions": moved}, "roughnessFactor": 0.3},
        extensions={
            "KHR_materials_transmission": {"transmissionFactor": 0.5, "transmissionTexture": {"index": 0}}
        },
    )
    instances = {"TRANSLATION": glb.accessor(np.eye(3, dtype=np.float32))}
    glb.node(mesh=0, extensions={"EXT_mesh_gpu_instancing": {"attributes": instances}})
    return glb


def old_looks() -> Glb:
    """A morphed mesh in specular and glossy colours."""
    glb = morphed(False)
    vertices, _, _ = tube()
    primitive_of(glb)["attributes"]["TEXCOORD_0"] = glb.accessor(vertices[:, :2])
    glb.texture(np.arange(48).reshape(4, 4, 3))
    looks = {
        "diffuseFactor": [0.1, 0.2, 0.3, 1],
        "specularFactor": [0.5, 0.4, 0.3],
        "glossinessFactor": 0.4,
        "diffuseTexture": {"index": 0},
        "specularGlossinessTexture": {"index": 0},
    }
    primitive_of(glb)["material"] = glb.add(
        "materials", extensions={"KHR_materials_pbrSpecularGlossiness": looks}, name="old"
    )
    return glb


def packed() -> Glb:
    """A mesh packed with Draco."""
    vertices, triangles, _ = tube()
    content = DracoPy.encode(vertices, triangles.astype(np.uint32), create_metadata=True)
    glb = single(vertices)
    number = DracoPy.decode(content).attributes[0]["unique_id"]
    primitive_of(glb)["indices"] = glb.add(
        "accessors", componentType=5125, count=triangles.size, type="SCALAR"
    )
    extension = {"bufferView": glb.view(content), "attributes": {"POSITION": number}}
    primitive_of(glb)["extensions"] = {"KHR_draco_mesh_compression": extension}
    return glb


SOURCES: dict[str, Callable[[], Glb]] = {"rich": rich, "old looks": old_looks, "packed": packed}


def places(value: Any) -> list[tuple[Any, Any]]:
    """All members of a JSON value, as the list or object that holds them and their key."""
    found: list[tuple[Any, Any]] = []
    members = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, member in members:
        found += [(value, key), *places(member)]
    return found


def garble_values(rng: np.random.Generator, glb: Glb) -> bytes:
    """One to three values of the JSON replaced by others, or taken away."""
    scene = deepcopy(glb.json)
    for _ in range(int(rng.integers(1, 4))):
        candidates = places(scene)
        owner, key = candidates[int(rng.integers(len(candidates)))]
        if isinstance(owner, dict) and rng.random() < 0.2:
            del owner[key]
        elif rng.random() < 0.2:
            other, name = candidates[int(rng.integers(len(candidates)))]
            owner[key] = deepcopy(other[name])
        else:
            owner[key] = deepcopy(NASTY[int(rng.integers(len(NASTY)))])
    return pack(json.dumps(scene).encode(), bytes(glb.blob))


def garble_bytes(rng: np.random.Generator, content: bytes) -> bytes:
    """A few bytes changed, then sometimes the end cut off."""
    broken = bytearray(content)
    for _ in range(int(rng.integers(1, 6))):
        broken[int(rng.integers(len(broken)))] = int(rng.integers(256))
    return bytes(broken[: int(rng.integers(len(broken)))] if rng.random() < 0.3 else broken)


def outcome(content: bytes, folder: Path, suffix: str = ".glb") -> str:
    """ "read" or "refused"; anything else is raised."""
    try:
        model = read(content, folder, LIMITS, suffix, missing_textures="color")
    except BrokenModelError as error:
        reason = str(error)
    else:
        reason = ""
    if reason:
        assert "\n" not in reason
        assert str(folder) not in reason
        assert len(reason) < 300
        return "refused"
    surface = merge(model.parts, model.materials)
    assert surface.triangles.min() >= 0
    assert surface.triangles.max() < len(surface.positions)
    assert len(surface) == len(surface.material) <= LIMITS.max_faces
    assert surface.material.max() < len(model.materials)
    for texture in (material.color_texture for material in model.materials):
        assert texture is None or texture.uv_layer < len(surface.uvs)
    return "read"


@pytest.mark.slow
@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("kind", ["values", "bytes", "text"])
def test_garbled_files_are_read_or_refused(name: str, kind: str, tmp_path: Path) -> None:
    rng = np.random.default_rng([*name.encode(), *kind.encode()])
    glb = SOURCES[name]()
    content = glb.content()
    assert outcome(content, tmp_path / "model") == "read"
    text = json.dumps(glb.json).encode()
    outcomes = set()
    tracemalloc.start()
    try:
        for _ in range(150):
            if kind == "values":
                broken = garble_values(rng, glb)
            elif kind == "bytes":
                broken = garble_bytes(rng, content)
            else:
                broken = pack(garble_bytes(rng, text), bytes(glb.blob))
            outcomes.add(outcome(broken, tmp_path / "model"))
        assert tracemalloc.get_traced_memory()[1] < MOST_MEMORY
    finally:
        tracemalloc.stop()
    assert outcomes == {"read", "refused"}


@pytest.mark.parametrize(
    "kind", ["POSITION", "NORMAL", "TEXCOORD_0", "COLOR_0", "JOINTS_0", "WEIGHTS_0", "indices"]
)
@pytest.mark.parametrize("count", [10**6, 10**9, 2**40])
def test_huge_counts_cost_nothing(kind: str, count: int, tmp_path: Path) -> None:
    glb = rich()
    primitive = primitive_of(glb)
    accessor = glb.json["accessors"][
        primitive["indices"] if kind == "indices" else primitive["attributes"][kind]
    ]
    accessor["count"] = count
    del accessor["bufferView"]  # zeros, which a file may claim at no cost
    tracemalloc.start()
    try:
        outcome(glb.content(), tmp_path / "model")
        assert tracemalloc.get_traced_memory()[1] < MOST_MEMORY
    finally:
        tracemalloc.stop()
