"""Files that are cut, flipped, spliced or made up: read, or refused in a sentence, and nothing else."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import trimesh

from synthetic.layouts.shapenet import BrokenModelError
from tests.synthetic.staging.plain_files import LENIENT, png, read, surface_of

RUNS = 100
NUMBERS = [
    b"0",
    b"-1",
    b"1e308",
    b"-1e308",
    b"nan",
    b"inf",
    b"1e-320",
    b"4294967295",
    b"99999999999",
    b"/",
    b"#",
    b"\\\n",
]

OBJ = (
    b"\xef\xbb\xbfmtllib m.mtl other.mtl\no a\nv 0 0 0 1 0 0\nv 1 0 0 0 1 0\nv 1 1 0 0 0 1\nv 0 1 0 255 0 0\n"
    b"v 0 0 1\nvt 0 0\nvt 1 0\nvt 1 1\nvn 0 0 1\nusemtl m\ns 1\nf 1/1/1 2/2/1 3/3/1 4/1/1\no b\nusemtl n\n"
    b"f -1// -2//1 -3//-1 \\\n1 2\nl 1 2\ns off\nf 1 2 5\nf 1 3 2 4 5\n#MRGB ff00ff00\n"
)
MTL = (
    b"newmtl m\nKd .5 .5 .5\nd 0.5\nTr 0.5\nNs 10\nKs 1 1 1\nillum 3\nmap_Kd -s 2 2 2 -o 1 t.png\n"
    b"map_d -imfchan m t.png\nmap_Pr t.png\nmap_Pm t.png\nPr .5\nnewmtl n\nKe 1 1 1\nmap_Ke -clamp on t.png\n"
    b"bump -bm 1 t.png\n"
)
TEXT_PLY = (
    b"ply\nformat ascii 1.0\ncomment TextureFile t.png\nelement vertex 4\nproperty float x\nproperty float y\n"
    b"property float z\nproperty uchar red\nproperty uchar green\nproperty uchar blue\nproperty uchar alpha\n"
    b"property float nx\nproperty float ny\nproperty float nz\nproperty float s\nproperty float t\n"
    b"element face 2\nproperty list uchar int vertex_indices\nproperty list uchar float texcoord\n"
    b"property int texnumber\nelement tristrips 1\nproperty list int int vertex_indices\nend_header\n"
    b"0 0 0 255 0 0 255 0 0 1 0 0\n1 0 0 0 255 0 255 0 0 1 1 0\n1 1 0 0 0 255 9 0 0 1 1 1\n0 1 1 9 9 9 255 0 0 1 0 1\n"
    b"3 0 1 2 6 0 0 1 0 1 1 0\n4 0 1 2 3 0 -1\n5 0 1 2 -1 3\n"
)


def binary_ply() -> bytes:
    mesh = trimesh.creation.box()
    mesh.visual.vertex_colors = np.arange(32, dtype=np.uint8).reshape(8, 4)
    content = mesh.export(file_type="ply")
    assert isinstance(content, bytes)
    return content


def stl(kind: str) -> bytes:
    content = trimesh.creation.box().export(file_type=kind)
    return content.encode() if isinstance(content, str) else content


def garbled(content: bytes, rng: np.random.Generator) -> bytes:
    """The content with one to four things changed."""
    for _ in range(rng.integers(1, 5)):
        place, end = sorted(rng.integers(0, len(content) + 1, 2).tolist())
        kind = rng.integers(0, 7)
        if kind == 0:
            content = content[:place]
        elif kind == 1:
            content = content[:place] + rng.bytes(int(rng.integers(1, 9))) + content[place:]
        elif kind == 2:
            content = content[:place] + content[end:]
        elif kind == 3:
            content = content[:place] + content[place:end] * 3 + content[end:]
        elif kind == 4:
            number = NUMBERS[rng.integers(0, len(NUMBERS))]
            words = content.split(b" ")
            words[rng.integers(0, len(words))] = number
            content = b" ".join(words)
        elif kind == 5:
            content = bytes([*content[:place], rng.integers(0, 256), *content[place + 1 :]])
        else:
            lines = content.split(b"\n")
            one, two = rng.integers(0, len(lines), 2)
            lines[one], lines[two] = lines[two], lines[one]
            content = b"\n".join(lines)
    return content


SAMPLES = {
    "obj": ("m.obj", OBJ),
    "mtl": ("m.mtl", MTL),
    "text ply": ("m.ply", TEXT_PLY),
    "binary ply": ("m.ply", binary_ply()),
    "text stl": ("m.stl", stl("stl_ascii")),
    "binary stl": ("m.stl", stl("stl")),
}


@pytest.mark.slow
@pytest.mark.parametrize("sample", SAMPLES)
def test_garbled_files_are_read_or_refused(tmp_path: Path, sample: str) -> None:
    name, content = SAMPLES[sample]
    rng = np.random.default_rng(list(sample.encode()))
    others = {"m.obj": OBJ, "m.mtl": MTL, "t.png": png([(200, 30, 10, 255), (0, 0, 0, 0)])}
    outcomes = []
    for run in range(RUNS + 1):
        changed = garbled(content, rng) if run else content
        files = {"m.obj" if name == "m.mtl" else name: b"", **others, name: changed}
        reason = ""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                model = read(tmp_path, files, LENIENT)
        except BrokenModelError as error:
            reason = str(error)
        outcomes.append(not reason)
        if reason:
            assert "\n" not in reason
            assert str(tmp_path) not in reason
            continue
        surface = surface_of(model)
        assert np.isfinite(surface.positions).all()
        assert all(np.isfinite(layer).all() for layer in surface.uvs)
        assert surface.colors is None or ((surface.colors >= 0) & (surface.colors <= 1)).all()
        assert surface.normals is None or np.isfinite(surface.normals).all()
        assert 0 <= surface.triangles.min() <= surface.triangles.max() < len(surface.positions)
        assert surface.material.max() < len(surface.materials)
    assert outcomes[0]
    assert 0.02 < np.mean(outcomes) < 0.98 or sample == "mtl"
