"""A photograph to lift: its pixels upright, and the field of view that its camera wrote down."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from gp3d_core.datasets.decoding import FORMATS, Limits, PictureError, decode
from gp3d_core.errors import GP3DError

USUAL_FOV = 2 * math.degrees(math.atan(0.5))  # a focal length of one longer side, 53.13°
LARGEST_FILE = 512 * 2**20
_FILM_DIAGONAL = math.hypot(36, 24)  # mm, of the film that 35 mm equivalents are about
_UNITS = {2: 25.4, 3: 10.0}  # EXIF FocalPlaneResolutionUnit: mm in an inch, in a centimetre
_LEAST_FOV, _MOST_FOV = 1.0, 150.0
_SAME_SHAPE = 0.02  # of the ratio of sides


@dataclass(frozen=True, eq=False)
class Photograph:
    """rgb uint8 [H,W,3]; fov in degrees between the outer edges of the longer side; fov_source says how it is known."""

    rgb: NDArray[Any]
    fov: float
    fov_source: str


def read_photograph(path: Path, fov: float | None = None) -> Photograph:
    """The photograph at `path`, seen under `fov` degrees; None: as its EXIF data say, else 53.13.

    Raises PictureError, with its name, for one that cannot be used, OSError for one that is not there.
    """
    try:
        content = read_file(path)
        rgb = np.asarray(decode(content, Limits()))
    except PictureError as error:
        raise PictureError(f"{path} {error}") from error
    if min(rgb.shape[:2]) < 2:
        raise PictureError(f"{path} is {rgb.shape[1]}x{rgb.shape[0]}, expected 2 pixels or more a side")
    if fov is not None:
        return Photograph(rgb, fov, "as asked for")
    known = exif_fov(content, rgb.shape[1], rgb.shape[0])
    if known is None:
        return Photograph(rgb, USUAL_FOV, "assumed: the picture does not say it")
    return Photograph(rgb, known, "of its EXIF data")


def read_file(path: Path) -> bytes:
    """The bytes of a file of ordinary size. PictureError, without its name, for anything that may have no end."""
    if not path.is_file():
        path.stat()  # FileNotFoundError
        raise PictureError("is no ordinary file")
    if path.stat().st_size > LARGEST_FILE:
        raise PictureError(f"is larger than {LARGEST_FILE // 2**20} MiB")
    return path.read_bytes()


def exif_fov(content: bytes, width: int, height: int) -> float | None:
    """The field of view of the longer side, degrees, that the EXIF data of a picture file state; None if they do not.

    From the focal length on 35 mm film, whose diagonal then is the picture's, or from focal length and resolution in
    the focal plane. `width` and `height` are those of the upright picture. Data about a picture of other proportions,
    of which this is a part, are left aside; so are angles below 1° or above 150°.
    """
    try:
        tags = Image.open(io.BytesIO(content), formats=FORMATS).getexif().get_ifd(ExifTags.IFD.Exif)
        longer = _longer_side_on_sensor(tags, width, height)
    except (OSError, SyntaxError, ValueError, TypeError, KeyError, ZeroDivisionError):
        return None
    if longer is None or not math.isfinite(longer) or longer <= 0:
        return None
    fov = 2 * math.degrees(math.atan(longer / 2))
    return fov if _LEAST_FOV <= fov <= _MOST_FOV else None


def _longer_side_on_sensor(tags: dict[int, Any], width: int, height: int) -> float | None:
    """The longer side in focal lengths."""
    taken = [float(tags.get(tag, 0)) for tag in (ExifTags.Base.ExifImageWidth, ExifTags.Base.ExifImageHeight)]
    if min(taken) > 0:
        before, now = max(taken) / min(taken), max(width, height) / min(width, height)
        if abs(before / now - 1) > _SAME_SHAPE:
            return None
    equivalent = float(tags.get(ExifTags.Base.FocalLengthIn35mmFilm, 0))
    if equivalent > 0:
        return _FILM_DIAGONAL / equivalent * max(width, height) / math.hypot(width, height)
    focal = float(tags.get(ExifTags.Base.FocalLength, 0))
    across = float(tags.get(ExifTags.Base.FocalPlaneXResolution, 0))
    unit = _UNITS.get(tags.get(ExifTags.Base.FocalPlaneResolutionUnit, 2))
    if focal > 0 and across > 0 and unit is not None and min(taken) > 0:
        return max(taken) / across * unit / focal
    return None


def check_fov(fov: float) -> None:
    """Raises GP3DError unless `fov` is one that pictures have."""
    if not _LEAST_FOV <= fov <= _MOST_FOV:
        raise GP3DError(f"`fov`: expected {_LEAST_FOV:g} to {_MOST_FOV:g} degrees, found {fov:g}")
