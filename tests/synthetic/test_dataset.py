"""The dataset folder without Blender: depth code, whole files, index, and what may be continued."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from synthetic import dataset, dataset_index
from synthetic.atomic import remove_parts, write_whole
from synthetic.dataset import DatasetError, ModelSource, RenderedView, Settings
from synthetic.layouts.licences import Credit
from synthetic.layouts.shapenet import Model, ObjectClass, split_of
from synthetic.staging.treatment import Treatment
from synthetic.viewpoints import ViewDistribution, Viewpoint

MUG = ObjectClass("n03063599", "coffee mug", 504, "03797390")
TABLE = ObjectClass("n04379243", "table", None, "04379243")
SETTINGS = Settings(resolution=8)
SOURCE = ModelSource({"model.obj": "ab" * 32}, 12, np.diag([-1.0, 1.0, -1.0, 1.0]))
FRONT = Viewpoint(yaw=0.1, pitch=1.5)


def model(identifier: str, object_class: ObjectClass = MUG) -> Model:
    return Model(f"{object_class.synset}/{identifier}", Path("nowhere.obj"), object_class)


def picture() -> RenderedView:
    depth = np.full((8, 8), np.inf, dtype=np.float32)
    depth[2:5, 3:6] = 1.9
    color = np.full((8, 8, 3), 255, dtype=np.uint8)
    color[2:5, 3:6] = (200, 30, 10)
    return RenderedView(color, depth, np.isfinite(depth))


def write(folder: Path, which: Model, view: int = 0) -> str:
    dataset.write_view(folder, which, view, FRONT, picture(), SETTINGS, SOURCE)
    return dataset.view_name(which, view)


def write_index(folder: Path, failures: dict[str, str] | None = None) -> dict[str, object]:
    dataset_index.write_index(folder, SETTINGS, failures or {}, {"name": "test"}, "mine")
    index: dict[str, object] = json.loads((folder / "dataset.json").read_text())
    return index


def test_depth_code_has_its_ends_and_middle_where_the_format_says() -> None:
    distance = np.array([1.0, 1.45, 2.0, 2.55, 9.0, np.inf])
    code = dataset.encode_depth(distance, 1.45, 2.55)
    assert code.tolist() == [0, 0, 32768, 65535, 65535, 65535]
    assert code.dtype == np.uint16
    np.testing.assert_allclose(code[1:3] / 65536 * 2 - 1, [-1.0, 0.0])


def test_depth_code_is_exact_to_half_a_step() -> None:
    distance = np.linspace(1.45, 2.5499, 10001)
    back = 1.45 + dataset.encode_depth(distance, 1.45, 2.55) / 65536 * (2.55 - 1.45)
    assert np.abs(back - distance).max() <= 1.1 / 131072 + 1e-12


def test_view_is_there_only_when_all_of_its_files_are(tmp_path: Path) -> None:
    name = write(tmp_path, model("a"), 7)
    assert name == "n03063599/a_007"
    files = sorted(path.name for path in (tmp_path / "n03063599").iterdir())
    assert files == ["a_007.png", "a_007_camera.json", "a_007_depth.png", "a_007_geometry.npz"]
    for file in files:
        assert dataset.views_in(tmp_path) == {name}
        (tmp_path / "n03063599" / file).rename(tmp_path / "aside")
        assert not dataset.views_in(tmp_path)
        (tmp_path / "aside").rename(tmp_path / "n03063599" / file)


def test_files_of_a_view_hold_what_was_seen(tmp_path: Path) -> None:
    name, seen = write(tmp_path, model("a")), picture()
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / f"{name}.png")), seen.color)
    with Image.open(tmp_path / f"{name}_depth.png") as depth:
        assert depth.mode == "I;16"
        assert np.asarray(depth)[0, 0] == 65535
    with np.load(tmp_path / f"{name}_geometry.npz", allow_pickle=False) as geometry:
        np.testing.assert_array_equal(geometry["z_depth"], seen.z_depth)
        np.testing.assert_array_equal(geometry["mask"], seen.mask)
        assert geometry["ray_distance"].dtype == np.float32
        tangent = np.tan(np.radians(20)) * np.array([(3 - 3.5) / 3.5, (4 - 3.5) / 3.5])
        np.testing.assert_allclose(
            geometry["ray_distance"][4, 3], 1.9 * np.sqrt(1 + (tangent**2).sum()), rtol=1e-6
        )


def test_geometry_holds_what_was_asked_for_and_nothing_else(tmp_path: Path) -> None:
    flat, green = np.zeros((8, 8, 3), np.float32), np.full((8, 8, 3), (0, 255, 0), np.uint8)
    plain = {"z_depth", "ray_distance", "mask"}
    for more in ({}, {"normals": flat}, {"albedo": green}, {"normals": flat, "albedo": green}):
        seen = replace(picture(), **more)
        dataset.write_view(tmp_path, model("a"), 0, FRONT, seen, SETTINGS, SOURCE)
        with np.load(tmp_path / "n03063599/a_000_geometry.npz", allow_pickle=False) as geometry:
            assert set(geometry) == plain | set(more)
            for key, array in more.items():
                np.testing.assert_array_equal(geometry[key], array)
                assert geometry[key].dtype == array.dtype


def test_arrays_of_the_geometry_are_files_as_numpy_writes_them_whatever_their_order(tmp_path: Path) -> None:
    rows = np.arange(192, dtype=np.float32).reshape(8, 3, 8)
    seen = replace(picture(), normals=rows.transpose(0, 2, 1), albedo=np.asfortranarray(picture().color))
    dataset.write_view(tmp_path, model("a"), 0, FRONT, seen, SETTINGS, SOURCE)
    with zipfile.ZipFile(tmp_path / "n03063599/a_000_geometry.npz") as archive:
        for key, array in (("normals", seen.normals), ("albedo", seen.albedo), ("mask", seen.mask)):
            usual = io.BytesIO()
            np.save(usual, np.ascontiguousarray(array))
            assert archive.read(f"{key}.npy") == usual.getvalue()


def test_notes_stand_in_records_and_manifest_only_where_there_are_any(tmp_path: Path) -> None:
    noted = replace(SOURCE, notes={"lights ignored": 2, "animations ignored": 1})
    write(tmp_path, model("a"))
    dataset.write_view(tmp_path, model("b"), 0, FRONT, picture(), SETTINGS, noted)
    record = json.loads((tmp_path / "n03063599/b_000_camera.json").read_text())
    assert record["source"]["notes"] == {"animations ignored": 1, "lights ignored": 2}
    write_index(tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())["models"]
    assert manifest["03797390/b"]["notes"] == record["source"]["notes"]
    assert set(manifest["03797390/a"]) == {"sha256", "faces", "to_world", "split"}


def test_index_has_contiguous_labels_and_sorted_paths(tmp_path: Path) -> None:
    names = [write(tmp_path, model("b", TABLE)), write(tmp_path, model("z")), write(tmp_path, model("a"), 1)]
    index = write_index(tmp_path, {"03797390/bad": "is empty"})
    assert index["labels"] == [
        ["n03063599/a_001.png", 0],
        ["n03063599/z_000.png", 0],
        ["n04379243/b_000.png", 1],
    ]
    assert [entry[0] for entry in index["labels"]] == sorted(f"{name}.png" for name in names)
    assert index["classes"] == [
        {"label": 0, "wnid": "n03063599", "name": "coffee mug", "imagenet_index": 504, "synset": "03797390"},
        {"label": 1, "wnid": "n04379243", "name": "table", "imagenet_index": None, "synset": "04379243"},
    ]
    assert index["camera_angles"][0] == ["n03063599/a_001.png", [0.1, 1.5, 0.0]]
    assert (index["format"], index["version"], index["resolution"]) == ("gp3d-dataset", 1, 8)
    assert (index["t_near"], index["t_far"], index["license"]) == (1.45, 2.55, "mine")
    assert index["failures"] == [{"model": "03797390/bad", "reason": "is empty"}]
    cameras = json.loads((tmp_path / "cameras.json").read_text())
    assert cameras["convention"] == "gp3d-1"
    view = cameras["views"]["n04379243/b_000.png"]
    assert set(view) == {
        "model",
        "yaw",
        "pitch",
        "roll",
        "fov",
        "radius",
        "look_at",
        "cam2world",
        "intrinsics",
    }
    assert view["model"] == "04379243/b"
    np.testing.assert_array_equal(view["cam2world"], FRONT.cam2world())


def test_index_says_whose_models_are_shown_and_keeps_variants_on_their_side(tmp_path: Path) -> None:
    scopia, nobody = (
        Credit("Scopia", "CC-BY-3.0", "a library", "moved"),
        Credit("", "CC0-1.0", "", "", fault="ours"),
    )
    base = next(str(k) for k in range(99) if split_of(f"03797390/{k}") == "test")
    credited = {name: replace(model(name), credit=scopia) for name in ("a", base, "variant")}
    credited["c"] = replace(model("c"), credit=nobody)
    credited["variant"] = replace(credited["variant"], parent=f"03797390/{base}")
    credited["d"] = model("d")
    for which in credited.values():
        write(tmp_path, which)
        write(tmp_path, which, 1)
    index = write_index(tmp_path)
    assert index["licences"] == [
        {"licence": "CC-BY-3.0", "author": "Scopia", "source": "a library", "changes": "moved", "models": 3},
        {"licence": "CC0-1.0", "author": "", "source": "", "changes": "", "models": 1},
        {"licence": "unknown", "author": "", "source": "", "changes": "", "models": 1},
    ]
    dataset_index.write_index(tmp_path, SETTINGS, {}, {"name": "test"}, "")
    assert json.loads((tmp_path / "dataset.json").read_text())["license"] == (
        "CC-BY-3.0, CC0-1.0 and unknown; see licences"
    )
    manifest = json.loads((tmp_path / "manifest.json").read_text())["models"]
    assert manifest["03797390/a"]["licence"] == scopia.as_json()
    assert "licence" not in manifest["03797390/d"]
    assert split_of("03797390/variant") == "train"  # by its own name
    variant, parent = manifest["03797390/variant"], manifest[f"03797390/{base}"]
    assert (variant["parent"], "parent" in parent) == (f"03797390/{base}", False)
    assert (variant["split"], parent["split"]) == ("test", "test")


def test_index_of_models_of_which_nothing_is_said_is_as_before(tmp_path: Path) -> None:
    write(tmp_path, model("a"))
    dataset_index.write_index(tmp_path, SETTINGS, {}, {"name": "test"}, "")
    index = json.loads((tmp_path / "dataset.json").read_text())
    assert "licences" not in index
    assert index["license"] == "the licences of the source models apply"


@pytest.mark.parametrize("source", [{"licence": {"author": "A"}}, {"licence": 3}, {"parent": 3}, 3])
def test_a_record_with_a_damaged_licence_is_rendered_again(tmp_path: Path, source: object) -> None:
    name = write(tmp_path, model("a"))
    path = tmp_path / f"{name}_camera.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"source": source}))
    assert dataset_index.remove_damaged(tmp_path) == [f"{name}_camera.json (its view is rendered again)"]


def test_index_leaves_out_views_that_lack_a_file(tmp_path: Path) -> None:
    write(tmp_path, model("a"))
    name = write(tmp_path, model("b"))
    (tmp_path / f"{name}_depth.png").unlink()
    assert write_index(tmp_path)["labels"] == [["n03063599/a_000.png", 0]]


def test_a_write_that_fails_leaves_the_old_file_and_no_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_whole(tmp_path / "file", b"old")

    def full_disk(self: Path, content: bytes) -> int:
        with self.open("wb") as file:
            file.write(content[:1])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(OSError, match="No space"):
        write_whole(tmp_path / "file", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_bytes() == b"old"


def test_dataset_of_the_same_settings_is_continued_and_remembers_failures(tmp_path: Path) -> None:
    assert dataset_index.open_dataset(tmp_path / "new", SETTINGS) == {}
    write(tmp_path, model("a"))
    write_index(tmp_path, {"03797390/bad": "is empty"})
    assert dataset_index.open_dataset(tmp_path, SETTINGS) == {"03797390/bad": "is empty"}


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (Settings(resolution=16), r"resolution 8 \(asked for: 16\)"),
        (Settings(resolution=8, seed=4), "seed 0"),
        (Settings(resolution=8, samples=1), "samples 16"),
        (Settings(resolution=8, albedo=True), "albedo False"),
        (Settings(resolution=8, treatment=Treatment(cutouts="solid")), "cutouts cut"),
        (Settings(resolution=8, cameras=ViewDistribution(yaw=(0.5, 0.1))), "yaw"),
    ],
)
def test_dataset_of_other_settings_is_refused(tmp_path: Path, other: Settings, message: str) -> None:
    write(tmp_path, model("a"))
    write_index(tmp_path)
    with pytest.raises(DatasetError, match=message):
        dataset_index.open_dataset(tmp_path, other)


def test_dataset_of_an_older_version_is_continued_with_what_it_did_then(tmp_path: Path) -> None:
    write(tmp_path, model("a"))
    write_index(tmp_path)
    index = json.loads((tmp_path / "dataset.json").read_text())
    del index["generator"]["settings"]["albedo"], index["generator"]["settings"]["treatment"]["cutouts"]
    (tmp_path / "dataset.json").write_text(json.dumps(index))
    assert dataset_index.open_dataset(tmp_path, SETTINGS) == {}
    with pytest.raises(DatasetError, match="cutouts cut"):
        dataset_index.open_dataset(tmp_path, replace(SETTINGS, treatment=Treatment(cutouts="solid")))


def test_settings_come_back_from_json() -> None:
    settings = Settings(albedo=True, normals=True, treatment=Treatment("opaque", "color", "solid"))
    assert Settings.from_json(json.loads(json.dumps(settings.as_json()))) == settings


def test_dataset_without_views_takes_other_settings(tmp_path: Path) -> None:
    write_index(tmp_path, {"03797390/bad": "is empty"})
    assert dataset_index.open_dataset(tmp_path, Settings(resolution=16)) == {"03797390/bad": "is empty"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not the index"),
        ("[]", "not the index"),
        ('{"labels": []}', "not the index"),
        ('{"format": "gp3d-dataset", "version": 2}', "found gp3d-dataset version 2"),
        ('{"format": "gp3d-dataset", "version": 1, "labels": []}', "not made by this program"),
        (
            '{"format": "gp3d-dataset", "version": 1, "labels": [], "failures": [], "generator": {"settings": {}}}',
            "not made by this program",
        ),
    ],
)
def test_folder_with_a_foreign_index_is_refused_and_kept(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "dataset.json").write_text(content)
    with pytest.raises(DatasetError, match=message):
        dataset_index.open_dataset(tmp_path, SETTINGS)
    assert [path.name for path in tmp_path.iterdir()] == ["dataset.json"]
    assert (tmp_path / "dataset.json").read_text() == content


@pytest.mark.parametrize(
    "cut",
    [
        lambda whole: whole[: len(whole) // 2],
        lambda whole: b"",
        lambda whole: b"[1, 2]",
        lambda whole: whole.replace(b'"yaw"', b'"way"'),
        lambda whole: whole.replace(b'"wnid"', b'"dinw"'),
        lambda whole: b"\xff" + whole,
    ],
)
def test_damaged_camera_record_goes_so_that_its_view_is_rendered_again(
    tmp_path: Path, cut: Callable[[bytes], bytes]
) -> None:
    names = [write(tmp_path, model("a")), write(tmp_path, model("b"))]
    record = tmp_path / f"{names[0]}_camera.json"
    record.write_bytes(cut(record.read_bytes()))
    assert dataset_index.remove_damaged(tmp_path) == [f"{names[0]}_camera.json (its view is rendered again)"]
    assert dataset.views_in(tmp_path) == {names[1]}
    assert dataset_index.write_index(tmp_path, SETTINGS, {}, {}, "") == 1
    assert dataset_index.remove_damaged(tmp_path) == []


def test_torn_line_of_the_failures_goes_and_the_others_stay(tmp_path: Path) -> None:
    lines = [
        '{"model": "03797390/a", "reason": "is empty"}',
        '{"model": "03797390/b", "rea',
        "7",
        '{"model": 1}',
    ]
    (tmp_path / "failures.jsonl").write_text("\n".join(lines))
    (damaged,) = dataset_index.remove_damaged(tmp_path)
    assert damaged == "3 lines of failures.jsonl (their models are tried again)"
    assert (tmp_path / "failures.jsonl").read_text() == lines[0] + "\n"
    assert dataset_index.open_dataset(tmp_path, SETTINGS) == {"03797390/a": "is empty"}


def test_damaged_index_says_the_way_on(tmp_path: Path) -> None:
    write(tmp_path, model("a"))
    dataset_index.write_index(tmp_path, SETTINGS, {}, {}, "")
    index = tmp_path / "dataset.json"
    index.write_bytes(index.read_bytes()[:99])
    with pytest.raises(DatasetError, match=r"is damaged.*remove the file.*the same command writes it again"):
        dataset_index.open_dataset(tmp_path, SETTINGS)
    index.unlink()
    assert dataset_index.open_dataset(tmp_path, SETTINGS) == {}
    assert dataset_index.write_index(tmp_path, SETTINGS, {}, {}, "") == 1


def test_half_written_files_of_killed_runs_go(tmp_path: Path) -> None:
    name = write(tmp_path, model("a"))
    for part in (tmp_path / ".dataset.json.part", (tmp_path / name).with_name(".a_000.png.part")):
        part.write_bytes(b"x")
    remove_parts(tmp_path)
    assert not list(tmp_path.rglob("*.part"))
    assert dataset.views_in(tmp_path) == {name}


@pytest.mark.parametrize("numbers", [{"resolution": 3}, {"resolution": 5000}, {"samples": 0}])
def test_impossible_settings_raise(numbers: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="found"):
        Settings(**numbers)


@pytest.mark.parametrize(
    ("name", "said"),
    [("taxonomy.json", "is a model library"), ("letter.txt", "holds 'letter.txt' and no dataset.json")],
)
def test_views_do_not_go_among_the_files_of_something_else(name: str, said: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("[]")
    with pytest.raises(DatasetError, match=said):
        dataset_index.check_place(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_views_go_where_there_is_nothing_or_their_own_data_set(tmp_path: Path) -> None:
    """Also where points were made before, beside hidden files, and where the index was lost."""
    dataset_index.check_place(tmp_path / "new")
    for name in ("points", ".desktop"):
        (tmp_path / name).mkdir()
    dataset_index.check_place(tmp_path)
    write(tmp_path, model("a"))
    dataset_index.check_place(tmp_path)
    write_index(tmp_path)
    (tmp_path / "letter.txt").write_text("")
    dataset_index.check_place(tmp_path)
