"""Depth maps in OpenEXR files: which channel is depth, as Blender and others name them, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gp3d_core.datasets.archive import DatasetError
from gp3d_core.lifting.distances import distances_of_file
from gp3d_core.preparation.depth import files
from gp3d_core.preparation.depth.files import FolderDepth, read_numbers

OpenEXR = pytest.importorskip("OpenEXR")

DEPTH = np.linspace(1, 3, 35, dtype=np.float32).reshape(5, 7)

# Blender has Z buffers from 0 (nothing rendered) to 1e10 (nothing hit); its passes are told by their names alone.
_BLENDER = """
import sys
from pathlib import Path
import bpy
scene = bpy.context.scene
bpy.ops.object.select_all(action="SELECT")
bpy.ops.object.delete()
bpy.ops.mesh.primitive_plane_add(size=2, location=(0, 0, 0))
camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
camera.location = (0, 0, 4)
scene.collection.objects.link(camera)
scene.camera = camera
scene.render.engine, scene.cycles.samples = "CYCLES", 1
scene.render.resolution_x, scene.render.resolution_y, scene.render.resolution_percentage = 24, 16, 100
layer = bpy.context.view_layer
layer.use_pass_z = layer.use_pass_normal = layer.use_pass_position = layer.use_pass_mist = True
picture = scene.render.image_settings
if hasattr(picture, "media_type"):
    picture.media_type = "MULTI_LAYER_IMAGE"
picture.file_format = "OPEN_EXR_MULTILAYER"
picture.color_depth = "32"
scene.render.filepath = sys.argv[1]
bpy.ops.render.render(write_still=True)
"""


def write(path: Path, channels: dict[str, np.ndarray]) -> Path:
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    OpenEXR.File(header, channels).write(str(path))
    return path


@pytest.mark.parametrize(
    "channels",
    [
        {"Z": DEPTH},
        {"ViewLayer.Depth.Z": DEPTH, "ViewLayer.Normal.Z": -DEPTH, "ViewLayer.Mist.Z": -DEPTH},
        {"depth.V": DEPTH, "R": -DEPTH, "G": -DEPTH, "B": -DEPTH},
        {"Y": DEPTH},
        {"R": DEPTH, "G": DEPTH, "B": DEPTH, "A": np.ones_like(DEPTH)},
    ],
    ids=["bare", "blender", "layer", "grey", "colours"],
)
def test_depth_is_found_by_its_name(tmp_path: Path, channels: dict[str, np.ndarray]) -> None:
    np.testing.assert_array_equal(read_numbers(write(tmp_path / "a.exr", channels)), DEPTH)


def test_depth_is_found_in_one_of_several_parts(tmp_path: Path) -> None:
    parts = [
        OpenEXR.Part({"name": name, "type": OpenEXR.scanlineimage}, {"Z": values, **more})
        for name, values, more in (
            ("ViewLayer.Normal", -DEPTH, {"X": DEPTH, "Y": DEPTH}),
            ("ViewLayer.Mist", -DEPTH, {}),
            ("ViewLayer.Depth", DEPTH, {}),
        )
    ]
    OpenEXR.File(parts).write(str(tmp_path / "a.exr"))
    np.testing.assert_array_equal(read_numbers(tmp_path / "a.exr"), DEPTH)


@pytest.mark.parametrize(
    ("channels", "line"),
    [
        (
            {"a.Depth.Z": DEPTH, "b.Depth.Z": DEPTH},
            r"expected one channel of depth, found a\.Depth\.Z, b\.Depth\.Z",
        ),
        ({"R": DEPTH, "G": DEPTH, "B": DEPTH + 1}, r"expected a channel Z.*found B, G, R"),
        ({"X": DEPTH, "Y": DEPTH, "Z": DEPTH}, r"expected a channel Z.*found X, Y, Z"),
    ],
    ids=["several", "picture", "vectors"],
)
def test_files_without_one_depth_are_one_line(
    tmp_path: Path, channels: dict[str, np.ndarray], line: str
) -> None:
    with pytest.raises(DatasetError, match=line):
        read_numbers(write(tmp_path / "a.exr", channels))


def test_sizes_are_looked_at_before_pixels_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path / "a.exr", {"Z": DEPTH})
    opened = []
    plain = OpenEXR.File

    def watched(*arguments, **options):
        opened.extend([True] if options.get("header_only") else [False] if options else [])
        return plain(*arguments, **options)

    monkeypatch.setattr(OpenEXR, "File", watched)
    monkeypatch.setattr(files, "_MOST_PIXELS", 34)
    with pytest.raises(DatasetError, match=r"7x5, more than 3\.4e-05 million pixels"):
        read_numbers(file)
    monkeypatch.setattr(files, "_MOST_PIXELS", 35)
    many = write(file, dict.fromkeys(("Z", "A", "B", "C", "D"), DEPTH))
    with pytest.raises(DatasetError, match="numbers in all channels"):
        read_numbers(many)
    assert opened == [True, True]  # nothing but headers


def test_damaged_files_and_a_missing_library_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = write(tmp_path / "a.exr", {"Z": DEPTH}).read_bytes()
    for number, content in enumerate((b"", b"no picture", whole[: len(whole) // 2])):
        (tmp_path / f"{number}.exr").write_bytes(content)
        with pytest.raises(DatasetError, match="cannot be read"):
            read_numbers(tmp_path / f"{number}.exr")
    monkeypatch.setitem(sys.modules, "OpenEXR", None)
    with pytest.raises(DatasetError, match=r"needs OpenEXR.*pip install OpenEXR"):
        read_numbers(tmp_path / "a.exr")


def test_rays_that_hit_nothing_are_the_farthest(tmp_path: Path) -> None:
    seen = DEPTH.copy()
    seen[0] = 1e10
    file = write(tmp_path / "a.exr", {"Z": seen})
    assert np.isinf(read_numbers(file)[0]).all()
    metres = distances_of_file(file, (5, 7), (5, 7), "metric", 2.0)
    np.testing.assert_allclose(metres.t[1:], DEPTH[1:], rtol=1e-6)
    np.testing.assert_allclose(metres.t[0], DEPTH.max(), rtol=1e-6)
    (tmp_path / "maps").mkdir()
    square = np.full((4, 4), 1e10, dtype=np.float32)
    square[1:3, 1:3] = 2
    square[1, 1] = 1
    write(tmp_path / "maps/a.exr", {"Z": square})
    source = FolderDepth(tmp_path / "maps", ["a.png"], kind="depth", ratio=2.0, fit=None, origins={})
    found = source.maps(["a.png"], [np.zeros((4, 4, 3), np.uint8)])[0]
    assert found[1, 1] == 0
    assert found[0, 0] == found[2, 2] == 1
    near = FolderDepth(tmp_path / "maps", ["a.png"], kind="disparity", ratio=2.0, fit=None, origins={})
    found = near.maps(["a.png"], [np.zeros((4, 4, 3), np.uint8)])[0]
    assert found[0, 0] == found[1, 1] == 1  # no disparity: that of the place beside
    assert found[2, 2] == 0
    nothing = write(tmp_path / "b.exr", {"Z": np.full_like(DEPTH, 1e10)})
    with pytest.raises(DatasetError, match="of its numbers are distances"):
        distances_of_file(nothing, (5, 7), (5, 7), "metric", 2.0)


def test_what_blender_saves_is_read(tmp_path: Path) -> None:
    """bpy 4.2: layer.pass.channel, 1e10 for nothing, along the camera's axis (Blender's manual, Cycles passes)."""
    pytest.importorskip("bpy")
    subprocess.run(
        [sys.executable, "-c", _BLENDER, tmp_path / "a.exr"], check=True, capture_output=True, timeout=300
    )
    values = read_numbers(tmp_path / "a.exr")
    assert values.shape == (16, 24)
    on_plane = np.isfinite(values)
    assert 0.2 < on_plane.mean() < 0.9
    np.testing.assert_allclose(values[on_plane], 4, atol=1e-4)
