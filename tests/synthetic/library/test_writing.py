"""A library that is written, interrupted, continued, refused: always whole models, always the same bytes."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from synthetic.layouts.licences import LicenceFilter
from synthetic.layouts.shapenet import BrokenModelError, LibraryError, ObjectClass, load_library
from synthetic.library.__main__ import kind_of, main, report
from synthetic.library.models import LibraryJob, LibraryModel, LibrarySource
from synthetic.library.writing import Written, chosen, write_library
from synthetic.staging.surface import Material
from tests.synthetic.library.test_obj import CREDIT, surface
from tests.synthetic.small_library import command, environment

MUG = ObjectClass("n03063599", "coffee mug", 504, "03797390")
CHAIR = ObjectClass("n03001627", "chair", None, "03001627")
OTHER_FORMAT = '{"format": "x", "version": 1, "source": "tests", "settings": {}}'
NO_SETTINGS = '{"format": "gp3d-library", "version": 1, "source": "tests", "settings": [1]}'
LOCK = """import fcntl, sys, time
file = open(sys.argv[1], "w")
fcntl.flock(file, fcntl.LOCK_EX)
print(1, flush=True)
time.sleep(60)
"""


def job(name: str, kind: ObjectClass = MUG, reason: str = "", calls: list[str] | None = None) -> LibraryJob:
    def make(workspace: Path) -> LibraryModel:
        assert list(workspace.iterdir()) == []
        (workspace / "scratch").write_text("anything")
        if calls is not None:
            calls.append(name)
        if reason:
            raise BrokenModelError(reason)
        return LibraryModel(surface(Material(name)), CREDIT, {"title": name})

    return LibraryJob(name, kind, make)


def contents(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_what_is_there_is_kept(tmp_path: Path) -> None:
    """Another run makes what is missing only; failed models are left alone until they are tried again."""
    calls: list[str] = []
    first = LibrarySource([job("a", calls=calls), job("b", reason="is broken", calls=calls)])
    done = write_library(tmp_path / "out", "tests", first)
    assert (done.new, done.kept, done.others, done.failed) == (1, 0, 0, {"03797390/b": "is broken"})
    more = LibrarySource([job("b", calls=calls), job("c", CHAIR, calls=calls)])
    done = write_library(tmp_path / "out", "tests", more)
    assert (done.new, done.kept, done.others, done.failed) == (1, 0, 1, {"03797390/b": "is broken"})
    done = write_library(tmp_path / "out", "tests", more, retry=True)
    assert (done.new, done.kept, done.others, done.failed) == (1, 1, 1, {})
    assert calls == ["a", "b", "c", "b"]
    assert not (tmp_path / "out/failures.jsonl").exists()
    models = load_library(tmp_path / "out")
    assert [model.key for model in models] == ["03001627/c", "03797390/a", "03797390/b"]
    assert all(model.credit == CREDIT for model in models)
    assert not list((tmp_path / "out").rglob(".*"))


def test_a_corrected_licence_counts(tmp_path: Path) -> None:
    """A model is written anew once its source names another licence, and goes where that one is not wanted."""
    out = tmp_path / "out"
    write_library(out, "tests", LibrarySource([replace(job("a"), licence=CREDIT.licence)]))
    corrected = replace(CREDIT, licence="CC-BY-NC-4.0")

    def make(workspace: Path) -> LibraryModel:
        return replace(job("a").make(workspace), credit=corrected)

    other = LibrarySource([replace(job("a"), make=make, licence=corrected.licence)])
    done = write_library(out, "tests", other)
    assert (done.new, done.kept) == (1, 0)
    assert [model.credit for model in load_library(out)] == [corrected]
    assert write_library(out, "tests", other).kept == 1
    first = LibrarySource([replace(job("a"), licence=CREDIT.licence)])
    done = write_library(out, "tests", first, licences=LicenceFilter.parse("cc-by-nc"))
    assert (done.new, dict(done.left_out)) == (0, {CREDIT.licence: 1})
    assert not (out / "03797390/a").exists()


def test_models_of_other_licences_that_are_there_are_named(tmp_path: Path) -> None:
    """Nobody takes a library for free because of the last --licences: what others are in it is counted and said."""
    out = tmp_path / "out"
    bound = replace(CREDIT, licence="CC-BY-3.0")

    def make(workspace: Path) -> LibraryModel:
        return replace(job("a").make(workspace), credit=bound)

    first = replace(job("a"), make=make)
    assert not write_library(out, "tests", LibrarySource([first, job("b", CHAIR)])).unwanted
    done = write_library(out, "tests", LibrarySource([job("c")]), licences=LicenceFilter.parse("cc0"))
    assert (done.new, done.others, dict(done.unwanted)) == (1, 2, {"CC-BY-3.0": 1})
    said = report(out, done).splitlines()[1]
    assert said.startswith("1 models of earlier runs stay in it that --licences leaves out: CC-BY-3.0 (1); ")
    assert not write_library(
        out, "tests", LibrarySource([]), licences=LicenceFilter.parse("cc0,cc-by")
    ).unwanted


def test_half_made_models_are_made_again(tmp_path: Path) -> None:
    """What a killed process leaves: a hidden folder, a model without its OBJ, a lost index, a torn line."""
    out = tmp_path / "out"
    source = LibrarySource([job("a"), job("b", CHAIR), job("c", reason="is broken")])
    write_library(out, "tests", source)
    whole = contents(out)
    (out / "03797390/.a.partial/models").mkdir(parents=True)
    (out / "03797390/.a.partial/models/model_normalized.mtl").write_text("newmtl m")
    (out / "03001627/b/models/model_normalized.obj").unlink()
    (out / "classes.json").unlink()
    (out / "licences.jsonl").write_text("")
    with (out / "failures.jsonl").open("a") as file:
        file.write('{"model": "03797390/c", "rea')
    done = write_library(out, "tests", source)
    assert (done.new, done.kept) == (1, 1)
    assert contents(out) == whole


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda out: (out / "library.json").unlink(), "no library of this command"),
        (lambda out: (out / "library.json").write_text("{"), "cannot be read"),
        (
            lambda out: (out / "library.json").write_text(OTHER_FORMAT),
            "was made by x 1",
        ),
        (lambda out: (out / "library.json").write_text(NO_SETTINGS), "cannot be read"),
    ],
)
def test_folders_of_something_else_are_refused(
    change: Callable[[Path], object], said: str, tmp_path: Path
) -> None:
    """And stay as they are."""
    out = tmp_path / "out"
    write_library(out, "tests", LibrarySource([job("a")]))
    change(out)
    before = contents(out)
    with pytest.raises(LibraryError, match=said):
        write_library(out, "tests", LibrarySource([job("b")]))
    assert {key: text for key, text in contents(out).items() if key != ".lock"} == before


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(LibraryError, match="is no folder; expected a new one"):
        write_library(tmp_path / "out", "tests", LibrarySource([job("a")]))


def test_hidden_folders_of_somebody_else_stay(tmp_path: Path) -> None:
    """Half-made models alone go, in OUT and not behind a link."""
    out, outside = tmp_path / "out", tmp_path / "outside"
    write_library(out, "tests", LibrarySource([job("a")]))
    kept = [out / "mine/.git", out / "03797390/.git", outside / ".a.partial", outside / ".git"]
    gone = out / "03797390/.b.partial"
    for path in (*kept, gone):
        path.mkdir(parents=True)
    (out / "elsewhere").symlink_to(outside)
    write_library(out, "tests", LibrarySource([job("a")]))
    assert [path.is_dir() for path in kept] == [True] * 4
    assert not gone.exists()


def test_other_sources_and_settings_are_refused(tmp_path: Path) -> None:
    write_library(tmp_path, "tests", LibrarySource([job("a")], settings={"up": "+y", "seed": 0}))
    with pytest.raises(LibraryError, match=r"up was '\+y', is '\+z'"):
        write_library(tmp_path, "tests", LibrarySource([job("a")], settings={"up": "+z", "seed": 0}))
    with pytest.raises(LibraryError, match="of 'tests'"):
        write_library(tmp_path, "others", LibrarySource([job("a")], settings={"up": "+y", "seed": 0}))


def test_two_processes_exclude_one_another(tmp_path: Path) -> None:
    with subprocess.Popen(["python3", "-c", LOCK, tmp_path / ".lock"], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(LibraryError, match="another process is writing it"):
            write_library(tmp_path, "tests", LibrarySource([job("a")]))
        other.kill()
    assert write_library(tmp_path, "tests", LibrarySource([job("a")])).new == 1


def test_names_and_classes_that_clash(tmp_path: Path) -> None:
    other = ObjectClass("n03063599", "mug", 504, "03797390")
    source = LibrarySource(
        [job("a"), job("a"), job("../x"), job("b", other)], {"gone": "its file is missing"}
    )
    done = write_library(tmp_path / "out", "tests", source)
    assert done.new == 1
    assert {key: reason.split(" ")[0] for key, reason in done.failed.items()} == {
        "03797390/a (again)": "another",
        "03797390/../x": "its",
        "03797390/b": "its",
        "gone": "its",
    }
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


def test_a_choice_of_classes_and_a_limit() -> None:
    source = LibrarySource([job("a"), job("b"), job("c", CHAIR), job("d", CHAIR), job("e")])
    assert [one.identifier for one in chosen(source, "", 3).jobs] == ["a", "c", "b"]
    assert [one.identifier for one in chosen(source, "chair, 504", None).jobs] == ["a", "c", "b", "d", "e"]
    assert [one.identifier for one in chosen(source, "Coffee_Mug", None).jobs] == ["a", "b", "e"]
    assert [one.identifier for one in chosen(source, "n03001627", 1).jobs] == ["c"]
    with pytest.raises(LibraryError, match="'stool' is no class of this source; it has 2: chair, coffee mug"):
        chosen(source, "chair,stool", None)


def test_the_report_counts_by_reason() -> None:
    done = Written(
        3, 2, 1, {f"m{n}": f"its texture t{n}.png is missing from the model's folder" for n in range(4)}
    )
    done.failed["other"] = "12 of its triangles have a texture but no place in it"
    done.notes["glitter"] = 2
    assert report(Path("out"), done).splitlines() == [
        "out: 3 written, 2 kept, 1 others in it",
        "5 models failed, all in failures.jsonl:",
        "  4 x its texture … is missing from the model's folder",
        "  1 x … of its triangles have a texture but no place in it",
        "models with glitter: 2",
    ]
    assert kind_of("its class 'crane' may be n01 (a)") == "its class … may be … (a)"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_stopped_run_goes_on(number: signal.Signals, tmp_path: Path) -> None:
    """By the same command, to the same bytes as one that ran through; what there is can be used, unless killed."""
    tree, table = tmp_path / "tree", tmp_path / "table.csv"
    tree.mkdir()
    lines = ["class,file,licence"]
    for name in range(80):
        (tree / f"{name}.obj").write_text(f"v 0 0 0\nv {name + 1} 0 0\nv 0 1 0\nv 0 0 1\nf 1 2 3\nf 1 3 4\n")
        lines.append(f"504,{name}.obj,CC0-1.0")
    table.write_text("\n".join(lines))
    out = tmp_path / "out"
    words = command("synthetic.library", "folder", tree, out, "--table", table)
    child = subprocess.Popen(words, env=environment(tmp_path / "scratch"), stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while len(list(out.glob("03797390/[!.]*/models/*.obj"))) < 5 and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(child.pid, number)
    _, shown = child.communicate(timeout=60)
    there = len(list(out.glob("03797390/[!.]*/models/*.obj")))
    assert 5 <= there < 80
    if number != signal.SIGKILL:
        assert child.returncode == 128 + number
        assert "stopped; the same command continues" in shown
        assert "Traceback" not in shown
        assert len(load_library(out)) == there
    assert main(["folder", str(tree), str(out), "--table", str(table)]) == 0
    assert main(["folder", str(tree), str(tmp_path / "through"), "--table", str(table)]) == 0
    assert contents(out) == contents(tmp_path / "through")
    assert len(load_library(out)) == 80
