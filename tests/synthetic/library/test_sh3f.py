"""Furniture of Sweet Home 3D: its catalogues, sizes, licences and packages, and what is wrong with them."""

from __future__ import annotations

import json
import os
import re
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from synthetic.layouts.imagenet import imagenet_classes
from synthetic.layouts.shapenet import ObjectClass, load_library
from synthetic.layouts.taxonomy import SHAPENET_CATEGORIES
from synthetic.library import archives
from synthetic.library.__main__ import main
from synthetic.library.sh3f import source
from synthetic.library.sh3f.catalogue import licence_in, pieces, read_properties, stricter
from synthetic.staging.stage import stage_model
from synthetic.staging.surface import Surface
from synthetic.staging.treatment import ModelLimits, Treatment
from tests.synthetic.library.furniture import BOX, ENTRY, catalogue, library, package, piece

CHAIR = ObjectClass("n03001627", "chair", None, "03001627")


@pytest.fixture(autouse=True)
def classes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every piece of a library "Tests" whose name begins with a is a chair."""

    class Known(dict[str, ObjectClass]):
        def get(self, key: str, default: object = None) -> ObjectClass | None:  # type: ignore[override]
            return CHAIR if key.startswith("Tests/a") else None

    monkeypatch.setattr(source, "known_classes", lambda: Known())


def made(
    tmp_path: Path, where: Path, *options: str
) -> tuple[dict[str, Mapping[str, object]], dict[str, str]]:
    """The class records of the library that is made, and failures."""
    out = tmp_path / "out"
    main(["sh3f", str(where), str(out), *options])
    path = out / "failures.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    failures = {entry["model"]: entry["reason"] for entry in map(json.loads, lines)}
    return json.loads((out / "classes.json").read_text()), failures


def staged(tmp_path: Path, name: str) -> Surface:
    folder = tmp_path / "out/03001627" / f"Tests-{name}"
    file = folder / "models/model_normalized.obj"
    return stage_model(file, folder, tmp_path / "staged", ModelLimits(), Treatment()).surface


def test_sizes_are_the_catalogues_and_fronts_are_kept(tmp_path: Path) -> None:
    """A box of 2 x 4 x 6 becomes one of 30 x 40 x 60 cm: its red face looks at the camera of yaw 0."""
    where = library(tmp_path / "Tests.sh3f", catalogue({"id": "a", "width": "30"}), piece("a"))
    records, failures = made(tmp_path, where)
    assert not failures
    record = records["03001627/Tests-a"]
    assert (record["size"], record["title"], record["category"]) == ([0.3, 0.4, 0.6], "Box", "Kitchen")
    surface = staged(tmp_path, "a")
    sides = surface.positions.max(axis=0) - surface.positions.min(axis=0)
    np.testing.assert_allclose(sides, np.array([30, 40, 60]) / np.linalg.norm([30, 40, 60]), atol=1e-7)
    front = [bool(surface.materials[number].color_texture) for number in surface.material]
    depth = surface.positions[surface.triangles][..., 2]
    np.testing.assert_allclose(depth[front], sides[2] / 2, atol=1e-7)
    assert sum(front) == 2
    models = load_library(tmp_path / "out")
    assert [(model.key, model.object_class) for model in models] == [("03001627/Tests-a", CHAIR)]


def test_a_rotation_comes_before_the_size(tmp_path: Path) -> None:
    """Its red face (+z) is turned to +x; along x the box is now 6, and becomes as wide as the catalogue says."""
    turn = "0 0 1 0 1 0 -1 0 0"
    where = library(tmp_path / "Tests.sh3f", catalogue({"id": "a", "modelRotation": turn}), piece("a"))
    made(tmp_path, where)
    surface = staged(tmp_path, "a")
    sides = surface.positions.max(axis=0) - surface.positions.min(axis=0)
    np.testing.assert_allclose(sides, np.array([20, 40, 60]) / np.linalg.norm([20, 40, 60]), atol=1e-7)
    red = np.array([bool(surface.materials[number].color_texture) for number in surface.material])
    np.testing.assert_allclose(surface.positions[surface.triangles[red]][..., 0], sides[0] / 2, atol=1e-7)


def test_wrong_entries_are_counted_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The rest of the library is made; nothing is written outside of it."""
    entries = catalogue(
        {"id": "a"},
        {"id": "a-gone", "model": "/boxes/nothing.obj"},
        {"id": "a-flat", "width": "none"},
        {"id": "a-negative", "depth": "-3"},
        {"id": "a-nameless", "name": None},
        {"id": "a-bent", "modelRotation": "1 1 1 0 1 0 0 0 1"},
        {"id": "a-bare"},
        {"id": "b"},
        {"id": "a-out", "model": "/../../evil/box.obj"},
    )
    files = {**piece("a"), **piece("b"), **piece("a-bare"), "../../evil/box.obj": BOX.encode()}
    del files["boxes/a-bare/red.png"]
    before = sorted(path for path in tmp_path.parent.rglob("*"))
    records, failures = made(tmp_path, library(tmp_path / "Tests.sh3f", entries, files))
    assert list(records) == ["03001627/Tests-a"]
    expected = {
        "Tests/Tests#a-flat": "its width is 'none', expected centimetres",
        "Tests/Tests#a-negative": "its depth is '-3', expected centimetres",
        "Tests/Tests#a-nameless": "the catalogue gives it no name",
        "Tests/Tests#a-bent": "is no rotation",
        "Tests/a-gone": "its model is missing from the library's file",
        "Tests/a-out": "its model leads out of the library's file",
        "Tests/b": "its class is not known",
        "03001627/Tests-a-bare": "its texture red.png is missing from the model's folder",
    }
    assert failures.keys() == expected.keys()
    assert all(reason in failures[key] for key, reason in expected.items())
    after = {path for path in tmp_path.parent.rglob("*") if not path.is_relative_to(tmp_path / "out")}
    assert after - set(before) == {tmp_path / "Tests.sh3f"}
    shown = capsys.readouterr().err
    assert "1 written" in shown
    assert "8 models failed" in shown


def test_missing_textures_may_be_shown_as_colours(tmp_path: Path) -> None:
    files = piece("a")
    del files["boxes/a/red.png"]
    where = library(tmp_path / "Tests.sh3f", catalogue({"id": "a"}), files)
    records, failures = made(tmp_path, where, "--missing-textures", "color")
    assert (list(records), failures) == (["03001627/Tests-a"], {})


@pytest.mark.parametrize(
    ("licence", "said", "own", "expected"),
    [
        ("http://creativecommons.org/licenses/by/3.0/us/", "", "", "CC-BY-3.0-US"),
        ("http://creativecommons.org/choose/zero/", "", "", "CC0-1.0"),
        ("", "Creative Commons Attribution 3.0 Unported license  © Somebody", "", "CC-BY-3.0"),
        (
            "http://creativecommons.org/choose/zero/",
            "",
            "Released under Creative Commons Attribution 3.0",
            "CC-BY-3.0",
        ),
        (
            "http://creativecommons.org/licenses/by/3.0/",
            "",
            "Released under Creative Commons Zero",
            "CC-BY-3.0",
        ),
        ("", "as you wish", "", ""),
    ],
)
def test_licences(licence: str, said: str, own: str, expected: str, tmp_path: Path) -> None:
    """The library's, unless the model's own file asks for more; without any that can be read the model is left out."""
    files = piece("a") | ({"boxes/a/LICENSE.html": own.encode()} if own else {})
    where = library(tmp_path / "Tests.sh3f", catalogue({"id": "a"}, licence=said), files, licence)
    _, failures = made(tmp_path, where)
    lines = (tmp_path / "out/licences.jsonl").read_text().splitlines()
    if not expected:
        assert failures == {"Tests/a": "its library states no licence that is known"}
        return
    (credit,) = map(json.loads, lines)
    assert credit["licence"] == expected
    assert credit["author"] == "Somebody"
    assert "Tests 1.8, a" in credit["source"]


def test_only_some_licences(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = library(tmp_path / "Tests.sh3f", catalogue({"id": "a"}), piece("a"))
    records, _ = made(tmp_path, where, "--licences", "cc0,cc-by-sa")
    assert records == {}
    assert "--licences leaves 1 models out: CC-BY-3.0-US (1)" in capsys.readouterr().err
    records, _ = made(tmp_path, where, "--licences", "cc-by", "--classes", "chair")
    assert len(records) == 1


@pytest.mark.parametrize("compression", ["xz", "tar"])
def test_a_debian_package(compression: str, tmp_path: Path) -> None:
    """The .sh3f files in it, wherever they lie; links and paths that lead out are passed over."""
    inner = library(tmp_path / "inner/Tests.sh3f", catalogue({"id": "a"}), piece("a")).read_bytes()
    files = {
        "./usr/share/furniture/Tests.sh3f": inner,
        "./usr/share/doc/copyright": b"text",
        "../evil/Other.sh3f": inner,
    }
    where = package(tmp_path / "furniture.deb", files, compression, {"./usr/Linked.sh3f": "/etc/passwd"})
    records, failures = made(tmp_path, where)
    assert (list(records), failures) == (["03001627/Tests-a"], {})


def test_another_version_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = library(tmp_path / "Tests.sh3f", catalogue({"id": "a"}, version="1.9"), piece("a"))
    made(tmp_path, where)
    assert (
        "Tests: is of version 1.9; classes are known of the models of version 1.8" in capsys.readouterr().err
    )


def test_a_broken_library_among_others(tmp_path: Path) -> None:
    library(tmp_path / "all/Tests.sh3f", catalogue({"id": "a"}), piece("a"))
    (tmp_path / "all/Broken.sh3f").write_bytes(b"no zip")
    with zipfile.ZipFile(tmp_path / "all/Empty.sh3f", "w"):
        pass
    records, failures = made(tmp_path, tmp_path / "all")
    assert list(records) == ["03001627/Tests-a"]
    assert "is no readable zip" in failures["Broken"]
    assert "PluginFurnitureCatalog.properties is missing" in failures["Empty"]


def package_cut(tmp_path: Path) -> Path:
    path = package(tmp_path / "cut.deb", {"Tests.sh3f": np.random.default_rng(0).bytes(50_000)})
    path.write_bytes(path.read_bytes()[:25_000])
    return path


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("nothing.deb", None, "no such file or folder"),
        ("some.deb", b"no package", "is no Debian package"),
        ("some.deb", b"!<arch>\n" + b" " * 60, "is damaged or cut"),
        ("some.sh3f", b"PK\3\4", "is no readable zip"),
    ],
)
def test_sources_that_cannot_be_read(
    name: str, content: bytes | None, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line, status 2, nothing written."""
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    assert main(["sh3f", str(path), str(tmp_path / "out")]) == 2
    shown = capsys.readouterr().err
    assert said in shown
    assert shown.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["pipe.deb", "pipe.sh3f"])
def test_a_pipe_is_not_waited_for(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(tmp_path / name)
    assert main(["sh3f", str(tmp_path / name), str(tmp_path / "out")]) == 2
    assert "is no file or folder" in capsys.readouterr().err
    assert main(["sh3f", str(tmp_path), str(tmp_path / "out")]) == 2
    assert not (tmp_path / "out").exists()


def test_file_names_that_a_disk_cannot_hold_cost_their_model_only(tmp_path: Path) -> None:
    """A name of 300 letters, and a file that is a folder as well, lie beside two of the models."""
    entries = catalogue({"id": "a-long"}, {"id": "a-clash"}, {"id": "a"})
    files = {**piece("a-long"), **piece("a-clash"), **piece("a"), f"boxes/a-long/{'x' * 300}": b""}
    files |= {"boxes/a-clash/b": b"", "boxes/a-clash/b/c": b""}
    records, failures = made(tmp_path, library(tmp_path / "Tests.sh3f", entries, files))
    assert list(records) == ["03001627/Tests-a"]
    assert failures.keys() == {"03001627/Tests-a-long", "03001627/Tests-a-clash"}
    assert all("has a name that cannot be used" in reason for reason in failures.values())


def test_catalogues_of_any_size_take_time_in_proportion() -> None:
    """Square in the number of lines, each of these would take minutes."""
    begun = time.process_time()
    assert len(list(pieces({f"id#{number}": "" for number in range(100_000)}))) == 100_000
    assert read_properties("a\\\n" * 300_000) == {"a" * 300_000: ""}
    assert time.process_time() - begun < 20


def test_packages_that_cannot_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (package_cut(tmp_path), package(tmp_path / "new.deb", {"Tests.sh3f": b""}, "zst")):
        assert main(["sh3f", str(path), str(tmp_path / "out")]) == 2
    shown = capsys.readouterr().err.splitlines()
    assert "is damaged or cut" in shown[0]
    assert "unpack it with `dpkg-deb -x`" in shown[1]


def test_archives_have_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Members, all bytes, what one member grows to, links, and sizes that lie."""
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made_zip:
        made_zip.writestr("bomb", bytes(5_000_000))
        link = zipfile.ZipInfo("link")
        link.external_attr = 0o120777 << 16
        made_zip.writestr(link, "/etc/passwd")
        made_zip.writestr("../out", b"1")
        made_zip.writestr("good", b"12345")
    archive = archives.ZipArchive(path, "a.zip")
    assert archive.read("good") == b"12345"
    wrong = {"bomb": "times its size", "link": "is a link", "../out": "leads out", "no": "is missing"}
    for name, said in wrong.items():
        with pytest.raises(archives.ArchiveError, match=said):
            archive.read(name)
    for limit, said in (("MOST_MEMBERS", "members, more than"), ("MOST_BYTES", "unpacks to")):
        with monkeypatch.context() as patch:
            patch.setattr(archives, limit, 2)
            with pytest.raises(archives.ArchiveError, match=said):
                archives.ZipArchive(path, "a.zip")


def test_properties() -> None:
    """As Java reads them: separators, comments, escapes, lines that go on."""
    text = "# c\n! c\na=1\n b : 2\nc 3\nd\\ e = x\\u20acy\\n\n"
    text += "long = one \\\n   two\nempty=\nlast=\\\\\nu=\\ud83d\\ude00"
    assert read_properties(text) == {
        "a": "1",
        "b": "2",
        "c": "3",
        "d e": "x€y\n",
        "long": "one two",
        "empty": "",
        "last": "\\",
        "u": "😀",
    }


def test_the_table_of_classes() -> None:
    """Every model once, ids of WordNet, names and categories that agree with each other and with ImageNet's."""
    lines = Path(source.__file__).with_name("classes.tsv").read_text(encoding="utf-8").splitlines()
    rows = [line.split("\t") for line in lines if not line.startswith("#")]
    assert len(rows) == len({row[0] for row in rows}) == 820
    said: dict[str, tuple[str, str]] = {}
    for key, wnid, name, synset in rows:
        assert re.fullmatch(r"[\w-]+/[\w.+-]+", key), key
        assert wnid == "-" or re.fullmatch(r"n\d{8}", wnid), key
        assert not synset or synset in SHAPENET_CATEGORIES, key
        assert wnid == "-" or said.setdefault(wnid, (name, synset)) == (name, synset), key
    shown = {wnid for wnid in said if wnid in imagenet_classes()}
    assert len(shown) >= 80
    for wnid in shown:
        made = imagenet_classes()[wnid]
        assert said[wnid] == (made.name, made.synset or "")
    false_friends = {  # words of ImageNet that mean something else here
        "Scopia/rounded-switch": "switch",
        "KatorLegaz/MIDI-keyboard": "synthesizer",
        "KatorLegaz/flashlight": "flashlight",
        "Scopia/shovel": "dustpan",
        "BlendSwap-CC-0/bookcase": "cabinet",
        "BlendSwap-CC-0/numberLock": "lock",
        "KatorLegaz/dinner-plate": "plate",
        "Scopia/cup": "teacup",
    }
    assert false_friends.items() <= {key: name for key, _, name, _ in rows}.items()


def test_licence_texts() -> None:
    assert licence_in("see creativecommons.org/licenses/by-nc-sa/4.0/") == "CC-BY-NC-SA-4.0"
    assert licence_in("Creative Commons Attribution 3.0 United States license") == "CC-BY-3.0-US"
    assert licence_in("all rights reserved") == ""
    assert stricter(["CC0-1.0", "CC-BY-3.0", ""]) == "CC-BY-3.0"
    assert stricter(["CC-BY-NC-4.0", "CC-BY-3.0"]) == "CC-BY-NC-4.0"
    assert stricter([]) == ""


def test_makers_are_named_in_plain_text() -> None:
    entry = {"id": "box", "model": "/box.obj", **ENTRY, "creator": "Ada &amp; eTeks"}
    ((_, found),) = pieces({f"{key}#1": text for key, text in entry.items()})
    assert found.creator == "Ada & eTeks"
