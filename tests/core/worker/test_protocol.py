"""What a request to the worker must be: lines, defaults, refusals, and the documentation that says so."""

import json
import random
import re
from typing import get_type_hints

import pytest

from gp3d_core.meshing.options import MeshOptions, SceneMeshOptions, specs
from gp3d_core.worker.lines import LineSplitter
from gp3d_core.worker.protocol import (
    OPERATIONS,
    LiftRequest,
    LoadOptions,
    ObjectMeshOptions,
    PictureMeshOptions,
    PictureTrustOptions,
    PreviewOptions,
    Problem,
    TrustOptions,
    VolumeOptions,
    read_request,
)
from tests.support.serving import ROOT, mesh_line


@pytest.mark.parametrize("seed", range(20))
def test_splitter_finds_the_same_lines_however_the_bytes_arrive(seed):
    dice = random.Random(seed)
    lines = [
        bytes(dice.choices(b"ab{\r\x00\xff", k=dice.choice([0, 1, 5, 30, 31, 90]))).rstrip(b"\r")
        for _ in range(40)
    ]
    stream = b"".join(line + dice.choice([b"\n", b"\r\n"]) for line in lines)
    splitter, found = LineSplitter(limit=31), []
    while stream:
        cut = dice.choice([1, 2, 7, 40, 500])
        found += splitter.feed(stream[:cut])
        stream = stream[cut:]
    expected = [line if len(line) <= 30 else None for line in lines]
    unsure = [index for index, line in enumerate(lines) if len(line) == 31]  # with \r\n they are too long
    assert len(found) == len(lines)
    for index, (got, wanted) in enumerate(zip(found, expected, strict=True)):
        assert got in ((None, lines[index]) if index in unsure else (wanted,))


def test_splitter_holds_no_more_than_one_line():
    splitter = LineSplitter(limit=1000)
    answers = [answer for _ in range(100) for answer in splitter.feed(b"x" * 999)]
    assert answers == [None]
    assert splitter.held <= 1000
    assert list(splitter.feed(b"\nnext\n")) == [b"next"]


def test_requests_get_the_documented_defaults():
    options = read_request(mesh_line()).options
    text = (ROOT / "docs/serve.md").read_text(encoding="utf-8")
    documented = json.loads(re.search(r"^\{.*\"op\": \"mesh\".*\}$", text, re.MULTILINE)[0])
    for name in set(documented) - {"id", "op", "class", "seed", "dir", "stem"}:
        assert options[name] == documented[name], name
    assert set(options) == set(documented) - {"id", "op"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seed": "absent"}, "seed is missing"),
        ({"dir": "absent"}, "dir is missing"),
        ({"seed": -1}, "seed: expected a whole number from 0"),
        ({"seed": True}, "seed"),
        ({"seed": 1.0}, "seed"),
        (
            {"seed": 10**18},
            "seed: expected a whole number from 0 to 999999999999999999, found 1000000000000000000",
        ),
        ({"truncation": 2.1}, "truncation: expected a number from 0 to 2, found 2.1"),
        ({"truncation": "1"}, "truncation"),
        ({"grid": 7}, "grid"),
        ({"grid": 2049}, "grid: expected a whole number from 8 to 2048, found 2049"),
        ({"faces": 3}, "or 0"),
        ({"level": 0}, "level"),
        ({"level": "high"}, "level"),
        ({"level": "raw:nan"}, "level"),
        ({"color": "red"}, "texture, vertex, both, none"),
        ({"formats": []}, "formats"),
        ({"formats": ["fbx"]}, "obj, glb, ply, npz, stl, 3mf, usdz"),
        ({"formats": ["npz"] * 8}, "formats"),
        ({"compress": "draco"}, "none, quantize, meshopt"),
        ({"print_height": 0}, "print_height: expected a number from 1 to 100000, or real, found 0"),
        ({"thumbnail": 1}, "thumbnail: expected true or false, found 1"),
        ({"dir": "relative/folder"}, "absolute path"),
        ({"dir": "/nul\0"}, "absolute path"),
        ({"keep": -1}, "keep: expected a whole number from 1 to 1e+06, or auto, or 0, found -1"),
        ({"keep": "all"}, "keep"),
        ({"crop_box": [0, 0, 0, 1, 1]}, "crop_box"),
        ({"crop_box": [0, 0, 0, 1, 1, -1]}, "crop_box"),
        ({"crop_depth": 1.5}, "crop_depth"),
        ({"stem": "../escape"}, "stem"),
        ({"stem": ".hidden"}, "stem"),
        ({"stem": "a/b"}, "stem"),
        ({"stem": "a\n"}, "stem"),
        ({"stem": "a."}, "stem"),
        ({"stem": " a"}, "stem"),
        ({"stem": "a:b"}, "stem"),
        ({"stem": "猫" * 70}, "stem: expected a file name of at most 200 bytes"),
        ({"class": 1.5}, "class"),
        ({"class": ""}, "class"),
        ({"colour": "red"}, 'unknown field "colour"'),
        ({"op": "make"}, "expected an op"),
        ({"op": ["mesh"]}, "expected an op"),
        ({"class": "\ud800"}, "half of a pair of surrogates"),
        ({"dir": "/tmp/\udcff"}, "half of a pair of surrogates"),
        ({"op": "\ud800"}, "half of a pair of surrogates"),
        ({"\ud800": 1}, "half of a pair of surrogates"),
    ],
)
def test_requests_outside_the_rules_are_refused_by_name(changes, said):
    with pytest.raises(Problem, match=re.escape(said)) as problem:
        read_request(mesh_line(**changes))
    assert (problem.value.code, problem.value.request) == ("E_PROTOCOL", "m")


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"[]",
        b"3",
        b"null",
        b"{",
        b'{"id": 3, "op": "status"}',
        b'{"id": "", "op": "status"}',
        b'{"op": "status"}',
        b"\xff\xfe",
        b"[" * 60000,
        b'{"id": "1", "op": "mesh", "truncation": NaN}',
        b'{"id": "1", "seed": ' + b"9" * 5000 + b"}",
        b'{"id": "1", "op": "mesh", "truncation": 1' + b"0" * 400 + b"}",
        b'{"id": "1", "op": "mesh", "truncation": 1e999}',
        json.dumps({"id": "x" * 129, "op": "status"}).encode(),
    ],
)
def test_lines_that_are_no_request_raise_a_problem_without_an_id(line):
    with pytest.raises(Problem) as problem:
        read_request(line)
    assert (problem.value.code, problem.value.request) == ("E_PROTOCOL", None)


def test_docs_name_every_code_operation_and_option():
    text = (ROOT / "docs/serve.md").read_text(encoding="utf-8")
    names = (
        "protocol",
        "server",
        "job_queue",
        *(f"{kind}_session" for kind in ("model", "image", "relief", "trust")),
    )
    sources = [ROOT / "gp3d_core/worker" / f"{name}.py" for name in names]
    raised = set(re.findall(r'"(E_[A-Z_]+)"', "".join(path.read_text() for path in sources)))
    assert raised == set(re.findall(r"^\| `(E_[A-Z_]+)` \|", text, re.MULTILINE))
    assert list(OPERATIONS) == json.loads(re.search(r'"ops": (\[.*?\])', text)[1])
    for op, fields in OPERATIONS.items():
        section = text.split(f"### {op}\n")[1].split("\n### ")[0]
        assert all(f'"{name}"' in section or f"`{name}`" in section for name in fields), op


def test_types_of_options_name_what_requests_hold():
    surfaces = {
        "mesh": MeshOptions,
        "picture": SceneMeshOptions,
        "trust": MeshOptions,
        "trust_picture": SceneMeshOptions,
    }
    types = {
        "load": LoadOptions,
        "preview": PreviewOptions,
        "mesh": ObjectMeshOptions,
        "picture": PictureMeshOptions,
        "lift": LiftRequest,
        "trust": TrustOptions,
        "trust_picture": PictureTrustOptions,
        "volume": VolumeOptions,
    }
    for op, kind in types.items():
        made = (
            {option.field or name for name, option in specs(surfaces[op]).items()}
            if op in surfaces
            else set()
        )
        assert set(OPERATIONS[op]) - made == set(get_type_hints(kind)), op
