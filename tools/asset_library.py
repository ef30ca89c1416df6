"""Writes an asset library of a model's objects, for Blender 4.2 and newer (`make asset-library`).

    .venv/bin/python tools/asset_library.py OUT [--classes NAMES] [--seeds 0-1] [--model MODEL] [--blender PROGRAM]

OUT holds one .blend file an object, as the add-on saves it, with catalogue, tags, picture, author and licence. In
Blender it is opened as a local asset library. With `--blender`, a Blender 5.2 or newer writes its listing beside them,
and OUT can be put on a web server as an online asset library. OUT appears whole or not at all.
Exit code 0, 2 for bad input or where a file cannot be written, 1 after Ctrl-C, which leaves nothing behind.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from tqdm import tqdm

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from gp3d_core import __version__  # noqa: E402  the path comes first
from gp3d_core.atomic import check_writable, transaction  # noqa: E402
from gp3d_core.cli.arguments import parse_seeds  # noqa: E402
from gp3d_core.datasets.imagenet import choose_classes  # noqa: E402
from gp3d_core.errors import GP3DError  # noqa: E402
from gp3d_core.pretrained import FOLDER, is_name, name_of  # noqa: E402
from gp3d_core.snapshots.catalogue import Catalogue, catalogue  # noqa: E402
from tools.build_addon import build  # noqa: E402

LISTED = (5, 2)  # the first Blender that reads libraries from web servers, and writes their listings
_LAST_LINES = 5


class LibraryError(GP3DError):
    """The library cannot be made; the message is one line."""


def chosen(models: Catalogue, names: str, seeds: str) -> list[tuple[str, int]]:
    """Classes and seeds of the objects: all that the models know where `names` is empty. Raises GP3DError."""
    if not models.classes:
        raise LibraryError(f"{models.path}: was trained without classes, and catalogues are named after them")
    known = [str(record["name"]) for record in models.classes]
    classes = [entry.entry.name for entry in choose_classes([names], models.classes)] if names else known
    return [(name, seed) for name in classes for seed in parse_seeds(seeds)]


def engine_model(models: Catalogue) -> str:
    """What the engine is started with: the name or path of the one model, nothing where the class decides."""
    if len(models.models) > 1:
        return ""
    name = name_of(models.path)
    return name if is_name(name) else str(models.path)


def make(out: Path, models: Catalogue, objects: Sequence[tuple[str, int]], blender: str) -> None:
    """Writes the library. Raises GP3DError or OSError; then `out` is not there."""
    if out.exists():
        raise LibraryError(f"{out}: is there already; remove it, or choose another folder")
    check_writable(out)
    if blender:
        check_blender(blender)
    out.parent.mkdir(parents=True, exist_ok=True)
    with transaction(out.parent) as aside:
        folder = aside.path / out.name
        folder.mkdir()
        with tempfile.TemporaryDirectory(prefix="gp3d-assets-") as scratch:
            write_objects(folder, Path(scratch), models, objects)
        write_texts(folder, models, len(objects))
        if blender:
            write_listing(folder, blender)
        os.rename(folder, out)


def write_objects(folder: Path, scratch: Path, models: Catalogue, objects: Sequence[tuple[str, int]]) -> None:
    """Has the add-on make the objects in a Blender of its own, with a bar on the screen. Raises LibraryError."""
    job = {
        "addon": str(build(scratch / "dist")[0]),
        "engine": str(Path(sys.executable).with_name("gp3d")),
        "model": engine_model(models),
        "folder": str(folder),
        "objects": [list(pair) for pair in objects],
    }
    surroundings = {**os.environ, "BLENDER_USER_RESOURCES": str(scratch / "blender"), "TMPDIR": str(scratch)}
    with (scratch / "log").open("w+") as log:
        child = subprocess.Popen(
            [sys.executable, ROOT / "tools/asset_library_blender.py", json.dumps(job)],
            env=surroundings,
            stdout=subprocess.PIPE,
            stderr=log,
            stdin=subprocess.DEVNULL,
            text=True,
        )
        try:
            assert child.stdout is not None
            problem = ""
            with tqdm(total=len(objects), unit="asset", disable=None) as bar:
                for line in child.stdout:
                    event = json.loads(line)
                    problem = event.get("error", problem)
                    bar.update("done" in event)
            if child.wait() or problem:
                log.seek(0)
                last = " ".join(log.read().split("\n")[-_LAST_LINES:]).strip()
                raise LibraryError(problem or f"Blender ended with code {child.returncode}: {last}")
        finally:
            child.kill()
            child.wait()


def write_texts(folder: Path, models: Catalogue, count: int) -> None:
    """A page for people, the texts of licences, and the name of the library for Blender's listing."""
    shutil.copy(ROOT / "LICENSE", folder / "LICENSE.txt")
    names = [name_of(facts.path) for facts in models.models]
    for page in (FOLDER / f"{name}.LICENSE.md" for name in names):
        if page.is_file():
            shutil.copy(page, folder / page.name)
    model = "the pretrained model" if names == ["box"] else f"the model {' and '.join(names)}"
    lines = (
        f"{count} objects of {model} of GP3D {__version__}, written by Blender {metadata.version('bpy')}.",
        "The licence of each stands in its asset's metadata (Asset Browser, sidebar). Apache-2.0 is in LICENSE.txt.",
        "",
        "On this machine: Blender, Preferences, File Paths, Asset Libraries, +, and choose this folder.",
        "",
        "On a web server, for Blender 5.2 and newer: put your name into _asset-library-meta.json, let Blender list",
        "the folder, which is to be done again whenever a file has changed, and put the folder where it can be read:",
        "    blender -c asset_listing generate FOLDER",
        "In the other Blenders: Preferences, Asset Libraries, +, the address of the folder.",
    )
    (folder / "README.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    meta = {"api_versions": {}, "name": "GP3D", "contact": {"name": "GP3D"}}
    (folder / "_asset-library-meta.json").write_text(json.dumps(meta, indent=2) + "\n", encoding="utf-8")


def check_blender(program: str) -> None:
    """Raises LibraryError unless `program` is a Blender that can list libraries."""
    try:
        run = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LibraryError(f"--blender {program}: cannot be started ({error})") from None
    words = run.stdout.split()
    version = words[1] if words[:1] == ["Blender"] and len(words) > 1 else ""
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())
    if numbers < LISTED:
        found = f"Blender {version}" if version else "no Blender"
        raise LibraryError(f"--blender {program}: expected Blender 5.2 or newer, found {found}")


def write_listing(folder: Path, program: str) -> None:
    """Has Blender list the library for web servers. Raises LibraryError."""
    command = [program, "-c", "asset_listing", "generate", str(folder)]
    run = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if run.returncode or not list(folder.glob("_v1/asset-index.json")):
        last = " ".join((run.stderr or run.stdout).split("\n")[-_LAST_LINES:]).strip()
        raise LibraryError(f"{program} could not list the library: {last}")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, metavar="OUT", help="the library's folder, which is made")
    parser.add_argument("--classes", default="", help="names separated by commas (default: all of the model)")
    parser.add_argument("--seeds", default="0-1", help="numbers and ranges (default: 0-1)")
    parser.add_argument(
        "--model",
        type=Path,
        help="snapshot, run folder or name of a pretrained model (default: those that have the classes)",
    )
    parser.add_argument("--blender", default="", help="a Blender 5.2 or newer, to list the library")
    arguments = parser.parse_args(argv)
    began = time.monotonic()
    try:
        models = catalogue(arguments.model)
        objects = chosen(models, arguments.classes, arguments.seeds)
        make(arguments.out.absolute(), models, objects, arguments.blender)
    except (GP3DError, OSError) as error:
        where = (
            f"{error.filename}: {error.strerror}" if isinstance(error, OSError) and error.filename else error
        )
        print(f"error: {where}", file=sys.stderr)
        return 2
    size = sum(path.stat().st_size for path in arguments.out.rglob("*") if path.is_file()) / 1e6
    print(
        f"{arguments.out}: {len(objects)} assets, {size:.0f} MB, in {time.monotonic() - began:.0f} s; see README.txt"
    )
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("stopped")
