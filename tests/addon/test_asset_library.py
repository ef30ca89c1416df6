"""tools/asset_library.py: a library of a micro model's objects, opened here, and online by Blender 5.2 where it is.

GP3D_BLENDER_PYTHONS names Pythons with other Blenders, separated as in PATH.
"""

from __future__ import annotations

import functools
import http.server
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
import urllib.parse
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from tests.addon.conftest import ROOT, load_tool

pytestmark = [pytest.mark.slow, pytest.mark.blender]

CLASSES = ("coffee mug", "mushroom")
FILES = {f"gp3d_{name.replace(' ', '_')}_3.blend" for name in CLASSES}
TEXTS = {"LICENSE.txt", "README.txt", "_asset-library-meta.json", "blender_assets.cats.txt"}
LIMIT = 600_000  # bytes a file may have, where the disk is to be full: the texture of an object has more


def surroundings() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder of an untrained model, made in a process of its own: torch and Blender stay apart."""
    folder = tmp_path_factory.mktemp("micro")
    command = [sys.executable, "-m", "tests.addon.micro_run", str(folder)]
    subprocess.run(command, cwd=ROOT, env=surroundings(), check=True, timeout=120)
    return folder / "run"


def library(
    out: Path, *options: object, prepare: Callable[[], None] | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs the tool to its end."""
    return subprocess.run(
        [sys.executable, ROOT / "tools/asset_library.py", out, "--seeds", "3", *map(str, options)],
        env=surroundings(),
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
        umask=0o022,
        preexec_fn=prepare,
    )


@pytest.fixture(scope="module")
def made(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("library") / "of two"
    run = library(out, "--model", model)
    assert run.returncode == 0, run.stderr
    assert f"{out}: 2 assets, " in run.stdout
    return out


def opened(python: str, files: list[Path]) -> list[dict]:
    """What the Blender of a Python says of the assets in files."""
    code = (
        "import json, os, pathlib, sys; from tests.addon.online_library import describe\n"
        "print(json.dumps([describe(pathlib.Path(file)) for file in sys.argv[1:]]), flush=True); os._exit(0)"
    )
    run = subprocess.run(
        [python, "-c", code, *map(str, files)],
        cwd=ROOT,
        env=surroundings(),
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return json.loads(run.stdout.splitlines()[-1])


def test_assets_are_marked_and_complete(made: Path) -> None:
    assert {path.name for path in made.iterdir()} == FILES | TEXTS
    assert [path.name for path in made.parent.iterdir()] == [made.name], "nothing is left beside it"
    assert all(path.stat().st_mode & 0o444 == 0o444 for path in made.iterdir()), "others may read it"
    catalogs = {
        line.split(":")[1]: line.split(":")[0]
        for line in (made / "blender_assets.cats.txt").read_text().splitlines()
        if line.count(":") == 2 and not line.startswith("#")
    }
    assert set(catalogs) == {f"GP3D/{name}" for name in CLASSES}
    for asset, name in zip(opened(sys.executable, sorted(made.glob("*.blend"))), CLASSES, strict=True):
        assert asset["name"] == f"gp3d_{name.replace(' ', '_')}_3"
        assert asset["catalog"] == catalogs[f"GP3D/{name}"]
        assert name in asset["tags"]
        assert asset["author"] == "The GP3D authors"
        assert asset["license"] == json.loads(asset["recipe"])["recipe"]["license"]
        assert asset["preview"] == [256, 256]
        assert asset["faces"] > 100
        recipe = json.loads(asset["recipe"])
        assert asset["texture"] == [recipe["recipe"]["texture_size"]] * 2
        assert (recipe["recipe"]["class"]["name"], recipe["recipe"]["seed"]) == (name, 3)
        assert asset["texture"] == [recipe["recipe"]["texture_size"]] * 2


def test_no_path_of_this_machine_is_published(made: Path, model: Path) -> None:
    for path in made.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                packed = file.read(4) == b"\x28\xb5\x2f\xfd"
                file.seek(0)
                reader = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
                content = (reader if packed else file).read()
            for folder in (ROOT, made.parent, model.parent, Path.home()):
                assert bytes(folder) not in content, (path, folder)


def test_what_cannot_be_made_is_one_line_and_leaves_nothing(made: Path, model: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    out = tmp_path / "library"
    cases = (
        (made, (), f"{made}: is there already; remove it, or choose another folder"),
        (tmp_path / "file/library", (), "expected a folder, found a file"),
        (Path("/proc/library"), (), "nothing can be written"),
        (out, ("--classes", "spaceship"), "spaceship"),
        (out, ("--seeds", "some"), "--seeds expects numbers and ranges"),
        (out, ("--blender", "/bin/true"), "expected Blender 5.2 or newer, found no Blender"),
        (out, ("--blender", tmp_path / "none"), "cannot be started"),
    )
    for folder, options, message in cases:
        run = library(folder, "--model", model, *options)
        assert run.returncode == 2, (options, run.stderr)
        assert run.stderr.startswith("error: ")
        assert message in run.stderr
        assert run.stderr.count("\n") == 1, run.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_full_disk_is_one_line_and_leaves_nothing(model: Path, tmp_path: Path) -> None:
    limited = functools.partial(resource.setrlimit, resource.RLIMIT_FSIZE, (LIMIT, LIMIT))
    run = library(tmp_path / "library", "--model", model, prepare=limited)
    assert run.returncode == 2, run.stderr
    last = run.stderr.splitlines()[-1]
    assert last.startswith("error: coffee mug, seed 3: ")
    assert "Traceback" not in run.stderr
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_removed_by_the_next(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "library"
    command = [sys.executable, ROOT / "tools/asset_library.py", out, "--seeds", "3", "--model", model]
    process = subprocess.Popen(command, env=surroundings(), stderr=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".gp3d-*/new/library")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not out.exists()
    assert list(tmp_path.glob(".gp3d-*"))
    run = library(out, "--model", model, "--classes", "mushroom")
    assert run.returncode == 0, run.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["library"]
    assert len(list(out.glob("*.blend"))) == 1


def test_old_blenders_do_not_list(tmp_path: Path) -> None:
    tool = load_tool("asset_library")
    for version, refused in (("4.5.15 LTS", True), ("5.1.0", True), ("5.2.3 LTS", False), ("5.10.0", False)):
        program = tmp_path / version
        program.write_text(f"#!/bin/sh\necho Blender {version}\n")
        program.chmod(0o755)
        if refused:
            with pytest.raises(tool.LibraryError, match=f"found Blender {version.split()[0]}"):
                tool.check_blender(str(program))
        else:
            tool.check_blender(str(program))


def newest() -> str:
    """A Python with Blender 5.2 or newer; skips without one."""
    for python in filter(None, os.environ.get("GP3D_BLENDER_PYTHONS", "").split(os.pathsep)):
        code = "from importlib.metadata import version; print(version('bpy'))"
        version = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout
        if tuple(map(int, version.split(".")[:2])) >= (5, 2):
            return python
    pytest.skip("GP3D_BLENDER_PYTHONS names no Python with Blender 5.2 or newer")


def test_blender_reads_the_library_from_a_web_server(model: Path, made: Path, tmp_path: Path) -> None:
    python = newest()
    blender = tmp_path / "blender"  # the wheel has no such program; this is what it does
    blender.write_text(
        f"#!{python}\n"
        "import os, sys, bpy\n"
        "if sys.argv[1:] == ['--version']:\n"
        "    print('Blender', bpy.app.version_string, flush=True), os._exit(0)\n"
        "assert sys.argv[1:3] == ['-c', 'asset_listing']\n"
        "from _bpy_internal.assets.remote_library import asset_listing_main\n"
        "os._exit(asset_listing_main(sys.argv[3:]) or 0)\n"
    )
    blender.chmod(0o755)
    out, cache = tmp_path / "site/library", tmp_path / "cache"
    run = library(out, "--model", model, "--blender", blender)
    assert run.returncode == 0, run.stderr
    (page,) = (json.loads(path.read_text()) for path in out.glob("_v1/assets-*.json"))
    assert [asset["files"] for asset in page["assets"]] == [[name] for name in sorted(FILES)]
    assert all((out / asset["thumbnail"]["url"]).stat().st_size > 500 for asset in page["assets"])
    assert json.loads((out / "_asset-library-meta.json").read_text())["name"] == "GP3D"

    cache.mkdir()
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=out.parent)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        place = f"127.0.0.1:{server.server_address[1]}"
        address = urllib.parse.urlunsplit(("http", place, "/library/", "", ""))
        read = subprocess.run(
            [python, ROOT / "tests/addon/online_library.py", address, cache],
            env=surroundings(),
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        server.shutdown()
    assert read.returncode == 0, read.stderr
    downloaded = json.loads(read.stdout.splitlines()[-1])
    assert downloaded == opened(python, sorted(out.glob("*.blend")))
    assert {asset["name"] + ".blend" for asset in downloaded} == FILES
    assert opened(python, sorted(made.glob("*.blend")))[0]["preview"] == [256, 256]
