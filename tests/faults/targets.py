"""What strangers may send, by kind: files and lines that are whole, and how each kind is read."""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import signal
import struct
import warnings
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from gp3d_core.datasets.dataset import Dataset
from gp3d_core.datasets.decoding import Limits, decode
from gp3d_core.errors import GP3DError, one_line
from gp3d_core.generation.recipes import options_of, read_recipe
from gp3d_core.meshing.files.formats import missing_libraries
from gp3d_core.meshing.files.glb.packing import pack, unpack
from gp3d_core.meshing.files.glb.scenes import write_glb_parts
from gp3d_core.meshing.files.reading import load_mesh
from gp3d_core.meshing.files.writing import save_mesh
from gp3d_core.meshing.mesh import Mesh
from gp3d_core.networks.foreign_weights import read_weights
from gp3d_core.snapshots.snapshot import load_snapshot
from gp3d_core.worker.json_rpc import METHODS, JsonRpc
from gp3d_core.worker.protocol import Problem, Request, read_request
from tests.faults.galleries import draw_entry, read_entry
from tests.faults.mutations import damaged, damaged_json, json_text
from tests.support.micro import micro_data, micro_snapshot


@dataclass(frozen=True)
class Target:
    """A kind of input: `draw` makes a damaged one in a folder, and `read` reads it; a GP3DError refuses it."""

    name: str
    draw: Callable[[random.Random, Path], Path]
    read: Callable[[Path], object]
    apart: bool = False  # read by a process of its own, as libraries in C++ may end one


def all_targets(folder: Path) -> list[Target]:
    """All kinds; whole examples of them are made in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    meshes = _meshes(folder / "meshes")
    snapshot = micro_snapshot(folder / "snapshot")
    pictures, weights, archive = _pictures(), _weights(folder), _dataset(folder)
    return [
        *(
            Target(f"mesh {suffix}", bytes_of(content, suffix), load_mesh)
            for suffix, content in meshes.items()
        ),
        *(
            Target(f"mesh .glb, {how}", tree_of(content), load_mesh)
            for how, content in _coded_meshes(folder / "coded").items()
        ),
        Target("snapshot, bytes", bytes_of(snapshot.read_bytes(), ".safetensors"), load_snapshot),
        Target("snapshot, header", header_of(snapshot), load_snapshot),
        *(Target(f"picture {name}", bytes_of(content, ""), _decode) for name, content in pictures.items()),
        *(
            Target(f"weights {suffix}", bytes_of(content, suffix), read_weights)
            for suffix, content in weights.items()
        ),
        Target("data set, zip", bytes_of(archive, ".zip"), _read_dataset),
        Target("data set, header", _dataset_header(archive), _read_dataset),
        Target("recipe", json_of(_RECIPE), _follow),
        Target("gallery", draw_entry(meshes[".glb"], _RECIPE), read_entry),
        Target("protocol line", _line, _request),
        Target("protocol 2 line", _rpc_line, _converse),
    ]


def bytes_of(content: bytes, suffix: str) -> Callable[[random.Random, Path], Path]:
    def draw(dice: random.Random, folder: Path) -> Path:
        path = folder / f"damaged{suffix}"
        path.write_bytes(damaged(dice, content))
        return path

    return draw


def json_of(value: Any) -> Callable[[random.Random, Path], Path]:
    def draw(dice: random.Random, folder: Path) -> Path:
        path = folder / "damaged.json"
        text = json_text(damaged_json(dice, value))
        path.write_bytes(text if dice.random() < 0.8 else damaged(dice, text))
        return path

    return draw


def tree_of(content: bytes) -> Callable[[random.Random, Path], Path]:
    """GLB files whose JSON says something else of the same numbers."""
    tree, chunk = unpack(content)

    def draw(dice: random.Random, folder: Path) -> Path:
        path = folder / "damaged.glb"
        path.write_bytes(pack(damaged_json(dice, tree), chunk))
        return path

    return draw


def _coded_meshes(folder: Path) -> dict[str, bytes]:
    content = {}
    for how in ("none", "quantize", *(["meshopt"] if "meshopt" not in missing_libraries() else [])):
        path = save_mesh(_mesh(), folder / "damaged.glb", _RECIPE | {"compress": how})[0]
        content[how] = path.read_bytes()
    mesh = _mesh()
    parts = {
        "textured": mesh,
        "coloured": Mesh(mesh.vertices, mesh.faces, vertex_colors=mesh.vertex_colors),
        "plain": Mesh(mesh.vertices, mesh.faces),
    }
    write_glb_parts(parts, folder / "parts.glb", _RECIPE)
    return content | {"parts": (folder / "parts.glb").read_bytes()}


def _meshes(folder: Path) -> dict[str, bytes]:
    content = {}
    for suffix in (".obj", ".glb", ".ply", ".npz"):
        path = save_mesh(_mesh(), folder / f"damaged{suffix}", _RECIPE)[0]
        content[suffix] = path.read_bytes()
    return content


def _mesh() -> Mesh:
    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32)
    faces = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]], np.int32)
    colors, texture = np.full((4, 3), 99, np.uint8), np.full((8, 8, 3), 50, np.uint8)
    return Mesh(
        corners, faces, uv=corners[:, :2].copy(), texture=texture, vertex_colors=colors, normals=corners
    )


def header_of(snapshot: Path) -> Callable[[random.Random, Path], Path]:
    whole = snapshot.read_bytes()
    length = struct.unpack("<Q", whole[:8])[0]
    header, rest = json.loads(whole[8 : 8 + length]), whole[8 + length :]
    facts = json.loads(header["__metadata__"]["facts"])

    def draw(dice: random.Random, folder: Path) -> Path:
        changed = dict(header)
        if dice.random() < 0.8:
            told = damaged_json(dice, facts)
            changed["__metadata__"] = {**header["__metadata__"], "facts": json.dumps(told)}
        else:
            changed = damaged_json(dice, header)
        text = json_text(changed)
        path = folder / "damaged.safetensors"
        path.write_bytes(struct.pack("<Q", len(text)) + text + rest)
        return path

    return draw


def _pictures() -> dict[str, bytes]:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 24, 3), np.uint8))
    content = {}
    for name in ("PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP"):
        stream = io.BytesIO()
        image.save(stream, format=name)
        content[name] = stream.getvalue()
    return content


def _decode(path: Path) -> object:
    return decode(path.read_bytes(), Limits())


def _weights(folder: Path) -> dict[str, bytes]:
    torch.save({"a.weight": torch.ones(3, 4), "b": torch.zeros(2)}, folder / "whole.pth")
    return {
        ".pth": (folder / "whole.pth").read_bytes(),
        ".safetensors": next(folder.rglob("*.safetensors")).read_bytes(),
    }


def _dataset(folder: Path) -> bytes:
    micro_data(folder / "data")
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted((folder / "data").rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(folder / "data"))
    return stream.getvalue()


def _dataset_header(archive: bytes) -> Callable[[random.Random, Path], Path]:
    with zipfile.ZipFile(io.BytesIO(archive)) as source:
        files = {name: source.read(name) for name in source.namelist()}
    facts = json.loads(files["dataset.json"])

    def draw(dice: random.Random, folder: Path) -> Path:
        path = folder / "damaged.zip"
        with zipfile.ZipFile(path, "w") as target:
            for name, content in files.items():
                target.writestr(
                    name, json_text(damaged_json(dice, facts)) if name == "dataset.json" else content
                )
        return path

    return draw


def _read_dataset(path: Path) -> object:
    data = Dataset(path)
    return [(data.load(index), data.load_depth(index)) for index in range(min(2, len(data)))]


_RECIPE: dict[str, Any] = {
    "format": "gp3d-recipe",
    "version": 1,
    "class": {"name": "mug", "wnid": "n1"},
    "seed": 3,
    "truncation": 0.7,
    "snapshot": "box",
    "snapshot_sha256": "0" * 64,
    "level": 10.0,
    "raw_level": None,
    "grid": 64,
    "face_budget": 3000,
    "color": "texture",
    "texture_size": 256,
    "largest": None,
    "crop_box": [-1, -1, -1, 1, 1, 1],
    "versions": {"gp3d": "0.2"},
}


def _follow(path: Path) -> object:
    return options_of(read_recipe(path))


_LINES: tuple[dict[str, Any], ...] = (
    {"id": "1", "op": "hello", "protocol": 1},
    {"id": "1", "op": "load", "snapshot": None, "device": "cpu"},
    {
        "id": "1",
        "op": "preview",
        "class": "mug",
        "dir": "/nowhere/x",
        "seeds": [1, 2],
        "resolution": 64,
        "yaw": 0.5,
    },
    {
        "id": "1",
        "op": "mesh",
        "class": "mug",
        "dir": "/nowhere/x",
        "seed": 1,
        "grid": 64,
        "formats": ["obj"],
        "stem": "a",
    },
    {
        "id": "1",
        "op": "picture",
        "picture": "/nowhere/a.png",
        "tokenizer": "/nowhere/t",
        "dir": "/nowhere/x",
        "crop_depth": 0.5,
    },
    {"id": "1", "op": "cancel", "target": "1"},
    {"id": "1", "op": "status"},
)


def _line(dice: random.Random, folder: Path) -> Path:
    path = folder / "line"
    text = json_text(damaged_json(dice, dice.choice(_LINES)))
    path.write_bytes(text if dice.random() < 0.7 else damaged(dice, text))
    return path


def _request(path: Path) -> Request:
    return read_request(path.read_bytes())


def _rpc_line(dice: random.Random, folder: Path) -> Path:
    """A line of protocol 2: one of the requests as a call or a notification, alone or in a batch, damaged."""
    calls = []
    for number in range(dice.choice((1, 1, 1, 2, 4))):
        fields = dict(dice.choice(_LINES))
        op = {"hello": "initialize"}.get(fields.pop("op"), "")
        call = {"jsonrpc": "2.0", "id": number, "method": op or dice.choice(list(METHODS)), "params": fields}
        fields.pop("id")
        if dice.random() < 0.2:
            call.pop("id")
        calls.append(call)
    path = folder / "line"
    text = json_text(damaged_json(dice, calls if len(calls) > 1 else calls[0]))
    path.write_bytes(text if dice.random() < 0.7 else damaged(dice, text))
    return path


def _converse(path: Path) -> object:
    """Answers the line in a conversation that has begun; what is written must be JSON-RPC, and once for every call."""
    rpc, written = JsonRpc(METHODS, {}), []

    def send(event: Mapping[str, Any]) -> None:
        written.extend(json.loads(json.dumps(one, allow_nan=False)) for one in rpc.messages_of(event))

    def answer(line: bytes) -> None:
        for call in rpc.read(line, send):
            try:
                request = rpc.request(call)
                send({"event": "result", "id": call.name, "op": request.op})
            except Problem as problem:
                send(problem.event(call.name))

    answer(b'{"jsonrpc": "2.0", "id": "first", "method": "initialize", "params": {"protocol": 2}}')
    answer(path.read_bytes())
    for message in written:
        for one in message if isinstance(message, list) else [message]:
            assert one["jsonrpc"] == "2.0"
            assert ("result" in one) != ("error" in one)
            assert isinstance(one["id"], str | int | float | None)
    assert written[0]["id"] == "first"
    assert not rpc.open_calls
    if any("error" in one for one in written if isinstance(one, dict)):
        raise Problem("E_PROTOCOL", written[-1]["error"]["message"] or "nothing", "")
    return written


def read_once(target: Target, path: Path) -> str | None:
    """The line that refuses the file, as borders print it, or None if it was taken. Raises what no reader should."""
    return _read_apart(target, path) if target.apart else _read(target, path)


def _read(target: Target, path: Path) -> str | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            target.read(path)
    except GP3DError as error:
        return one_line(str(error))
    return None


def _read_apart(target: Target, path: Path) -> str | None:
    """As `_read`, in a child process, whose death is an error."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        with os.fdopen(writing, "w") as pipe:
            try:
                json.dump(["", _read(target, path)], pipe)
            except BaseException as error:
                json.dump([f"{type(error).__name__}: {error}", None], pipe)
            pipe.flush()
            os._exit(0)
    os.close(writing)
    try:
        with os.fdopen(reading) as pipe:
            said = pipe.read()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if not said:
        raise RuntimeError(f"the process ended with {code}")
    error, answer = json.loads(said)
    if error:
        raise RuntimeError(error)
    return None if answer is None else str(answer)
