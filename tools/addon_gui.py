"""Pictures of the add-on in a real Blender window: docs/addon-*.png (`make addon-gui`).

    .venv/bin/python tools/addon_gui.py [--snapshot RUN] [--image-model RUN --picture FILE] [--out docs]

Starts Xvfb and the `blender` on PATH (Debian: apt-get install blender xvfb xdotool imagemagick python3-numpy), installs
the built add-on there, presses its buttons with the mouse, and takes pictures before, during and after. Positions fit
Blender 3.4, which Debian has. Needs no graphics card. Continuous integration does not run it.
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
from contextlib import ExitStack, contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NEEDED = ("blender", "Xvfb", "xdotool", "import", "convert")
WIDTH, HEIGHT = 1600, 1000
DISPLAY = ":77"
VIEWPORT = "1320x880+0+24"
SIDEBAR = "230x880+1100+24"
BELOW_THE_PANEL = (1200, 895)
PARK = (600, 860)  # where the mouse disturbs nobody
# Where things are in a window of that size; x, y
TAB = (1307, 198)
PREVIEW, SECOND_PICTURE, GENERATE = (1140, 278), (1242, 398), (1200, 547)
SHOW_COLORS, FIRST_SAMPLE, SAMPLE_COLORS = (1205, 599), (1152, 422), (1205, 598)
SUB_PANELS = ((1150, 499), (1150, 421), (1150, 395), (1150, 370))  # from below: opening one moves no other
PICTURE_PANEL, PICTURE_BUTTON = (1150, 473), (1200, 548)


@contextmanager
def running(command: list[str], **options: object) -> Iterator[subprocess.Popen]:
    """A process that ends with the block."""
    process = subprocess.Popen(command, start_new_session=True, **options)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Window:
    """Blender's window, moved by xdotool; `folder` is where its script leaves notes and takes wishes."""

    def __init__(self, folder: Path, out: Path) -> None:
        self.folder, self.out = folder, out
        self.environment = {**os.environ, "DISPLAY": DISPLAY}

    def _xdotool(self, *words: object) -> None:
        subprocess.run(["xdotool", *map(str, words)], env=self.environment, check=True, timeout=20)

    def move(self, x: int, y: int) -> None:
        """Moves the mouse, in two steps so that Blender notices."""
        self._xdotool("mousemove", x - 3, y)
        time.sleep(0.2)
        self._xdotool("mousemove", x, y)
        time.sleep(0.5)

    def click(self, x: int, y: int) -> None:
        """Presses the left button there."""
        self.move(x, y)
        self._xdotool("click", 1)
        time.sleep(0.7)

    def wait(self, note: str, seconds: float) -> None:
        """Waits until Blender's script has left `note`. Raises TimeoutError."""
        until = time.monotonic() + seconds
        while not (self.folder / note).exists():
            if time.monotonic() > until:
                raise TimeoutError(f"Blender did not come to '{note}' within {seconds:g} s")
            time.sleep(0.05)

    def click_until(self, note: str, x: int, y: int) -> None:
        """Clicks there until Blender's script leaves `note`: a busy Blender misses a click now and then."""
        for _ in range(6):
            self.click(x, y)
            if (self.folder / note).exists():
                return
            self.move(*PARK)
            time.sleep(1)
        raise TimeoutError(f"clicking at {x}, {y} did not lead to '{note}'")

    def shoot(self, name: str, crop: str = "") -> Path:
        """Takes a picture; the mouse wakes up Blender's drawing first."""
        self.move(*BELOW_THE_PANEL)
        self.move(*PARK)
        self.move(PARK[0] + 20, PARK[1])
        time.sleep(4)  # drawing in software, perhaps beside other work
        return self.grab(name, crop)

    def grab(self, name: str, crop: str = "") -> Path:
        """Takes a picture as things are."""
        path = self.out / f"addon-{name}.png"
        subprocess.run(["import", "-window", "root", path], env=self.environment, check=True, timeout=30)
        shape = ["-crop", crop, "+repage"] if crop else []
        subprocess.run(["convert", path, *shape, "+dither", "-colors", "256", path], check=True, timeout=60)
        return path


@contextmanager
def blender(
    folder: Path, out: Path, engine: str, snapshot: str, addon: Path, image: tuple[str, str]
) -> Iterator[Window]:
    """A fresh Blender with the add-on and the sidebar's tab open; `image` is an image model and a picture, or empty."""
    notes = folder / "notes"
    notes.mkdir(parents=True)
    environment = {**os.environ, "DISPLAY": DISPLAY, "LIBGL_ALWAYS_SOFTWARE": "1"}
    environment |= {f"BLENDER_USER_{kind}": str(folder / kind) for kind in ("CONFIG", "SCRIPTS")}
    size = ["--window-geometry", "0", "0", str(WIDTH), str(HEIGHT)]
    script = ["--python", ROOT / "tools/addon_gui_blender.py", "--", addon, engine, snapshot, notes, *image]
    with (folder / "blender.log").open("w") as log:
        command = ["blender", "--factory-startup", *size, *map(str, script)]
        with running(command, env=environment, cwd=folder, stdout=log, stderr=log):
            window = Window(notes, out)
            window.wait("ready", 60)
            time.sleep(1)
            window.click_until("drawn", *TAB)
            yield window


def take_generating(window: Window) -> None:
    """Before, previews, during, after: everything by mouse."""
    window.shoot("before", VIEWPORT)
    window.click(*PREVIEW)
    window.wait("pictures 4", 120)
    time.sleep(1)
    window.click_until("seed 2", *SECOND_PICTURE)
    window.click(*GENERATE)
    window.wait("halfway", 120)
    window.grab("during", VIEWPORT)
    window.wait("objects 1", 240)
    window.move(*PARK)
    window.click_until("colors TEXTURE", *SHOW_COLORS)
    window.shoot("after", VIEWPORT)


def take_panels(window: Window) -> None:
    """The sub-panels."""
    for position in SUB_PANELS:
        window.click(*position)
        time.sleep(2)  # a busy Blender opens them late
    window.shoot("panels", SIDEBAR)


def take_picture(window: Window) -> None:
    """Image to 3D, and what it made."""
    window.click(*PICTURE_PANEL)
    window.click(*PICTURE_BUTTON)
    window.wait("objects 1", 240)
    window.shoot("picture", VIEWPORT)


def take_samples(window: Window) -> None:
    """The card of a Blender without engine, and a sample."""
    window.click(*FIRST_SAMPLE)
    window.wait("objects 1", 20)
    window.move(*PARK)
    window.click_until("colors TEXTURE", *SAMPLE_COLORS)
    window.shoot("samples", VIEWPORT)


def main() -> int:
    """Takes all pictures; exit code 3 if a program is missing."""
    parser = argparse.ArgumentParser(description="Take pictures of the add-on in a real Blender window.")
    parser.add_argument("--snapshot", type=Path, help="model to use (default: the one that comes along)")
    parser.add_argument("--image-model", type=Path, help="VQ3D snapshot, for a picture of Image to 3D")
    parser.add_argument("--picture", type=Path, help="what Image to 3D shall be shown with")
    parser.add_argument(
        "--only", choices=("generating", "panels", "picture", "samples"), help="take no others"
    )
    parser.add_argument("--engine", type=Path, default=ROOT, help="gp3d program or project folder")
    parser.add_argument("--out", type=Path, default=ROOT / "docs", help="folder of the pictures")
    options = parser.parse_args()
    if missing := [name for name in NEEDED if shutil.which(name) is None]:
        print(f"addon_gui: missing {', '.join(missing)}; see the first lines of {__file__}", file=sys.stderr)
        return 3
    with tempfile.TemporaryDirectory(prefix="gp3d-gui-") as scratch, ExitStack() as stack:
        folder, out = Path(scratch), options.out.resolve()
        build = [sys.executable, ROOT / "tools/build_addon.py", "--out", folder]
        subprocess.run(build, check=True, stdout=subprocess.DEVNULL, timeout=120)
        addon = next(folder.glob("*-legacy.zip"))
        screen = ["Xvfb", DISPLAY, "-screen", "0", f"{WIDTH}x{HEIGHT}x24", "+extension", "GLX"]
        stack.enter_context(running(screen, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        time.sleep(2)
        real = str(options.engine.resolve())
        snapshot = str(options.snapshot.resolve()) if options.snapshot else ""
        image = (
            (str(options.image_model.resolve()), str(options.picture.resolve()))
            if options.picture
            else ("", "")
        )
        takes = [(real, take_generating), (real, take_panels), ("none", take_samples)]
        takes += [(real, take_picture)] if options.picture else []
        for engine, take in takes:
            if options.only in (None, take.__name__.removeprefix("take_")):
                of = image if take is take_picture else ("", "")
                with blender(folder / take.__name__, out, engine, snapshot, addon, of) as window:
                    take(window)
    for path in sorted(out.glob("addon-*.png")):
        print(path)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("stopped")
