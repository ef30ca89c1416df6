"""Depth maps that some other program wrote."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gp3d_core.datasets import depth_codes
from gp3d_core.datasets.archive import DatasetError
from gp3d_core.datasets.images import WIDE_DEPTH, loses_bits
from gp3d_core.hashing import DAMAGE
from gp3d_core.preparation.dataset_card import read_card
from gp3d_core.preparation.depth.exr import read_exr
from gp3d_core.preparation.depth.kinds import Kind, Meaning
from gp3d_core.preparation.depth.making import stretch, to_unit
from gp3d_core.preparation.framing import Fit, frame, resize
from gp3d_core.preparation.pack_folder import Origin

_PNG_MODES = ("I;16", "I;16B", "I", "L", "LA", "RGB", "RGBA")
_MILLIMETRE = 0.001  # what a number of a PNG is worth in metres
_LEAST_KNOWN = 0.1  # of the numbers of a map
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_HEAD = 25  # bytes, up to the bits a channel
_MOST_PIXELS = 64_000_000
_GREY = 4.0  # of 255: how far channels of one grey may be apart, after JPEG
_SAME_SHAPE = 0.02  # of the ratio of sides
_ENDINGS = ("_depth.png", ".png", "_depth.npy", ".npy", "_depth.exr", ".exr")  # after the image's stem


class FolderDepth:
    """Depth from existing files in `folder`, at the paths of the images `names`. A DepthSource.

    `a/b.jpg` has its map in `a/b_depth.png`, `a/b.png`, or the same with npy or exr; or at these endings of the path
    that its picture had before it was packed (`origins`). PNG: 16-bit as it is (LeReS), 8-bit times 256, of several
    grey channels the first, never stretched; but for metric ones, whose numbers are millimetres. These, npy and exr
    hold any numbers [H,W] and are stretched over the range, those that say nothing `filled` (`gaps` has their shares).
    Maps of another size are cut and scaled like the pictures (`preparation.framing`); `fit` says how those were framed,
    None that it is not known, and then maps must be square. A map that is not square has its picture's proportions.
    Outside a letterbox it is far.

    Raises DatasetError, before anything is written, for an image without a map or with several.
    """

    def __init__(
        self,
        folder: Path,
        names: Sequence[str],
        *,
        kind: Meaning,
        ratio: float,
        fit: Fit | Literal["subject"] | None,
        origins: Mapping[str, Origin],
    ) -> None:
        if not folder.is_dir():
            raise DatasetError(f"depth maps: there is no folder {folder}")
        self._origins = origins
        found = {name: self._find(folder, name) for name in names}
        self._files = {name: file for name, file in found.items() if file is not None}
        if missing := [name for name in names if name not in self._files]:
            raise DatasetError(
                f"{folder} has no map for {len(missing)} of {len(names)} images, the first is {missing[0]}; "
                f"expected its path with one of the endings {', '.join(_ENDINGS)}"
            )
        self.gaps: dict[str, float] = {}  # share of each map that held no distance, where there is any
        self._meaning, self._ratio, self._fit = kind, ratio, fit
        self._kind: Kind = "disparity" if kind == "disparity" else "depth"
        self.record: dict[str, Any] = {
            "files": folder.resolve().name,
            "kind": kind,
            **({"ratio": ratio} if kind == "disparity" else {}),
            "license": "that of the files",
        }

    def _find(self, folder: Path, name: str) -> Path | None:
        own = _find(folder, name)
        return own if own or name not in self._origins else _find(folder, self._origins[name].source)

    def maps(self, names: Sequence[str], images: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """u [R,R] of each image; see DepthSource."""
        return [
            self._map(self._files[name], image.shape[0], self._origins.get(name))
            for name, image in zip(names, images, strict=True)
        ]

    def _map(self, file: Path, resolution: int, origin: Origin | None) -> NDArray[Any]:
        values, missing = _read(file, self._meaning)
        if missing:
            self.gaps[str(file)] = missing
        height, width = values.shape
        if height != width and self._fit is None:
            raise DatasetError(
                f"depth map {file} is {width}x{height}, expected a square like the image; cut it as the image was cut"
            )
        if self._fit == "subject" and (width, height) != (resolution, resolution):
            raise DatasetError(
                f"depth map {file} is {width}x{height}, but pictures were cut to their subjects; expected maps of the "
                f"packed images, {resolution}x{resolution}"
            )
        if height != width and origin is not None:
            check_shape(values, file, origin.size)
        where = frame(width, height, resolution, "letterbox" if self._fit == "letterbox" else "crop")
        left, top, right, bottom = where.target
        if (width, height) != (resolution, resolution):
            picture = Image.fromarray(values.astype(np.float32))
            values = np.asarray(resize(picture, right - left, bottom - top, where.source), dtype=np.float64)
        coded = file.suffix == ".png" and self._meaning != "metric"
        values = values.clip(0, 1) if coded else stretch(values, str(file))
        u = np.ones((resolution, resolution))
        u[top:bottom, left:right] = to_unit(values, self._kind, self._ratio)
        return u


def packed_fit(folder: Path) -> Fit | Literal["subject"] | None:
    """How `gp3d data pack` framed the pictures of the data set `folder`; None when its card does not say."""
    packed = [step for step in read_card(folder)["steps"] if step.get("step") == "pack"]
    settings = packed[0].get("settings", {}) if packed else {}
    if "subject" in settings:  # each was cut in its own way
        return "subject"
    fit = settings.get("fit")
    return fit if fit in ("crop", "letterbox") else None


def check_shape(values: NDArray[Any], file: Path, picture: tuple[int, int]) -> None:
    """Raises DatasetError unless `values` [H,W] of `file` have the proportions of a picture of (width, height)."""
    (height, width), wanted = values.shape, picture[0] / picture[1]
    # a small map may be a pixel off
    if abs(width / height / wanted - 1) > max(_SAME_SHAPE, 1.5 / min(height, width)):
        turned = abs(height / width / wanted - 1) <= _SAME_SHAPE
        remedy = "; turn it upright, like the picture" if turned else ""
        raise DatasetError(
            f"depth map {file} is {width}x{height}, expected the proportions of the picture, "
            f"{picture[0]}x{picture[1]}{remedy}"
        )


def _find(folder: Path, name: str) -> Path | None:
    stem = PurePosixPath(name).with_suffix("")
    if stem.is_absolute() or ".." in stem.parts:
        return None
    found = [file for ending in _ENDINGS if (file := folder / f"{stem}{ending}").is_file()]
    if any(file.stem.endswith("_depth") for file in found):  # beside photographs, whose own ending may be png
        found = [file for file in found if file != folder / f"{stem}.png"]
    if len(found) > 1:
        raise DatasetError(f"{folder}: {name} has two maps, {found[0].name} and {found[1].name}; remove one")
    return found[0] if found else None


def _read(file: Path, meaning: Meaning) -> tuple[NDArray[Any], float]:
    """Numbers float64 [H,W] of a file, with the share of them that was filled in, or the codes of a PNG over 65536."""
    numbers = read_numbers(file)
    if file.suffix == ".png" and meaning != "metric":
        return numbers / 256 if numbers.dtype == np.uint8 else depth_codes.to_unit(numbers), 0.0
    return filled(numbers, meaning, file)


def in_metres(numbers: NDArray[Any], file: Path) -> NDArray[Any]:
    """The numbers of a metric map: those of a PNG are millimetres, others metres."""
    return numbers if file.suffix.lower() in (".npy", ".npz", ".exr") else numbers * _MILLIMETRE


def filled(numbers: NDArray[Any], meaning: Meaning, file: Path) -> tuple[NDArray[Any], float]:
    """`numbers` [H,W] as float64, the nearest known one where there is none, and the share of those that were filled.

    NaN is none, nor are metric numbers of 0 or less, nor an infinite disparity (stereo marks so what it did not match);
    other infinite ones are the farthest. Raises DatasetError for a `file` with hardly any.
    """
    from scipy import ndimage  # slow to import

    values = numbers.astype(np.float64)
    known = {"depth": ~np.isnan(values), "disparity": np.isfinite(values), "metric": values > 0}[meaning]
    if known.mean() < _LEAST_KNOWN or not np.isfinite(values[known]).any():
        raise DatasetError(
            f"depth map {file}: {known.mean():.0%} of its numbers are distances, expected more"
        )
    finite = values[known & np.isfinite(values)]
    values = np.clip(values, finite.min(), finite.max())
    if not known.all():
        nearest = ndimage.distance_transform_edt(~known, return_distances=False, return_indices=True)
        values = values[tuple(nearest)]
    return values, 1 - float(known.mean())


def read_numbers(file: Path) -> NDArray[Any]:
    """The numbers [H,W] of a depth map: of an npy, npz or exr file as they are, of a PNG its codes, uint16 or uint8.

    An npz holds one array, or one that is called depth; of an exr see `read_exr`. Of a PNG with several channels the
    first is taken. Raises DatasetError.
    """
    try:
        if not file.is_file():
            raise ValueError("expected a file")
        if file.suffix.lower() in (".npy", ".npz"):
            return _array(file)
        if file.suffix.lower() == ".exr":
            return read_exr(file, _MOST_PIXELS)
        with file.open("rb") as content:
            head = content.read(_PNG_HEAD)
        if not head.startswith(_PNG):
            raise ValueError("expected a PNG, npy, npz or EXR file")
        image = Image.open(file, formats=("PNG",))
        _check_size(image.height, image.width)
        if image.mode not in _PNG_MODES:
            raise ValueError(f"expected a 16-bit or 8-bit map, found {image.mode}")
        if loses_bits(image, head):
            raise DatasetError(f"depth map {file} {WIDE_DEPTH}")
        codes = np.asarray(image)
    except ImportError as error:
        raise DatasetError(
            f"depth map {file} needs OpenEXR, which is not installed: save it as npy, or pip install OpenEXR"
        ) from error
    except Image.DecompressionBombError as error:
        raise DatasetError(
            f"depth map {file} cannot be read (more than {_MOST_PIXELS / 1e6:g} million pixels)"
        ) from error
    except DAMAGE as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DatasetError(f"depth map {file} cannot be read ({reason})") from error
    if codes.ndim == 3:
        if np.abs(codes[..., :3].astype(np.float32) - codes[..., :1]).mean() > _GREY and codes.shape[2] > 2:
            raise DatasetError(
                f"depth map {file} is in colours, expected grey; save the numbers themselves, not a picture of them"
            )
        codes = codes[..., 0]
    return codes if codes.dtype == np.uint8 else codes.astype(np.uint16)


def _array(file: Path) -> NDArray[Any]:
    """The numbers [H,W] of an npy or npz file."""
    found = np.load(
        file, mmap_mode="r", allow_pickle=False
    )  # whose numbers stay on the disk until they are known
    if isinstance(found, np.lib.npyio.NpzFile):
        with found:
            names = found.files if len(found.files) == 1 else [n for n in found.files if n == "depth"]
            if not names:
                raise ValueError(f"expected one array, or one called depth, found {', '.join(found.files)}")
            found = found[names[0]]
    values = np.asarray(found).squeeze()
    if values.ndim != 2 or values.dtype.kind not in "fiu" or values.size == 0:
        raise ValueError(f"expected numbers [H, W], found {values.dtype} {list(values.shape)}")
    _check_size(*values.shape)
    return np.array(values)


def _check_size(height: int, width: int) -> None:
    if height * width > _MOST_PIXELS:
        raise ValueError(f"{width}x{height}, more than {_MOST_PIXELS / 1e6:g} million pixels")
