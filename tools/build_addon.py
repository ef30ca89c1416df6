"""Builds the Blender add-on: dist/gp3d-VERSION.zip.

    .venv/bin/python tools/build_addon.py [--out dist]

Where the bpy wheel is, Blender's own extension tool checks it; building needs no Blender.
Besides, dist/gp3d-VERSION-legacy.zip: the same files in a folder, as Blender 3.4 to 4.1 install add-ons.
blender_addon/classes.json is made from gp3d_core/datasets/imagenet.tsv, gp3d_core/assets/real_sizes.tsv and the headers
of the pretrained models, which themselves stay with the engine; the build fails if it is out of date, and `--classes`
writes it, and copies of the core's modules that find classes by what is typed. So it is with the version, which is
gp3d_core's: `--version` copies it into the manifest and into bl_info.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from gp3d_core import __version__
from gp3d_core.assets.real_sizes import real_sizes
from gp3d_core.datasets.imagenet import describe_class
from gp3d_core.licences.page import short_credits
from gp3d_core.pretrained import name_of, shipped_models
from gp3d_core.pretrained.report_cards import card_of
from gp3d_core.snapshots.catalogue import catalogue

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "blender_addon"
_MOMENT = (1980, 1, 1, 0, 0, 0)  # the same files give the same zip


def extension_tool() -> Path | None:
    """Blender's command for extensions, which lies in the bpy wheel; None without it."""
    spec = importlib.util.find_spec("bpy")
    folder = Path(spec.origin).parent if spec and spec.origin else Path("bpy")
    found = sorted(folder.glob("*/scripts/addons_core/bl_pkg/cli/blender_ext.py"))
    return found[-1] if found else None


def class_list() -> str:
    """The content of classes.json."""
    lines = (ROOT / "gp3d_core/datasets/imagenet.tsv").read_text(encoding="utf-8").splitlines()
    rows = [line.split("\t") for line in lines if not line.startswith("#")][1:]
    notice = (
        "ImageNet-1k classes: index, WordNet id, names. WordNet 3.0, (c) 2006 Princeton University, free under the "
        "WordNet licence, this notice must stay; index and order: the timm project, Apache-2.0."
    )
    sizes = {wnid: size.metres for wnid, size in real_sizes().items()}
    entries = ",\n".join(
        json.dumps([int(index), wnid, names.split(", "), sizes[wnid]]) for index, wnid, names, _ in rows
    )
    known = ",\n".join(map(json.dumps, pretrained_classes()))
    models = ",\n".join(map(json.dumps, pretrained_models()))
    return (
        f'{{"notice": {json.dumps(notice)},\n"classes": [\n{entries}\n],\n"pretrained": [\n{known}\n],\n'
        f'"models": [\n{models}\n]}}\n'
    )


def copies() -> dict[Path, bytes]:
    """Files of the add-on that are the core's, because packages never import one another: how a class is found."""
    source = ROOT / "gp3d_core/datasets"
    found = {SOURCE / "words/words.tsv.gz": (source / "words.tsv.gz").read_bytes()}
    for name in ("class_matching.py", "class_names.py", "misspellings.py", "word_table.py"):
        text = (source / name).read_text(encoding="utf-8").replace("from gp3d_core.datasets.", "from .")
        found[SOURCE / "words" / name] = text.encode("utf-8")
    return found


def pretrained_classes() -> list[dict[str, Any]]:
    """The classes of the pretrained models, as little of each as a menu shows; none without a model."""
    if not shipped_models():
        return []
    shown = ("name", "imagenet_index", "wnid", "badge", "geometry", "model")
    entries = [
        describe_class(one)
        | {"model": name_of(facts.path), "geometry": (card_of(facts.path, one) or {}).get("badge")}
        for facts, one in catalogue().known
    ]
    return [{key: entry[key] for key in shown} for entry in entries]


def pretrained_models() -> list[dict[str, str]]:
    """What the panel says of the pretrained models: name, licence, and who must be credited."""
    if not shipped_models():
        return []
    return [
        {
            "name": name_of(facts.path),
            "license": facts.license,
            "credits": short_credits(facts.licences),
        }
        for facts in catalogue().models
    ]


def versioned() -> dict[Path, str]:
    """What the two files that name a version should hold: gp3d_core's."""
    numbers = ", ".join(__version__.split("."))
    places = (
        ("blender_manifest.toml", r'^version = "[^"]*"', f'version = "{__version__}"'),
        ("__init__.py", r'"version": \([^)]*\)', f'"version": ({numbers})'),
    )
    files = {}
    for name, pattern, line in places:
        text, found = re.subn(pattern, line, (SOURCE / name).read_text("utf-8"), count=1, flags=re.MULTILINE)
        if not found:
            raise RuntimeError(f"blender_addon/{name} names no version: expected a line like {line}")
        files[SOURCE / name] = text
    return files


def validate(path: Path) -> None:
    """Lets Blender's tool, if there is one, look at a folder or zip; raises RuntimeError with what it criticises."""
    tool = extension_tool()
    if tool is None:
        return
    done = subprocess.run(
        [sys.executable, tool, "validate", path],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    if done.returncode:
        raise RuntimeError((done.stdout + done.stderr).strip())


def write_zip(out: Path, folder: str = "") -> None:
    """The files of the add-on, in `folder` within the zip; the same files give the same bytes."""
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as target:
        for path in sorted(SOURCE.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                entry = zipfile.ZipInfo(f"{folder}{path.relative_to(SOURCE).as_posix()}", _MOMENT)
                entry.compress_type = zipfile.ZIP_DEFLATED
                target.writestr(entry, path.read_bytes())


def build(out: Path) -> list[Path]:
    """Writes both zips into `out` and returns them. Raises RuntimeError if something is not as it must be."""
    if (SOURCE / "classes.json").read_text(encoding="utf-8") != class_list():
        raise RuntimeError("blender_addon/classes.json is out of date; type: tools/build_addon.py --classes")
    for path, text in versioned().items():
        if path.read_text(encoding="utf-8") != text:
            raise RuntimeError(
                f"blender_addon/{path.name} names another version; type: tools/build_addon.py --version"
            )
    for path, content in copies().items():
        if not path.is_file() or path.read_bytes() != content:
            raise RuntimeError(
                f"blender_addon/words/{path.name} is out of date; type: tools/build_addon.py --classes"
            )
    out.mkdir(parents=True, exist_ok=True)
    extension, legacy = out / f"gp3d-{__version__}.zip", out / f"gp3d-{__version__}-legacy.zip"
    with tempfile.TemporaryDirectory(dir=out) as scratch:
        made, flat = Path(scratch) / extension.name, Path(scratch) / legacy.name
        validate(SOURCE)
        write_zip(made)
        validate(made)
        write_zip(flat, "gp3d/")
        os.replace(made, extension)
        os.replace(flat, legacy)
    return [extension, legacy]


def main() -> int:
    """Entry point; exit code 1 and one line if the build fails."""
    parser = argparse.ArgumentParser(
        description="Build the Blender add-on, and validate it where bpy is installed."
    )
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="folder of the zips (default dist)")
    parser.add_argument(
        "--classes", action="store_true", help="only write classes.json and copies of modules anew"
    )
    parser.add_argument(
        "--version", action="store_true", help="only write gp3d_core's version into the add-on"
    )
    options = parser.parse_args()
    if options.classes:
        (SOURCE / "classes.json").write_text(class_list(), encoding="utf-8")
        for path, content in copies().items():
            path.write_bytes(content)
    if options.version:
        for path, text in versioned().items():
            path.write_text(text, encoding="utf-8")
    if options.classes or options.version:
        return 0
    try:
        for path in build(options.out):
            print(f"{path} ({path.stat().st_size} bytes)")
    except RuntimeError as error:
        print(f"build_addon: {error}", file=sys.stderr)
        return 1
    if extension_tool() is None:
        print(
            "not validated: Blender's module bpy, which `make setup-all` installs, is not here",
            file=sys.stderr,
        )
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("stopped")
