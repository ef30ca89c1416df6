"""Pictures of the add-on in a real Blender window: docs/addon-*.png (`make addon-gui`).

    .venv/bin/python tools/addon_gui.py [--blender PROGRAM] [--only TAKE] [--picture FILE] [--out docs]

Starts Xvfb and Blender (Debian: apt-get install blender xvfb imagemagick python3-numpy), installs the built add-on
there, does what its buttons do, and takes pictures before, during and after. Works with Blender 3.4 and newer; needs no
graphics card. Continuous integration does not run it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
DISPLAY = os.environ.get("GP3D_DISPLAY", ":77")
PATIENCE = 900  # seconds of a take
WIDTH = 1600
HEIGHTS = {  # of the window in each take; pictures of the export and the relief are to be looked at, not for the page
    "generating": 1000,
    "class": 700,
    "trust": 1000,
    "browser": 1460,
    "panels": 1100,
    "more": 1300,
    "export": 1000,
    "samples": 1000,
    "picture": 1000,
    "relief": 1200,
}
PAGE = (
    "before",
    "during",
    "after",
    "class",
    "trust",
    "browser",
    "panels",
    "panels-more",
    "samples",
    "picture",
)  # in docs/addon.md


@contextmanager
def running(command: list[str]) -> Iterator[subprocess.Popen]:
    """A process that ends with the block."""
    process = subprocess.Popen(
        command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def path_with(engine: Path | None) -> str:
    """A PATH on which gp3d is that of the engine, None for no gp3d at all: the panel shows no path of this machine."""
    others = [place for place in os.environ["PATH"].split(":") if not (Path(place) / "gp3d").exists()]
    return ":".join([*([str(engine)] if engine else []), *others])


def play(
    blender: str,
    zips: list[Path],
    take: str,
    size: tuple[int, int],
    folder: Path,
    path: str,
    choices: list[str],
) -> None:
    """Lets a fresh Blender, its window of `size` (width, height), play a take into `folder`.

    Raises RuntimeError with the end of its log.
    """
    width, height = size
    folder.mkdir()
    environment = {**os.environ, "DISPLAY": DISPLAY, "LIBGL_ALWAYS_SOFTWARE": "1", "PATH": path}
    environment |= {
        f"BLENDER_USER_{kind}": str(folder / kind)
        for kind in ("CONFIG", "SCRIPTS", "EXTENSIONS", "DATAFILES")
    }
    window = ["--factory-startup", "--window-geometry", "0", "0", str(width), str(height)]
    script = ["--python", str(ROOT / "tools/addon_gui_blender.py"), "--"]
    with running(["Xvfb", DISPLAY, "-screen", "0", f"{width}x{height}x24", "+extension", "GLX"]):
        time.sleep(2)
        command = [blender, *window, *script, *map(str, zips), take, str(folder), *choices]
        with (folder / "log").open("w") as log:
            process = subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=log)
            until = time.monotonic() + PATIENCE
            while process.poll() is None and time.monotonic() < until:
                for wish in folder.glob("*.wish"):
                    command = [
                        "import",
                        "-window",
                        "root",
                        "-crop",
                        wish.read_text(),
                        "+repage",
                        wish.with_suffix(".png"),
                    ]
                    subprocess.run(command, env=environment, check=True, timeout=60)
                    wish.unlink()
                time.sleep(0.05)
            process.kill()
    if process.wait():
        raise RuntimeError(f"{take}: {(folder / 'log').read_text(errors='replace')[-2000:]}")


def main() -> int:
    """Takes the pictures; exit code 3 if a program is missing, 1 if a take failed."""
    parser = argparse.ArgumentParser(description="Take pictures of the add-on in a real Blender window.")
    parser.add_argument("--blender", default="blender", help="program (default: the one on PATH)")
    parser.add_argument("--snapshot", default="", help="model to use (default: the one that comes along)")
    parser.add_argument("--image-model", default="", help="VQ3D snapshot (default: the one that comes along)")
    parser.add_argument(
        "--picture", help="what Image to 3D shall be shown with; without it that picture stays"
    )
    parser.add_argument("--photo", help="what Relief from Depth shall be shown with, by --depth-model")
    parser.add_argument("--depth-model", help="weights of TCMonoDepth small")
    parser.add_argument("--only", choices=HEIGHTS, help="take no others")
    parser.add_argument(
        "--size",
        type=int,
        nargs=2,
        metavar=("WIDTH", "HEIGHT"),
        help=f"of the window (default: {WIDTH} and what the take shows)",
    )
    parser.add_argument("--engine", type=Path, default=ROOT / ".venv/bin", help="folder of gp3d")
    parser.add_argument("--out", type=Path, default=ROOT / "docs", help="folder of the pictures")
    parser.add_argument("--all", action="store_true", help="keep also pictures that the page does not show")
    options = parser.parse_args()
    if missing := [name for name in (options.blender, "Xvfb", "import") if shutil.which(name) is None]:
        print(f"addon_gui: missing {', '.join(missing)}; see the first lines of {__file__}", file=sys.stderr)
        return 3
    wanted = {"picture": options.picture, "relief": options.photo and options.depth_model}
    takes = [options.only] if options.only else [take for take in HEIGHTS if wanted.get(take, True)]
    with tempfile.TemporaryDirectory(prefix="gp3d-gui-") as scratch:
        build = [sys.executable, ROOT / "tools/build_addon.py", "--out", scratch]
        subprocess.run(build, check=True, stdout=subprocess.DEVNULL, timeout=300)
        zips = sorted(Path(scratch).glob("*.zip"), key=lambda path: path.stem.endswith("-legacy"))
        for take in takes:
            folder, engine = Path(scratch) / take, None if take == "samples" else options.engine.resolve()
            picture = options.photo if take == "relief" else options.picture
            files = (options.snapshot, options.image_model, picture, options.depth_model)
            choices = [str(Path(path).resolve()) if path else "" for path in files]
            try:
                size = tuple(options.size or (WIDTH, HEIGHTS[take]))
                play(options.blender, zips, take, size, folder, path_with(engine), choices)
            except RuntimeError as error:
                print(f"addon_gui: {error}", file=sys.stderr)
                return 1
            for measured in sorted(folder.glob("*.json")):
                print(f"{measured.stem}: {measured.read_text()}")
            for taken in sorted(folder.glob("*.png")):
                if options.all or taken.stem in PAGE:
                    few = Image.open(taken).convert("RGB").quantize(256, dither=Image.Dither.NONE)
                    few.save(options.out / f"addon-{taken.name}", optimize=True)
                    print(options.out / f"addon-{taken.name}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("stopped")
