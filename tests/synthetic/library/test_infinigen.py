"""Objects of Infinigen's factories: the table, the child that makes one, and all the ways in which it may not."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from synthetic.layouts.imagenet import imagenet_classes
from synthetic.layouts.licences import read_licences
from synthetic.layouts.shapenet import LibraryError, load_library
from synthetic.layouts.taxonomy import SHAPENET_CATEGORIES
from synthetic.library import __main__ as command
from synthetic.library.infinigen.source import add_options, factories, open_source
from synthetic.library.writing import write_library
from synthetic.staging.stage import stage_model
from synthetic.staging.treatment import ModelLimits, Treatment
from tests.synthetic.small_library import REPOSITORY, environment

FAKE = (sys.executable, "-m", "tests.synthetic.library.fake_factory")


def options(*words: str, seed: int = 0) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_options(parser)
    return argparse.Namespace(**vars(parser.parse_args(words)), seed=seed)


def test_the_table_names_classes_that_exist() -> None:
    known = factories()
    assert len(known) >= 10
    for factory in known.values():
        made = factory.object_class
        if made.imagenet_index is None:
            assert made.synset is not None, factory
            assert SHAPENET_CATEGORIES[made.synset][0] == made.name
        else:
            assert imagenet_classes()[made.wnid] == made
        assert factory.facing in ("+x", "-x", "+y", "-y")


@pytest.mark.slow
def test_a_library_of_two_factories_is_written_and_read(tmp_path: Path) -> None:
    asked = options("--factories", "vase, Bathtub", "--per-factory", "2", "--texture", "16")
    done = write_library(tmp_path / "library", "infinigen", open_source(asked, (*FAKE, "good")))
    assert (done.new, done.failed) == (4, {})
    models = load_library(tmp_path / "library")
    assert sorted(model.object_class.name for model in models) == ["bathtub", "bathtub", "vase", "vase"]
    records = json.loads((tmp_path / "library/classes.json").read_text())
    for model in models:
        staged = stage_model(
            model.path, model.folder, tmp_path / model.identifier, ModelLimits(), Treatment(), model.placement
        )
        width, height, _ = np.ptp(staged.surface.positions, axis=0)
        record = records[model.key]
        assert width / height == pytest.approx((record["seed"] % 10 + 1) / 2, abs=1e-5)
        assert record["size_in_metres"] == [record["seed"] % 10 + 1, 2, 0.5]
        assert record["factory"] == model.identifier.partition("-")[0] + "Factory"
        assert staged.surface.normals is not None
        assert np.allclose(staged.surface.normals, [0, 0, 1], atol=1e-6)
        assert staged.surface.materials[0].roughness == pytest.approx(0.25)
    assert len({records[model.key]["seed"] for model in models}) == 2
    credits = read_licences(tmp_path / "library", [model.key for model in models])
    assert {credit.licence for credit in credits.values()} == {"BSD-3-Clause"}
    assert all("Infinigen" in credit.author for credit in credits.values())


@pytest.mark.slow
def test_the_library_may_be_named_from_where_one_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = options("--factories", "Vase", "--per-factory", "1", "--texture", "16")
    monkeypatch.chdir(tmp_path)
    done = write_library(Path("library"), "infinigen", open_source(asked, (*FAKE, "good")))
    assert (done.new, done.failed) == (1, {})
    assert [path.name for path in tmp_path.iterdir()] == ["library"]


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("fails", "ValueError: no petals"),
        ("exits", "the factory's process ended with status 3: the very last line"),
        ("dies", f"the factory's process died of signal {signal.SIGSEGV:d}"),
        ("hangs", "took longer than 3 s"),
        ("grows", "took more than 300 MB of memory"),
        ("silent", "the factory's process left no surface that can be read"),
    ],
)
@pytest.mark.slow
def test_an_object_that_fails_is_named_with_the_reason(tmp_path: Path, kind: str, reason: str) -> None:
    seconds = "3" if kind == "hangs" else "60"
    asked = options(
        "--factories", "Vase", "--per-factory", "1", "--object-seconds", seconds, "--megabytes", "300"
    )
    done = write_library(tmp_path / "library", "infinigen", open_source(asked, (*FAKE, kind)))
    assert done.new == 0
    assert [said[: len(reason)] for said in done.failed.values()] == [reason]
    assert not list((tmp_path / "library").glob("*/*/models"))


@pytest.mark.slow
def test_sigterm_ends_the_child_too(tmp_path: Path) -> None:
    mark = tmp_path / "child"
    program = (
        "import sys; from functools import partial; from synthetic.library import __main__ as m;"
        "from synthetic.library.infinigen import source as i;"
        f"i.open_source = partial(i.open_source, command={(*FAKE, f'hangs:{mark}')!r});"
        f"sys.exit(m.main(['infinigen', {str(tmp_path / 'library')!r}, '--factories', 'Vase']))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=REPOSITORY,
        env=environment(tmp_path / "scratch"),
        stderr=subprocess.PIPE,
        text=True,
    )
    until = time.monotonic() + 60
    while not (mark.exists() and mark.read_text()) and time.monotonic() < until:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGTERM
    assert "the same command continues" in said
    with pytest.raises(ProcessLookupError):
        os.kill(int(mark.read_text()), 0)
    assert not (tmp_path / "library/.workspace").exists()


def test_what_cannot_be_is_said_in_one_line(tmp_path: Path) -> None:
    for words, said in (
        (("--factories", "Unicorn"), "'Unicorn' is no factory that is known here"),
        (("--per-factory", "0"), "--per-factory must be at least 1, found 0"),
        (("--texture", "9000"), "--texture must be at most 8192"),
        (("--object-seconds", "0"), "--object-seconds and --megabytes must be more than 0"),
    ):
        with pytest.raises(LibraryError, match=said):
            open_source(options(*words), (*FAKE, "good"))


def test_without_infinigen_one_line_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "infinigen" else found("json")
    )
    assert command.main(["infinigen", str(tmp_path / "library")]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "Infinigen needs infinigen, not installed here: pip install" in said
    assert "--no-deps infinigen==" in said
    assert not (tmp_path / "library").exists()


@pytest.mark.slow
@pytest.mark.blender
def test_blender_cannot_be_sent_online(tmp_path: Path) -> None:
    """As Infinigen tries on its import: the preference is set, and then an operator grants itself the access."""
    program = (
        "import os; from pathlib import Path; from synthetic.workers.blender_process import prepare_blender;"
        f"prepare_blender(Path({str(tmp_path)!r})); import bpy; print(hasattr(bpy.types, 'EXTENSIONS_OT_repo_sync'));"
        "from synthetic.blender.offline import stay_offline; stay_offline();\n"
        "try:\n    bpy.ops.extensions.userpref_allow_online()\nexcept AttributeError:\n    print('refused')\n"
        "print(bpy.app.online_access, flush=True); os._exit(0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    assert done.stdout.split() == ["True", "refused", "False"]


@pytest.mark.slow
@pytest.mark.blender
@pytest.mark.skipif(importlib.util.find_spec("infinigen") is None, reason="Infinigen is not installed")
def test_infinigens_own_desk_is_the_same_twice(tmp_path: Path) -> None:
    asked = ["infinigen", "--factories", "SimpleDesk", "--per-factory", "1"]
    for name in ("one", "two"):
        assert command.main([asked[0], str(tmp_path / name), *asked[1:]]) == 0
    files = [
        sorted(path for path in (tmp_path / name).rglob("*") if path.is_file()) for name in ("one", "two")
    ]
    assert len(files[0]) >= 8
    for first, second in zip(*files, strict=True):
        assert first.read_bytes() == second.read_bytes(), first
