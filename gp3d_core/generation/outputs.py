"""Where pictures and films of objects go, and in which formats: quick, without torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from gp3d_core.atomic import check_writable
from gp3d_core.generation.objects import ObjectSpec, RequestError

STILLS = ("stills", "points")
FILMS = ("turntable", "front-circle", "line", "wiggle")
FRAMES = 64
_SUFFIXES = (".gif", ".mp4")


def check_stills(out: Path, kind: str) -> None:
    """Raises RequestError unless `out` can be the folder of stills of a `kind`, one of STILLS."""
    if kind not in STILLS:
        raise RequestError(f"`kind` {kind}: expected {' or '.join(STILLS)}")
    if out.suffix and not out.is_dir():
        raise RequestError(f"`kind` {kind}: `out` expects a folder, found {out}")
    check_writable(out)


def film_paths(objects: Sequence[ObjectSpec], out: Path, kind: str) -> list[Path]:
    """The file of the film of each object: `out` itself for one, else `<stem>.<kind>.gif` in the folder `out`.

    Raises RequestError for another kind than FILMS, when `out` does not fit the number of objects, or as `check_film`.
    """
    if kind not in FILMS:
        raise RequestError(f"`kind` {kind}: expected {', '.join(FILMS)}")
    if not objects:
        raise RequestError("expected at least one object to film")
    if out.is_dir() or not out.suffix:
        paths = [out / f"{spec.stem}.{kind}.gif" for spec in objects]
    elif out.suffix.lower() not in _SUFFIXES:
        raise RequestError(f"`out` expects a name in .gif or .mp4, or a folder, for a film, found {out}")
    elif len(objects) > 1:
        raise RequestError(
            f"`out` expects a folder for the films of {len(objects)} objects, found {out}; leave {out.suffix} out"
        )
    else:
        paths = [out]
    for path in paths:
        check_film(path)
    return paths


def check_film(path: Path) -> None:
    """Raises RequestError unless a film can be written to `path`: .gif, or .mp4 where imageio-ffmpeg is installed."""
    if path.suffix.lower() not in _SUFFIXES or path.is_dir():
        found = f"the folder {path}" if path.is_dir() else path
        raise RequestError(f"`out` expects a name in .gif or .mp4 for a film, found {found}")
    if path.suffix.lower() == ".mp4":
        encoder()
    check_writable(path.parent)


def encoder() -> ModuleType:
    """The optional module imageio_ffmpeg. Raises RequestError, with the remedy, where there is none."""
    try:
        import imageio_ffmpeg  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except ImportError as error:
        raise RequestError(
            "`out` .mp4 needs imageio-ffmpeg, which is not installed: use .gif, or pip install imageio-ffmpeg"
        ) from error
    return imageio_ffmpeg
