"""There and back: the same bytes; what was changed, cut or forged in between is refused in one line."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.synthetic.exchange.boxes_data import export, files_in

FORMATS = ("nerf", "bop", "webdataset")


@pytest.fixture(scope="module")
def exports(data: Path) -> dict[str, Path]:
    outs = {to: data.parent / f"out-{to}" for to in FORMATS}
    for to, out in outs.items():
        assert export(data, "--to", to, out) == 0
    return outs


@pytest.mark.parametrize("to", FORMATS)
def test_the_same_bytes_come_back(data: Path, exports: dict[str, Path], tmp_path: Path, to: str) -> None:
    assert export(exports[to], "--to", "gp3d", tmp_path / "back") == 0
    assert files_in(tmp_path / "back") == files_in(data)


@pytest.mark.parametrize("to", FORMATS)
def test_zips_are_read_as_folders_are(data: Path, exports: dict[str, Path], tmp_path: Path, to: str) -> None:
    shutil.make_archive(str(tmp_path / "data"), "zip", data.parent, data.name)
    assert export(tmp_path / "data.zip", "--to", to, tmp_path / "out") == 0
    assert {n: c for n, c in files_in(tmp_path / "out").items() if n != "export.json"} == {
        n: c for n, c in files_in(exports[to]).items() if n != "export.json"
    }
    shutil.make_archive(str(tmp_path / "export"), "zip", tmp_path / "out")
    assert export(tmp_path / "export.zip", "--to", "gp3d", tmp_path / "back") == 0
    assert files_in(tmp_path / "back") == files_in(data)


@pytest.mark.parametrize("to", [*FORMATS, "gp3d"])
def test_what_was_left_half_done_goes_on(
    data: Path, exports: dict[str, Path], tmp_path: Path, to: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = exports["nerf"] if to == "gp3d" else data
    whole = tmp_path / "whole"
    assert export(source, "--to", to, whole) == 0
    for most in (1, 4, 9):
        with monkeypatch.context() as patch:
            stop_after(patch, most)
            assert export(source, "--to", to, tmp_path / "out") in (0, 130)
    assert export(source, "--to", to, tmp_path / "out") == 0
    assert files_in(tmp_path / "out") == files_in(whole)
    assert export(source, "--to", to, tmp_path / "out") == (2 if to == "gp3d" else 0)


def stop_after(patch: pytest.MonkeyPatch, most: int) -> None:
    """Has Ctrl-C come when `most` more files are about to be written."""
    from synthetic.exchange.folder import ExportFolder

    has, asked = ExportFolder.has, iter(range(most))

    def counting(folder: ExportFolder, name: str) -> bool:
        there = has(folder, name)
        if not there and next(asked, None) is None:
            folder._stop.signal = 2
        return has(folder, name)

    patch.setattr(ExportFolder, "has", counting)


def refused(capsys: pytest.CaptureFixture[str], words: str, *arguments: object) -> None:
    assert export(*arguments) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.strip().count("\n") == 0
    assert error.startswith("error: ")


def edit(path: Path, change: Callable[[dict], object]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("to", "name", "change"),
    [
        (
            "nerf",
            "scenes/n03797390/wide/transforms.json",
            lambda t: t["frames"][0]["transform_matrix"][0].reverse(),
        ),
        (
            "nerf",
            "scenes/n03797390/wide/transforms.json",
            lambda t: t["frames"][0].update(file_path="../../../x"),
        ),
        ("bop", None, lambda t: t["0"].update(depth_scale=3)),
    ],
)
def test_cameras_that_were_changed_do_not_go_back(
    exports: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    to: str,
    name: str | None,
    change: Callable[[dict], object],
) -> None:
    shutil.copytree(exports[to], tmp_path / "in")
    edit(tmp_path / "in" / name if name else next((tmp_path / "in").rglob("scene_camera.json")), change)
    refused(capsys, "has been changed since", tmp_path / "in", "--to", "gp3d", tmp_path / "out")


FORGED = ("../../outside.png", "/outside.png", "n03797390\\..\\outside.png", "n03797390/../../outside.png")


@pytest.mark.parametrize("name", FORGED)
def test_names_that_lead_out_are_refused(
    data: Path, exports: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    shutil.copytree(data, tmp_path / "in")
    edit(tmp_path / "in/dataset.json", lambda index: index["labels"][0].__setitem__(0, name))
    for to in FORMATS:
        refused(capsys, "no path of a picture", tmp_path / "in", "--to", to, tmp_path / "out")
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as packed:
        packed.writestr("dataset.json", (data / "dataset.json").read_bytes())
        packed.writestr(zipfile.ZipInfo(name), b"x")
    if "\\" not in name:  # zipfile itself turns it into a slash elsewhere, and keeps it here
        refused(capsys, "no path of a file", tmp_path / "in.zip", "--to", "nerf", tmp_path / "out")
    shutil.copytree(exports["webdataset"], tmp_path / "shards")
    forge(next((tmp_path / "shards").glob("*.tar")), tarfile.TarInfo(name))
    refused(capsys, "no path of a file", tmp_path / "shards", "--to", "gp3d", tmp_path / "back")
    assert not list(tmp_path.rglob("outside*"))
    assert not list(tmp_path.parent.glob("outside*"))


def forge(path: Path, entry: tarfile.TarInfo, content: bytes = b"") -> None:
    """Puts an entry before all others of a tar."""
    rest = path.read_bytes()
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        tar.addfile(entry, io.BytesIO(content))
        length = tar.offset
    path.write_bytes(stream.getvalue()[:length] + rest)


def linked(kind: bytes) -> tarfile.TarInfo:
    entry = tarfile.TarInfo("n03797390/wide_000.png")
    entry.type, entry.linkname = kind, "/etc/passwd"
    return entry


def huge() -> tarfile.TarInfo:
    entry = tarfile.TarInfo("n03797390/wide_000.png")
    entry.size = 1 << 40
    return entry


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (linked(tarfile.SYMTYPE), "no plain file"),
        (linked(tarfile.LNKTYPE), "no plain file"),
        (linked(tarfile.FIFOTYPE), "no plain file"),
        (tarfile.TarInfo("n03797390/stranger.png"), "is no view of the data set"),
    ],
)
def test_entries_of_shards_that_are_no_views(
    exports: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    entry: tarfile.TarInfo,
    words: str,
) -> None:
    shutil.copytree(exports["webdataset"], tmp_path / "in")
    forge(next((tmp_path / "in").glob("*.tar")), entry)
    refused(capsys, words, tmp_path / "in", "--to", "gp3d", tmp_path / "out")


def test_shards_that_claim_too_much_or_are_cut(
    exports: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, damage in enumerate(
        (
            lambda path: path.write_bytes(huge().tobuf() + path.read_bytes()),
            lambda path: path.write_bytes(path.read_bytes()[:7000]),
            lambda path: path.write_bytes(b"no tar" * 1000),
            lambda path: path.unlink(),
        )
    ):
        folder = tmp_path / f"in{number}"
        shutil.copytree(exports["webdataset"], folder)
        damage(next(folder.glob("*.tar")))
        refused(capsys, "", folder, "--to", "gp3d", tmp_path / f"out{number}")
        assert not (tmp_path / f"out{number}/dataset.json").exists()


LATE = (
    "no readable picture",
    "pixels, expected 40",
    "no readable npz",
)  # seen when other files have been written


def test_links_and_lies_in_the_data_are_refused(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "secret.png").write_bytes(b"secret")
    picture = "n03797390/wide_000.png"
    damages: dict[str, Callable[[Path], object]] = {
        "leads out of it": lambda root: (
            (root / picture).unlink(),
            (root / picture).symlink_to(tmp_path / "secret.png"),
        ),
        "1 of its pictures are missing, such as n03797390/wide_000.png": lambda root: (
            root / picture
        ).unlink(),
        "no readable picture": lambda root: (root / picture).write_bytes(b"GIF"),
        "pixels, expected 40": lambda root: shutil.copy(root / "../wrong.png", root / picture),
        "no readable npz": lambda root: (root / "n03797390/wide_000_geometry.npz").write_bytes(b"PK"),
        "turns by no rotation": lambda root: edit(
            root / "cameras.json", lambda c: c["views"][picture]["cam2world"][0].__setitem__(0, 9)
        ),
        "finite numbers": lambda root: edit(
            root / "cameras.json", lambda c: c["views"][picture]["cam2world"][0].__setitem__(3, 1e999)
        ),
        "3 rows of 3": lambda root: edit(
            root / "cameras.json", lambda c: c["views"][picture]["intrinsics"].pop()
        ),
        "has no camera": lambda root: edit(root / "cameras.json", lambda c: c["views"].pop(picture)),
        "which is no class": lambda root: edit(
            root / "dataset.json", lambda i: i["labels"][0].__setitem__(1, 99)
        ),
        "a resolution of": lambda root: edit(root / "dataset.json", lambda i: i.update(resolution=10**9)),
        "not valid JSON": lambda root: (root / "cameras.json").write_text("["),
        "expected gp3d-dataset": lambda root: edit(root / "dataset.json", lambda i: i.update(version=2)),
    }
    from PIL import Image

    Image.new("RGB", (7, 7)).save(tmp_path / "wrong.png")
    for number, (words, damage) in enumerate(damages.items()):
        root = tmp_path / f"in{number}"
        shutil.copytree(data, root)
        damage(root)
        refused(capsys, words, root, "--to", "nerf", tmp_path / f"out{number}")
        assert not (tmp_path / f"out{number}/export.json").exists()
        assert (tmp_path / f"out{number}").exists() == (words in LATE)


@pytest.mark.parametrize("to", FORMATS)
@pytest.mark.parametrize(
    ("ending", "said"),
    [
        (".png", "no readable picture"),
        ("_depth.png", "no readable picture"),
        ("_geometry.npz", "no readable npz"),
    ],
)
def test_files_that_were_cut_do_not_travel(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], to: str, ending: str, said: str
) -> None:
    """A picture whose head is whole, too: whoever gets the export would find out in the middle of a training."""
    shutil.copytree(data, tmp_path / "data")
    path = tmp_path / f"data/n03797390/wide_000{ending}"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])
    refused(capsys, said, tmp_path / "data", "--to", to, tmp_path / "out")
    assert not (tmp_path / "out/export.json").exists()


def test_two_scenes_of_one_model_go_back_as_they_were(data: Path, tmp_path: Path) -> None:
    shutil.copytree(data, tmp_path / "data")

    def rename(cameras: dict[str, Any]) -> None:
        for record in cameras["views"].values():
            record["model"] = "03797390/wide"

    edit(tmp_path / "data/cameras.json", rename)
    assert export(tmp_path / "data", "--to", "bop", tmp_path / "out") == 0
    assert export(tmp_path / "out", "--to", "gp3d", tmp_path / "back") == 0
    assert files_in(tmp_path / "back") == files_in(tmp_path / "data")


def test_folders_that_hold_something_else_are_left_alone(
    data: Path, exports: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full/letter.txt").write_text("dear")
    refused(capsys, "holds other files, such as letter.txt", data, "--to", "nerf", tmp_path / "full")
    refused(capsys, "with other options", data, "--to", "nerf", "--masks", exports["nerf"])
    refused(capsys, "lies in", data, "--to", "nerf", data / "below")
    refused(
        capsys, "means nothing with --to nerf", data, "--to", "nerf", "--millimetres", 3, tmp_path / "new"
    )
    refused(capsys, "above 0", data, "--to", "bop", "--millimetres", "nan", tmp_path / "new")
    refused(capsys, "has no export.json", data, "--to", "gp3d", tmp_path / "new")
    refused(capsys, "nothing is there", tmp_path / "no", "--to", "nerf", tmp_path / "new")
    assert files_in(tmp_path) == {"full/letter.txt": b"dear"}
