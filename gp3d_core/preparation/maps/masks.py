"""Subject masks beside the images of a data set: of each pixel how much of it is subject, 255 all of it.

`<stem>_mask.npz` holds one array, `mask`, uint8 [R,R]. Masks are resized bilinearly, widened by the factor of
reduction: unlike the images' Lanczos that never overshoots, so that nothing of the surroundings rings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gp3d_core.atomic import replacing
from gp3d_core.datasets.archive import DatasetError, mask_name
from gp3d_core.datasets.decoding import Limits, PictureError, decode_mask
from gp3d_core.preparation.framing import Frame
from gp3d_core.preparation.maps.making import MapKind, MapReport, MapSource, make_maps
from gp3d_core.preparation.pack_folder import Origin
from gp3d_core.signals import Interruption

SUBJECT = 128  # from here on a pixel is subject
_ENDINGS = ("_mask.png", ".png")  # after the picture's stem; the first that is there
_LIMITS = Limits(170_000_000)


@dataclass
class MaskReport(MapReport):
    """What was done; `empty` masks among the new ones, in which no pixel is subject."""

    empty: int = 0


def save_mask(path: Path, mask: NDArray[Any]) -> None:
    """Writes the mask uint8 [R,R] of an image; the same bytes for the same mask."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, mask=mask)


KIND = MapKind("masks", "masks", mask_name, save_mask)


def make_masks(
    path: Path, source: MapSource, stop: Interruption, *, batch: int = 4, overwrite: bool = False
) -> MaskReport:
    """Writes the masks that the images of the data set folder `path` lack; as `making.make_maps`."""
    report = MaskReport()

    def count(masks: Sequence[NDArray[Any]]) -> None:
        report.empty += sum(int(mask.max()) < SUBJECT for mask in masks)

    done = make_maps(path, KIND, source, stop, batch=batch, overwrite=overwrite, look=count)
    return replace(report, made=done.made, kept=done.kept, stopped=done.stopped)


def resize_mask(mask: Image.Image, width: int, height: int) -> Image.Image:
    """The mask (mode L or F) in `width` × `height` pixels."""
    return mask.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=None)


def place_mask(mask: Image.Image, where: Frame) -> NDArray[Any]:
    """The mask (mode L) of a whole picture as uint8 [R,R]: framed as the picture was, nothing beside a letterbox."""
    left, top, right, bottom = where.target
    placed = np.zeros((where.resolution, where.resolution), dtype=np.uint8)
    inner = resize_mask(mask.crop(where.source), right - left, bottom - top)
    placed[top:bottom, left:right] = np.asarray(inner)
    return placed


def find_mask(folder: Path, name: str) -> Path | None:
    """The file in `folder` with the mask of the picture at the path `name`; None without one."""
    stem = PurePosixPath(name).with_suffix("")
    if stem.is_absolute() or ".." in stem.parts:
        return None
    return next((file for end in _ENDINGS if (file := folder / f"{stem}{end}").is_file()), None)


def read_mask(file: Path) -> Image.Image:
    """The mask (mode L) in a picture file: its alpha channel if parts are transparent, else its brightness."""
    try:
        return decode_mask(file.read_bytes(), _LIMITS)
    except PictureError as error:
        raise DatasetError(f"mask {file} {error}") from error


def of_picture(mask: Image.Image, file: Path, size: tuple[int, int]) -> Image.Image:
    """`mask` in the pixels of a picture of `size`; DatasetError unless it has its proportions, to half a pixel."""
    if mask.size == size:
        return mask
    if abs(mask.width * size[1] - mask.height * size[0]) > max(*size, *mask.size) / 2:
        raise DatasetError(
            f"mask {file} is {mask.width}x{mask.height}, expected {size[0]}x{size[1]} like its picture, "
            "or its proportions"
        )
    return resize_mask(mask, *size)


class FolderMasks:
    """Masks from existing pictures in `folder`. A MapSource.

    The image `a/b.png` has its mask at `a/b_mask.png` or `a/b.png`, or at these endings of the path that its picture
    had before it was packed. A mask of the picture's size or proportions is framed as the picture was
    (`origins`), one of the image's size is taken as it is.

    Raises DatasetError, before anything is written, for an image without a mask.
    """

    def __init__(self, folder: Path, names: Sequence[str], origins: Mapping[str, Origin]) -> None:
        if not folder.is_dir():
            raise DatasetError(f"masks: there is no folder {folder}")
        self._origins = origins
        found = {name: self._find(folder, name) for name in names}
        self._files = {name: file for name, file in found.items() if file is not None}
        if missing := [name for name in names if name not in self._files]:
            raise DatasetError(
                f"{folder} has no mask for {len(missing)} of {len(names)} images, the first is {missing[0]}; "
                f"expected its path with one of the endings {', '.join(_ENDINGS)}"
            )
        self.record: dict[str, Any] = {"files": folder.resolve().name, "license": "that of the files"}

    def _find(self, folder: Path, name: str) -> Path | None:
        own = find_mask(folder, name)
        return own if own or name not in self._origins else find_mask(folder, self._origins[name].source)

    def maps(self, names: Sequence[str], images: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """Masks uint8 [R,R]; see MapSource."""
        return [self._mask(name, len(image)) for name, image in zip(names, images, strict=True)]

    def _mask(self, name: str, resolution: int) -> NDArray[Any]:
        file, origin = self._files[name], self._origins.get(name)
        mask = read_mask(file)
        if mask.size == (resolution, resolution) and (origin is None or origin.size != mask.size):
            return np.asarray(mask)
        if origin is None:
            raise DatasetError(
                f"mask {file} is {mask.width}x{mask.height}, expected {resolution}x{resolution} like the image"
            )
        return place_mask(of_picture(mask, file, origin.size), origin.frame(resolution))
