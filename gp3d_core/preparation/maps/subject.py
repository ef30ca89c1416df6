"""Pictures cut to their subject: masks of whole pictures, and the part that a mask asks for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy import ndimage

from gp3d_core.datasets.archive import DatasetError
from gp3d_core.datasets.decoding import PictureError
from gp3d_core.preparation.framing import Fit, Frame, onto
from gp3d_core.preparation.maps.mask_network import NetworkMasks, Pixels
from gp3d_core.preparation.maps.masks import SUBJECT, find_mask, of_picture, read_mask

_MARGIN = 0.1  # of the subject's longer side, left on each side
_SPECK = 0.05  # of the largest piece of a mask: smaller ones do not move the cut


@dataclass(frozen=True)
class SubjectMasks:
    """Where the masks of whole pictures come from: the file of a network (`mask_network`) or a `folder` of masks.

    Each worker opens the network for itself, with one thread, so that their number changes nothing.
    """

    model: Path | None = None
    folder: Path | None = None
    pixels: Pixels = "auto"
    side: int | None = None

    def record(self) -> dict[str, Any]:
        """What the card says of them. Raises MaskModelError, or DatasetError for a folder that is not there."""
        if self.folder is None:
            return _network(self).record
        if not self.folder.is_dir():
            raise DatasetError(f"masks: there is no folder {self.folder}")
        return {"files": self.folder.resolve().name, "license": "that of the files"}

    def mask(self, key: str, picture: Image.Image) -> Image.Image:
        """The mask (mode L) of the RGB picture `key` of the source, in its size; PictureError where there is none."""
        if self.folder is None:
            return _network(self).masks([picture])[0]
        file = find_mask(self.folder, key)
        if file is None:
            raise PictureError(f"has no mask in {self.folder}")
        try:
            return of_picture(read_mask(file), file, picture.size)
        except DatasetError as error:
            raise PictureError(f"cannot be cut to its subject: {error}") from error


@lru_cache(maxsize=1)
def _network(source: SubjectMasks) -> NetworkMasks:
    if source.model is None:
        raise ValueError("expected a `model` or a `folder`")
    return NetworkMasks(source.model, pixels=source.pixels, side=source.side, threads=1)


def subject_record(source: SubjectMasks) -> dict[str, Any]:
    """What decides how pictures are cut, in JSON values."""
    return {**source.record(), "margin": _MARGIN}


def subject_frame(mask: Image.Image, resolution: int, fit: Fit) -> Frame:
    """The frame of the subject that the `mask` (mode L) of a whole picture shows, with a margin around it.

    crop: a square around the middle of the subject, within the picture; of a subject longer than the picture is wide
    the ends are cut. letterbox: all of the subject. Pieces below 5 % of the largest do not count. PictureError for a
    mask without a subject.
    """
    pieces, count = ndimage.label(np.asarray(mask) >= SUBJECT)
    if not count:
        raise PictureError("shows no subject: nothing in its mask is above one half")
    areas = np.bincount(pieces.ravel())[1:]
    kept = np.flatnonzero(areas >= _SPECK * areas.max())
    found = [box for k, box in enumerate(ndimage.find_objects(pieces)) if k in kept]
    top, left = (min(box[axis].start for box in found) for axis in (0, 1))
    bottom, right = (max(box[axis].stop for box in found) for axis in (0, 1))
    margin = math.ceil(_MARGIN * max(right - left, bottom - top))
    if fit == "letterbox":
        width, height = mask.size
        low = (max(0, left - margin), max(0, top - margin))
        return onto((*low, min(width, right + margin), min(height, bottom + margin)), resolution)
    side = min(max(right - left, bottom - top) + 2 * margin, *mask.size)
    x, y = (
        min(max(0, (low + high - side) // 2), edge - side)
        for low, high, edge in ((left, right, mask.width), (top, bottom, mask.height))
    )
    return onto((x, y, x + side, y + side), resolution)
