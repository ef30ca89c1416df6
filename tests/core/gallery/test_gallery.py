"""The page of a gallery as its file is: what it holds of which mesh, what strangers cannot put into it, its limits."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from gp3d_core.cli.main import main
from gp3d_core.gallery.entries import GalleryError, find_entries
from gp3d_core.gallery.page import write_gallery
from gp3d_core.meshing.files.glb.scenes import load_glb
from gp3d_core.meshing.files.writing import save_mesh, save_recipe
from tests.support.solids import ball, box

VIEWER = Path(__file__).resolve().parents[3] / "gp3d_core/gallery/viewer"
MUG = {"class": {"label": 0, "name": "coffee mug", "wnid": "n03063599"}, "seed": 3, "license": "CC0-1.0"}


@dataclass
class Reader(HTMLParser):
    """An independent reading of a page: its elements with their attributes, and texts by the element around them."""

    elements: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    texts: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__()
        self._around = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._around = tag
        self.texts.setdefault(tag, []).append("")

    def handle_data(self, data: str) -> None:
        if self._around:
            self.texts[self._around][-1] += data

    def handle_endtag(self, tag: str) -> None:
        self._around = ""

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.elements)


def page_of(folder: Path, **options: int) -> tuple[Reader, list[str], int]:
    """The page of a folder, the lines that were said of it, and how many meshes can be turned."""
    said: list[str] = []
    shown = write_gallery(
        folder, folder / "gallery.html", "Things & more", lambda line: said.append(str(line)), **options
    )
    reader = Reader()
    reader.feed((folder / "gallery.html").read_text(encoding="utf-8"))
    reader.close()
    return reader, said, shown


def test_a_page_shows_every_mesh_once_with_its_facts(tmp_path: Path) -> None:
    for suffix in ("glb", "obj"):
        save_mesh(box(1, 1, 1), tmp_path / f"mug-0003.{suffix}", MUG)
    save_recipe(MUG, tmp_path / "mug-0003.recipe.json")
    save_mesh(box(1, 1, 1), tmp_path / "mug-0003_LOD1.glb")
    save_mesh(ball(fine=1), tmp_path / "below" / "ball.ply")
    page, said, shown = page_of(tmp_path)
    assert (shown, said) == (2, [])
    assert page.texts["title"] == ["Things & more"]
    assert page.texts["h2"] == ["below/ball", "coffee mug"]
    cards = [attributes for tag, attributes in page.elements if tag == "article"]
    assert "espresso" not in str(cards[1]["data-search"])
    assert "coffee mug" in str(cards[1]["data-search"])
    assert "n03063599" in str(cards[1]["data-search"])
    lines = "".join(page.texts["p"])
    assert "mug-0003 · seed 3" in lines
    assert "80 faces, 42 vertices" in lines  # an icosphere divided once
    assert "Licence: CC0-1.0" in lines
    assert "Licence: unknown" in lines
    assert "1 more files" in lines
    assert json.loads(page.texts["pre"][0])["seed"] == 3


def test_models_in_a_page_are_the_meshes(tmp_path: Path) -> None:
    glb = save_mesh(box(1, 2, 3), tmp_path / "a.glb")[0]
    save_mesh(ball(fine=1), tmp_path / "b.npz")
    page, _, _ = page_of(tmp_path)
    models = [base64.b64decode(text) for text in page.texts["script"][2:]]
    assert models[0] == glb.read_bytes()
    (tmp_path / "again.glb").write_bytes(models[1])
    again, was = load_glb(tmp_path / "again.glb"), ball(fine=1)
    assert np.allclose(again.vertices[again.faces], was.vertices[was.faces], atol=1e-6)


def test_text_of_strangers_stays_text(tmp_path: Path) -> None:
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'<!--"
    recipe = {
        "class": {"name": evil, "wnid": evil},
        "license": evil,
        "credits": evil,
        "note": "</pre>" + evil,
    }
    name = "x\"onclick='alert(3)'<b>"
    save_mesh(box(1, 1, 1), tmp_path / f"{name}.glb")
    save_recipe({**recipe, "half": "\udc80"}, tmp_path / f"{name}.recipe.json")
    os.rename(save_mesh(box(1, 1, 1), tmp_path / "odd.glb")[0], os.fsencode(tmp_path) + b"/odd\xff.glb")
    page, said, shown = page_of(tmp_path)
    assert (shown, said) == (2, [])
    assert page.count("script") == 2 + 2  # viewer, ours, and a model each
    assert page.count("img") == 2
    assert page.count("b") == 0
    assert not [a for _, attributes in page.elements for a in attributes if a.startswith("on")]
    assert evil in page.texts["h2"]
    assert json.loads(page.texts["pre"][0])["note"] == "</pre>" + evil


def test_the_policy_lets_only_our_scripts_run_and_nothing_be_fetched(tmp_path: Path) -> None:
    save_mesh(box(1, 1, 1), tmp_path / "a.glb")
    page, _, _ = page_of(tmp_path)
    policy = next(
        str(a["content"]) for _, a in page.elements if a.get("http-equiv") == "Content-Security-Policy"
    )
    named = set(re.findall(r"'sha256-([^']+)'", policy))
    ours = {
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in page.texts["script"][:2]
    }
    assert named == ours
    assert len(ours) == 2
    assert policy.startswith("default-src 'none';")
    assert "unsafe-inline" not in policy.split("style-src")[0]
    assert not re.findall(r"https?:|\*", policy)


def test_what_is_broken_is_marked_and_the_rest_shows(tmp_path: Path) -> None:
    whole = save_mesh(box(1, 1, 1), tmp_path / "whole.glb")[0].read_bytes()
    (tmp_path / "cut.glb").write_bytes(whole[:-20])
    (tmp_path / "noise.npz").write_bytes(b"noise")
    (tmp_path / "empty.glb").write_bytes(b"")
    (tmp_path / "alone.recipe.json").write_text("{}")
    save_mesh(box(1, 1, 1), tmp_path / "odd.glb")
    (tmp_path / "odd.recipe.json").write_text('{"seed": NaN}')
    save_mesh(box(1, 1, 1), tmp_path / "print.stl")
    page, said, shown = page_of(tmp_path)
    assert shown == 2  # whole, and odd without its recipe
    marked = sorted(
        str(a["data-search"]).split()[0]
        for tag, a in page.elements
        if tag == "article" and "broken" in str(a["class"])
    )
    assert marked == ["alone", "cut", "empty", "noise", "odd", "print"]
    assert len(said) == 6
    assert all("\n" not in line for line in said)
    assert any(line.startswith("cut: ") and "truncated" in line for line in said)
    assert any("a recipe without a mesh" in line for line in said)
    assert page.count("button") == 2


def test_too_much_is_left_out_and_said(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save_mesh(ball(fine=4), tmp_path / f"{name}.glb")
    with (tmp_path / "huge.glb").open("wb") as file:
        file.truncate(40 << 20)
    size = (tmp_path / "a.glb").stat().st_size
    _, said, shown = page_of(tmp_path, most_bytes=1_100_000 + 2 * size)
    assert shown == 1
    assert [line.split(":")[0] for line in said] == ["b", "huge"]
    assert "the page would be too large" in said[0]
    assert "40 MiB, a page takes 32" in said[1]


def test_a_page_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    save_mesh(box(1, 1, 1), tmp_path / "a.glb")
    (tmp_path / "b.glb").write_bytes(b"broken")
    (tmp_path / "gallery.html").write_text("the one before")

    def fail(_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_gallery(tmp_path, tmp_path / "gallery.html", "x", fail)
    assert (tmp_path / "gallery.html").read_text() == "the one before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.glb", "b.glb", "gallery.html"]


def test_unfinished_and_linked_folders_are_not_looked_into(tmp_path: Path) -> None:
    save_mesh(box(1, 1, 1), tmp_path / "shown" / "a.glb")
    save_mesh(box(1, 1, 1), tmp_path / "shown" / ".gp3d-1" / "b.glb")
    save_mesh(box(1, 1, 1), tmp_path / "elsewhere" / "c.glb")
    (tmp_path / "shown" / "link").symlink_to(tmp_path / "elsewhere")
    assert [entry.name for entry in find_entries(tmp_path / "shown")] == ["a"]


def test_a_folder_without_meshes_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing here")
    with pytest.raises(GalleryError, match="no mesh is in it; expected files in obj, glb"):
        find_entries(tmp_path)
    with pytest.raises(GalleryError, match="expected a folder of meshes, found a file"):
        find_entries(tmp_path / "notes.txt")


def test_the_viewer_is_the_published_file() -> None:
    row = next(line for line in (VIEWER / "VENDORED.md").read_text().splitlines() if "umd.min.js" in line)
    digest = hashlib.sha256((VIEWER / "model-viewer-umd.min.js").read_bytes()).hexdigest()
    assert f"`{digest}`" in row
    assert "Apache License" in (VIEWER / "model-viewer.LICENSE.txt").read_text()


def test_no_script_or_style_ends_the_element_that_it_stands_in() -> None:
    for path in VIEWER.glob("*.js"):
        assert not re.search(r"</script|<script", path.read_text(encoding="utf-8"), re.IGNORECASE), path
    assert "<" not in (VIEWER / "page.css").read_text()


def test_commands_write_the_page_and_open_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    save_mesh(box(1, 1, 1), tmp_path / "a.glb")
    assert main(["gallery", str(tmp_path), "--out", str(tmp_path / "page.html")]) == 0
    told = capsys.readouterr()
    assert told.out == f"{tmp_path / 'page.html'}\n"
    assert "1 mesh can be turned" in told.err
    assert main(["gallery", str(tmp_path), "--out", str(tmp_path / "a.glb" / "page.html")]) == 2
    assert f"{tmp_path / 'a.glb'}: expected a folder, found a file" in capsys.readouterr().err
    asked = tmp_path / "asked"
    program = tmp_path / "browser.sh"
    program.write_text(f'#!/bin/sh\nprintf "%s" "$1" > "{asked}"\n')
    program.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-m", "gp3d_core.cli", "view", str(tmp_path)],
        env={**os.environ, "BROWSER": str(program)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert asked.read_text() == (tmp_path / "gallery.html").resolve().as_uri()
    assert main(["gallery", str(tmp_path), "--out", str(tmp_path / "page.txt")]) == 2
    assert "expected the name of a .html file" in capsys.readouterr().err


def test_without_a_browser_one_line_says_so(tmp_path: Path) -> None:
    save_mesh(box(1, 1, 1), tmp_path / "a.glb")
    plain = {
        key: value
        for key, value in os.environ.items()
        if key not in ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY")
    }
    done = subprocess.run(
        [sys.executable, "-m", "gp3d_core.cli", "view", str(tmp_path)],
        env={**plain, "PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 3
    assert done.stderr.count("\n") == 1
    assert "no browser was found" in done.stderr
    assert not (tmp_path / "gallery.html").exists()


def test_a_short_file_is_said_to_be_short(tmp_path: Path) -> None:
    save_mesh(box(1, 1, 1), tmp_path / "whole.glb")
    (tmp_path / "short.glb").write_bytes(b"glTF")
    said: list[str] = []
    assert write_gallery(tmp_path, tmp_path / "page.html", "t", said.append) == 1
    assert said == ["short: short.glb: not a GLB file (expected at least 20 bytes, found 4)"]
