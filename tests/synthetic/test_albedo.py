"""`--albedo` and `--cutouts` as a user asks for them: base colours to the byte, in the view's own file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.synthetic import small_library as library

SIDE = 32
LEAF = (("cut", 0.5), ("solid", 1.0))  # of the leaf's pixels, how many are seen


def write_leaf(folder: Path) -> None:
    """A square of which the texture's alpha cuts out every second column of eight."""
    from PIL import Image

    folder.mkdir(parents=True)
    pixels = np.full((8, 8, 4), (30, 140, 40, 255), np.uint8)
    pixels[:, ::2, 3] = 0
    Image.fromarray(pixels).save(folder / "leaf.png")
    (folder / "leaf.mtl").write_text("newmtl leaf\nKd 1 1 1\nmap_Kd leaf.png\nmap_d leaf.png\n")
    corners = [(-1, -1), (1, -1), (1, 1), (-1, 1)]
    text = ["mtllib leaf.mtl", *(f"v {x} {y} 0" for x, y in corners)]
    text += [f"vt {(x + 1) / 2} {(y + 1) / 2}" for x, y in corners]
    (folder / "leaf.obj").write_text("\n".join([*text, "usemtl leaf", "f 1/1 2/2 3/3 4/4"]) + "\n")


def render(root: Path, models: Path, *words: object) -> tuple[dict[str, object], list[dict[str, np.ndarray]]]:
    """The settings of a data set, and the geometry of its views."""
    out = root / "data"
    run = library.run(
        root / "scratch", "synthetic.render", models, out, "--resolution", SIDE, "--samples", 1, *words
    )
    assert run.returncode == 0, run.stderr
    assert list((root / "scratch").iterdir()) == []
    found = []
    for path in sorted(out.rglob("*_geometry.npz")):
        with np.load(path, allow_pickle=False) as arrays:
            found.append(dict(arrays))
    settings = json.loads((out / "dataset.json").read_text())["generator"]["settings"]
    return settings, found


@pytest.mark.blender
@pytest.mark.slow
def test_base_colours_are_those_of_the_file_to_the_byte(tmp_path: Path) -> None:
    library.write_facts(tmp_path / "models")
    library.write_model(tmp_path / "models", "02876657/blocks", library.SHAPES["02876657/blocks"])
    settings, views = render(tmp_path, tmp_path / "models", "--albedo", "--views", 4)
    assert settings["albedo"] is True
    assert len(views) == 4
    linear = np.array([library.RED, library.GREEN, library.BLUE])
    code = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    expected = {tuple(color) for color in np.round(255 * code).astype(int).tolist()}
    seen: set[tuple[int, ...]] = set()
    for view in views:
        assert set(view) == {"z_depth", "ray_distance", "mask", "albedo"}
        assert view["albedo"].shape == (SIDE, SIDE, 3)
        assert view["albedo"].dtype == np.uint8
        assert (view["albedo"][~view["mask"]] == 255).all()
        seen |= {tuple(color) for color in view["albedo"][view["mask"]].tolist()}
    assert seen == expected


@pytest.mark.blender
@pytest.mark.slow
@pytest.mark.parametrize(("cutouts", "share"), LEAF)
def test_cut_outs_are_cut_or_solid(tmp_path: Path, cutouts: str, share: float) -> None:
    write_leaf(tmp_path / "models/leaf")
    words = ("--albedo", "--cutouts", cutouts, "--yaw", 0, 0, "--pitch", np.pi / 2, 0)
    settings, views = render(tmp_path, tmp_path / "models", *words)
    assert settings["treatment"]["cutouts"] == cutouts  # type: ignore[index]
    mask, albedo = views[0]["mask"], views[0]["albedo"]
    rows = mask.any(axis=1)
    square = np.count_nonzero(rows) ** 2
    assert abs(mask.sum() / square - share) < 0.1
    assert (albedo[mask] == (30, 140, 40)).all()
