"""`python -m synthetic.library 0ad`: from a game's files, good and bad ones, to a library that can be read."""

from __future__ import annotations

import json
import zipfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from synthetic.layouts.licences import Credit
from synthetic.layouts.shapenet import BrokenModelError, LibraryError, load_library, split_of
from synthetic.library.__main__ import main
from synthetic.library.models import LibraryModel
from synthetic.library.zeroad.actors import Actor, combine, read_actor
from synthetic.library.zeroad.assembly import (
    Assembly,
    Wishes,
)
from synthetic.library.zeroad.looks import clips, generator, looks
from synthetic.library.zeroad.package import Package, open_package
from synthetic.library.zeroad.table import entries
from tests.synthetic.library.game_files import STILL, actor, dds, debian, game, pmd, psa, variant
from tests.synthetic.library.test_zeroad_formats import SIDE, TURNED, arm

MESH, SKIN, CLIP = (
    "art/meshes/{}.dae.cached.pmd",
    "art/textures/skins/{}.png.cached.dds",
    "art/animation/{}.dae.cached.psa",
)
FILES = {
    MESH.format("arm"): arm(),
    MESH.format("box"): pmd(),
    MESH.format("broken"): pmd()[:-9],
    SKIN.format("red"): dds((248, 0, 0)),
    SKIN.format("blue"): dds((0, 0, 248)),
    SKIN.format("leaf"): dds((0, 252, 0), 0),
    CLIP.format("walk"): psa([((*STILL,), TURNED)] * 3),
    CLIP.format("death"): psa([((*STILL,), TURNED)] * 3),
    CLIP.format("other"): psa([(STILL,) * 5]),
}
COATS = (
    variant(texture="red.png", frequency=1, name="red"),
    variant(texture="blue.png", frequency=3, name="blue"),
)
MOVES = {"Walk": "walk.dae", "death": "death.dae"}
ANIMALS = {
    "art/actors/fauna/lion.xml": actor([variant("arm.dae", clips=MOVES)], COATS),
    "art/actors/fauna/tiger.xml": actor([variant("arm.dae", "missing.png")]),
    "art/actors/fauna/wolf.xml": actor([variant(texture="red.png")]),
    "art/actors/fauna/peacock.xml": actor([variant("broken.dae", "red.png")]),
    "art/actors/fauna/camel.xml": b"<actor><group>",
    "art/actors/fauna/zebra.xml": actor([variant("arm.dae", "red.png", clips={"run": "other.dae"})]),
    "art/actors/fauna/boar.xml": actor([variant("gone.dae", "red.png")]),
    "art/actors/fauna/shark.xml": actor([variant("box.dae", "red.png", props={"root": "props/gone.xml"})]),
    "art/actors/fauna/bull.xml": actor([variant("box.dae", "red.png")], material="none.xml"),
}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return game(tmp_path / "public.zip", {**FILES, **ANIMALS})


def package_of(folder: Path, files: dict[str, bytes]) -> Package:
    """A package with FILES and these."""
    return open_package(game(folder / "public.zip", {"art/actors/a.xml": b"", **FILES, **files}), folder)


def assembled(folder: Path, files: dict[str, bytes], name: str = "a.xml") -> LibraryModel:
    """The model of an actor, without pose, for the player of the colour (100, 50, 200)."""
    package = package_of(folder, files)
    found = read_actor(package, name)
    assembly = Assembly(package, Wishes(None, (100, 50, 200)), folder, generator(0))
    surface = assembly.surface(looks(found)[0].variant, found.material)
    return LibraryModel(surface, Credit("", "", "", ""))


def run(*arguments: object) -> int:
    return main(["0ad", *map(str, arguments)])


def failures(out: Path) -> dict[str, str]:
    lines = (out / "failures.jsonl").read_text(encoding="utf-8").splitlines()
    return {entry["model"]: entry["reason"] for entry in map(json.loads, lines)}


def test_what_is_good_is_written_and_what_is_bad_is_named(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run(source, out, "--poses", 2) == 0
    made = {model.key: model for model in load_library(out)}
    lion, zebra = "02129165/fauna-lion", "02391049/fauna-zebra"
    assert set(made) == {lion, f"{lion}-look02", *(f"{lion}-pose0{number}" for number in range(1, 5)), zebra}
    reasons = failures(out)
    expected = {
        "02129604/fauna-tiger": "art/textures/skins/missing.png: this texture is missing in the package",
        "02114367/fauna-wolf": "has no mesh",
        "01806143/fauna-peacock": "art/meshes/broken.dae.cached.pmd: says that",
        "02437312/fauna-camel": "art/actors/fauna/camel.xml: is no readable XML",
        f"{zebra}-pose01": "art/animation/other.dae.cached.psa: the animation has 5 bones, the mesh 2",
        f"{zebra}-pose02": "art/animation/other.dae.cached.psa: the animation has 5 bones, the mesh 2",
        "02396427/fauna-boar": "art/meshes/gone.dae: this mesh is missing in the package",
        "01484850/fauna-shark": "art/actors/props/gone.xml: is missing in the package",
        "02403003/fauna-bull": "art/materials/none.xml: is missing in the package",
        "02325366/fauna-rabbit1": "art/actors/fauna/rabbit1.xml: is missing",
    }
    for key, reason in expected.items():
        assert reasons[key].startswith(reason), key
    assert len(reasons) == len(entries()) - 2 + 2  # two actors are good, two poses of one are not
    assert {path.name for path in tmp_path.iterdir()} == {"public.zip", "out"}


def test_models_say_whose_they_are_and_variants_of_what(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(source, out, "--poses", 1)
    credits = {model.key: model.credit for model in load_library(out)}
    lion = "02129165/fauna-lion"
    first = credits[lion]
    assert (first.author, first.licence, first.parent) == ("Wildfire Games", "CC-BY-SA-3.0", "")
    for word in (
        "0ad-data 0.0.26",
        "art/actors/fauna/lion.xml",
        "www.wildfiregames.com",
        "licenses/by-sa/3.0",
    ):
        assert word in first.source
    assert credits[f"{lion}-look02"].parent == credits[f"{lion}-pose02"].parent == lion
    assert "walk.dae" in credits[f"{lion}-pose01"].changes
    assert "walk.dae" not in credits[f"{lion}-look02"].changes
    assert not any("death" in credit.changes for credit in credits.values())
    sides = {split_of(model.key, model.parent) for model in load_library(out) if "lion" in model.key}
    assert len(sides) == 1


def test_a_run_is_the_same_again_and_more_poses_leave_those_that_were(source: Path, tmp_path: Path) -> None:
    for name, poses in (("a", 1), ("b", 1), ("c", 3)):
        run(source, tmp_path / name, "--poses", poses)
    contents = [
        {
            path.relative_to(tmp_path / name).as_posix(): path.read_bytes()
            for path in (tmp_path / name).rglob("*")
            if path.is_file() and path.parent != tmp_path / name
        }
        for name in "abc"
    ]
    assert contents[0] == contents[1]
    assert contents[0].items() < contents[2].items()
    assert run(source, tmp_path / "a", "--poses", 1) == 0
    assert run(source, tmp_path / "a", "--poses", 2) == 2  # another setting, another library


def test_a_package_an_unpacked_tree_and_a_folder_are_the_same(source: Path, tmp_path: Path) -> None:
    tree, deb = tmp_path / "tree", debian(tmp_path / "0ad-data_0.0.26-1_all.deb", source.read_bytes())
    with zipfile.ZipFile(source) as archive:
        archive.extractall(tree)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    opened = [open_package(place, scratch) for place in (source, source.parent, tree, deb)]
    assert {package.version for package in opened} == {"0.0.26"}
    for package in opened[1:]:
        assert package.names == opened[0].names
        assert all(package.read(name) == opened[0].read(name) for name in package.names)
    assert [path.name for path in scratch.iterdir()] == ["public.zip"]


@pytest.mark.parametrize(
    ("suffix", "content", "reason"),
    [
        ("", None, "apt-get download 0ad-data"),
        (".zip", b"nothing", "no readable zip"),
        (".deb", b"rubbish", "no Debian package"),
        (".deb", b"!<arch>\nrubbish", "damaged or cut"),
        (
            ".deb",
            b"!<arch>\n" + f"{'data.tar.xz':<16}{'':<32}{'9':<10}`\n".encode() + b"no tar...",
            "damaged or cut",
        ),
    ],
)
def test_a_source_that_is_none_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], suffix: str, content: bytes | None, reason: str
) -> None:
    place = tmp_path / f"package{suffix}"
    if content is not None:
        place.write_bytes(content)
    assert run(place, tmp_path / "out") == 2
    said = capsys.readouterr().err
    assert reason in said
    assert said.count("\n") == 1


def test_a_package_that_was_cut_is_one_line(source: Path, tmp_path: Path) -> None:
    deb = debian(tmp_path / "a.deb", source.read_bytes())
    deb.write_bytes(deb.read_bytes()[:-200])
    with pytest.raises(LibraryError, match="damaged or cut"):
        open_package(deb, tmp_path)


def test_another_version_is_named_and_read_all_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = game(tmp_path / "public.zip", {**FILES, **ANIMALS}, version="0.0.27")
    assert run(source, tmp_path / "out") == 0
    assert (
        "public.zip: is of version 0.0.27; what things show was looked at in 0.0.26\n"
        in capsys.readouterr().err
    )


def test_members_that_lead_out_or_unpack_to_too_much_are_not_read(tmp_path: Path) -> None:
    files = {"art/actors/a.xml": b"", "../out": b"x", "/etc": b"x", "a\\b": b"x", "bomb": bytes(2**22)}
    package = open_package(game(tmp_path / "public.zip", files, stored=False), tmp_path)
    assert package.names.isdisjoint({"../out", "/etc", "a\\b"})
    with pytest.raises(BrokenModelError, match="more than 1000 times its size"):
        package.read("bomb")
    with pytest.raises(BrokenModelError, match="more than 1"):
        package.read("mod.json", 1)


@pytest.mark.parametrize(
    "content",
    [
        b'<!DOCTYPE actor [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><actor version="1">&b;</actor>',
        '<?xml version="1.0" encoding="utf-16"?><!DOCTYPE actor><actor/>'.encode("utf-16"),
        b"<other/>",
        b"<actor>" * 100,
        b"<other>" * 70_000 + b"</other>" * 70_000,
        b"\xff\xfe\x00",
        b'<qualitylevels version="1"/>',
        b"<actor><group>" + b"<variant/>" * 2000 + b"</group></actor>",
        b" " * 2**21,
    ],
)
def test_xml_that_is_wrong_raises_the_one_error(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(BrokenModelError, match=r"art/actors/a\.xml: "):
        read_actor(package_of(tmp_path, {"art/actors/a.xml": content}), "a.xml")


def test_variants_take_from_files_but_not_in_a_circle(tmp_path: Path) -> None:
    files = {
        "art/actors/a.xml": actor([variant(texture="red.png", file="one.xml")]),
        "art/variants/one.xml": variant("arm.dae", "blue.png", 7, file="two.xml").encode(),
        "art/variants/two.xml": variant("box.dae", clips=MOVES, name="two").encode(),
        "art/actors/b.xml": actor([variant(file="circle.xml")]),
        "art/variants/circle.xml": variant(file="circle.xml").encode(),
    }
    package = package_of(tmp_path, files)
    ((found,),) = read_actor(package, "a.xml").groups
    assert (found.mesh, found.textures["baseTex"], found.frequency) == ("arm.dae", "red.png", 7)
    assert [clip.action for clip in clips(found)] == ["walk"]
    with pytest.raises(BrokenModelError, match="perhaps in a circle"):
        read_actor(package, "b.xml")


def test_looks_are_what_may_be_chosen_and_differs(tmp_path: Path) -> None:
    groups: Sequence[Sequence[str]] = (
        [variant("arm.dae", frequency=1), variant("box.dae", frequency=2), variant("gone.dae", frequency=0)],
        COATS,
        [variant(name="idle", frequency=1), variant(name="again", frequency=1)],
        [variant(name="first", props={"root": "a"}), variant(name="second")],
    )
    found = looks(read_actor(package_of(tmp_path, {"art/actors/a.xml": actor(*groups)}), "a.xml"))
    seen = Counter((look.variant.mesh, look.variant.textures["baseTex"]) for look in found)
    assert seen == Counter(
        (mesh, coat) for mesh in ("arm.dae", "box.dae") for coat in ("red.png", "blue.png")
    )
    assert all(prop.actor == "a" for look in found for prop in look.variant.props)


def test_of_levels_of_quality_the_highest_is_read(tmp_path: Path) -> None:
    inline = (
        '<inline><group><variant frequency="1" maxquality="high"><mesh>low</mesh></variant>'
        '<variant frequency="1" minquality="high"><mesh>high</mesh></variant></group></inline>'
    )
    text = f'<qualitylevels><actor quality="low"/><actor inline=""/>{inline}</qualitylevels>'
    found = read_actor(package_of(tmp_path, {"art/actors/a.xml": text.encode()}), "a.xml")
    assert [look.variant.mesh for look in looks(found)] == ["high"]


def test_props_hang_on_their_bones_and_later_groups_take_them_away(tmp_path: Path) -> None:
    """A hand at a bone that stands at (1, 0, 0), turned by 90 degrees: the prop's x is the arm's y."""
    turned = pmd(bones=(TURNED,), points={"hand": ((0.0, 0.0, 5.0, 0.0, 0.0, SIDE, SIDE), 0)})
    files = {
        MESH.format("turned"): turned,
        "art/actors/a.xml": actor(
            [variant("turned.dae", "red.png", props={"hand": "p.xml", "none": "p.xml"})]
        ),
        "art/actors/b.xml": actor(
            [variant("turned.dae", "red.png", props={"hand": "p.xml"})], [variant(props={"hand": ""})]
        ),
        "art/actors/p.xml": actor([variant("box.dae", "blue.png")]),
    }
    surface = assembled(tmp_path, files).surface
    assert len(surface) == 8  # the point that the mesh lacks carries nothing
    prop = surface.positions[np.unique(surface.triangles[surface.part == 1])]
    expected = [(1, 0, -5), (0, 0, -5), (1, -1, -5), (1, 0, -3)]  # of (0 0 0), (1 0 0), (0 1 0), (0 0 -2)
    np.testing.assert_allclose(np.unique(prop.round(5), axis=0), np.unique(expected, axis=0), atol=1e-5)
    assert len(assembled(tmp_path, files, "b.xml").surface) == 4


@pytest.mark.parametrize(
    ("material", "color", "alpha", "expected"),
    [
        ("default.xml", "", "opaque", (0, 255, 0)),
        ("basic_trans.xml", "", "mask", (0, 255, 0, 0)),
        ("player_trans.xml", "", "opaque", (0, 50, 0)),
        ("objectcolor.xml", "9 90 9", "opaque", (0, 90, 0)),
    ],
)
def test_materials_decide_what_alpha_is(
    tmp_path: Path, material: str, color: str, alpha: str, expected: tuple[int, ...]
) -> None:
    files = {"art/actors/a.xml": actor([variant("box.dae", "leaf.png", color=color)], material=material)}
    (made,) = assembled(tmp_path, files).surface.materials
    assert made.alpha == alpha
    assert made.color_texture is not None
    with Image.open(made.color_texture.path) as picture:
        assert picture.getpixel((0, 0)) == expected


@pytest.mark.parametrize("text", ["", ".", "..", "/", "../../../mod.json", "a\\b", "ä" * 300])
def test_names_that_are_none_raise_the_one_error(tmp_path: Path, text: str) -> None:
    files = {
        "art/actors/a.xml": actor([variant("box.dae", "red.png")], material=text),
        "art/actors/b.xml": actor([variant(text or ".", "red.png")]),
        "art/actors/c.xml": actor([f"<variant><mesh>box.dae</mesh>{texture_named(text)}</variant>"]),
        "art/actors/d.xml": actor([variant("box.dae", "red.png", props={"root": text or "."})]),
        "art/actors/e.xml": actor([variant(file=text or ".")]),
    }
    for name in "abcde":
        with pytest.raises(BrokenModelError):
            assembled(tmp_path, files, f"{name}.xml")


def texture_named(text: str) -> str:
    return f'<textures><texture name="baseTex" file="{text}"/></textures>'


def test_props_in_a_circle_end(tmp_path: Path) -> None:
    files = {"art/actors/a.xml": actor([variant("box.dae", "red.png", props={"root": "a.xml"})])}
    with pytest.raises(BrokenModelError, match="props of props"):
        assembled(tmp_path, files)


def test_the_table_agrees_with_imagenet() -> None:
    text = (Path(__file__).parents[3] / "gp3d_core/datasets/imagenet.tsv").read_text(encoding="utf-8")
    known = {int(row[0]): row[1] for line in text.splitlines() if (row := line.split("\t"))[0].isdigit()}
    found = [entry.object_class for entry in entries()]
    for one in found:
        assert (
            one.wnid == known[one.imagenet_index]
            if one.imagenet_index is not None
            else one.wnid not in known.values()
        )
    indices = {one.imagenet_index for one in found} - {None}
    assert sum(index <= 397 for index in indices if index is not None) >= 25  # animals end there
    assert sum(index > 397 for index in indices if index is not None) >= 15
    assert len({(one.wnid, one.name, one.synset) for one in found}) == len({one.wnid for one in found})
    assert len({entry.actor for entry in entries()}) == len(entries())


def test_an_actor_without_groups_has_one_look_that_is_nothing() -> None:
    (look,) = looks(Actor("a.xml", (), "default.xml"))
    assert look.variant == combine(())
