"""Mesh files that ask for more than they hold, or hold what no mesh has: one line, and no memory taken for it."""

import json
import struct
import tracemalloc
import warnings

import pytest

from gp3d_core.meshing.files.reading import load_mesh
from gp3d_core.meshing.mesh import MeshError


def test_zeros_that_a_file_only_announces_take_no_memory(tmp_path):
    """glTF 2.0, 5.1.1: an accessor without bufferView and sparse is zeros, so 400 bytes may announce 11 GiB of them."""
    tree = {
        "asset": {"version": "2.0"},
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}}]}],
        "accessors": [{"componentType": 5126, "count": 10**9, "type": "VEC3"}],
    }
    text = json.dumps(tree).encode()
    text += b" " * (-len(text) % 4)
    head = struct.pack("<4sII", b"glTF", 2, 20 + len(text)) + struct.pack("<I4s", len(text), b"JSON")
    (tmp_path / "zeros.glb").write_bytes(head + text)
    tracemalloc.start()
    try:
        with pytest.raises(
            MeshError, match=r"zeros.glb: accessor 0 has 1000000000 elements without data, at most"
        ):
            load_mesh(tmp_path / "zeros.glb")
        assert tracemalloc.get_traced_memory()[1] < 2**26
    finally:
        tracemalloc.stop()


def test_numbers_too_large_are_refused_without_a_warning(tmp_path):
    (tmp_path / "far.obj").write_text("v 1e300 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(MeshError, match="vertices must be finite"):
            load_mesh(tmp_path / "far.obj")
