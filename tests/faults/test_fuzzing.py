"""Whatever strangers send is read or refused in one line: no traceback, no hang, no gigantic memory.

`make faults MINUTES=10` goes on with other seeds and prints a table.
"""

from __future__ import annotations

import io
import json
import os
import struct
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gp3d_core.datasets.archive import DatasetError
from gp3d_core.datasets.decoding import Limits, PictureError, decode
from gp3d_core.meshing.files.reading import load_mesh
from gp3d_core.meshing.mesh import MeshError
from gp3d_core.preparation.depth.files import read_numbers
from tests.faults.conversations import Answers, converse
from tests.faults.fuzzing import fuzz
from tests.faults.model_targets import model_targets
from tests.faults.targets import all_targets

COUNT = int(os.environ.get("GP3D_FUZZ", "25"))  # inputs of each kind


@pytest.mark.slow
def test_damaged_inputs_are_read_or_refused_in_one_line(tmp_path: Path) -> None:
    faults = {}
    for target in [*all_targets(tmp_path / "whole"), *model_targets(tmp_path / "models")]:
        outcome = fuzz(target, tmp_path, first=0, count=COUNT)
        assert outcome.refused, f"{target.name}: nothing was refused, so that nothing was tried"
        faults |= {f"{target.name}, seed {seed}": fault for seed, fault in outcome.faults.items()}
    assert not faults


@pytest.mark.slow
@pytest.mark.parametrize("protocol", [1, 2])
def test_every_damaged_line_has_its_one_answer(protocol: int, tmp_path: Path) -> None:
    outcome = converse(protocol, tmp_path, first=0, count=16 * COUNT)
    assert outcome.taken
    assert outcome.refused
    assert not outcome.faults


@pytest.mark.parametrize("protocol", [1, 2])
def test_late_answers_are_waited_for_and_a_missing_one_is_seen(protocol: int) -> None:
    """A machine with much else to do makes each of many jobs late, and all of them later than one may be."""
    answers = Answers(protocol)
    line = b'{"event": "result"}' if protocol == 1 else b'[{"id": 1, "result": {}}]'

    def answer() -> None:
        for _ in range(6):
            time.sleep(0.2)
            answers.read(line)

    thread = threading.Thread(target=answer)
    thread.start()
    assert answers.reached(6, 0.9)
    assert not answers.reached(7, 0.3)
    thread.join()
    assert (answers.count, answers.odd) == (6, [])


def test_files_that_libraries_fail_on_in_ways_of_their_own(tmp_path: Path) -> None:
    """A header of numpy that never ends, a scene without accessors: neither is among the errors of files."""
    end = b"{'descr': '<f4', 'fortran_order': False, 'shape': (6, 8, ".ljust(117) + b"\n"
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(end)) + end)
    with pytest.raises(DatasetError, match="cannot be read"):
        read_numbers(tmp_path / "a.npy")
    scene = {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}}]}],
    }
    text = json.dumps(scene).encode()
    text += b" " * (-len(text) % 4)
    chunk = struct.pack("<II", len(text), 0x4E4F534A) + text
    (tmp_path / "a.glb").write_bytes(b"glTF" + struct.pack("<II", 2, 12 + len(chunk)) + chunk)
    with pytest.raises(MeshError, match=r"a\.glb: not a readable \.glb file"):
        load_mesh(tmp_path / "a.glb")


def test_damaged_files_print_nothing_beside_their_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Pillow logs, and OpenEXR prints, what they raise as well."""
    openexr = pytest.importorskip("OpenEXR")
    path = tmp_path / "a.exr"
    pixels = np.linspace(1, 3, 48, dtype=np.float32).reshape(6, 8)
    openexr.File({"compression": openexr.ZIP_COMPRESSION}, {"Z": pixels}).write(str(path))
    whole = path.read_bytes()
    for length in range(len(whole) // 2, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(DatasetError, match="cannot be read"):
            read_numbers(path)
    stream = io.BytesIO()
    Image.new("RGB", (4, 4)).save(stream, "TIFF")
    samples = struct.pack("<HHIH", 277, 3, 1, 3)  # the tag of samples a pixel
    assert samples in stream.getvalue()
    with pytest.raises(PictureError):
        decode(stream.getvalue().replace(samples, struct.pack("<HHIH", 277, 3, 1, 515)), Limits())
    assert capfd.readouterr() == ("", "")
