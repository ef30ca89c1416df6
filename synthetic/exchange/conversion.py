"""Scenes that somebody else photographed or rendered, as a data set: what of them fits GP3D's cameras.

These stand upright on a sphere and look at its centre. So does a frame that is kept: it is turned by at most 2 degrees
from one that does, and its distance from the centre of its scene is the usual one within 10 %. Others are left out and
counted. The usual distance becomes `RADIUS` world units. Pictures are cut to the largest square about
their principal point and resampled; transparent ones come on white.
"""

from __future__ import annotations

import io
import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
from PIL import Image
from tqdm import tqdm

from synthetic.dataset import as_bytes, encode_depth
from synthetic.dataset_index import CAMERA_CONVENTION, FORMAT, VERSION
from synthetic.exchange.conventions import Z_UP, png
from synthetic.exchange.files import ExchangeError, Files
from synthetic.exchange.folder import ExportFolder
from synthetic.exchange.foreign_scenes import Frame, Pinhole, centre_of, in_words, scenes_in
from synthetic.exchange.source import Floats
from synthetic.layouts.shapenet import ObjectClass
from synthetic.viewpoints import Viewpoint, intrinsics, ray_lengths

RADIUS = 2.0
DEPTH_UNIT = 1e-3  # of a step of depth maps, in units of the scene: nerfstudio's own
_ASIDE = math.radians(2)
_NEARER = 0.1
_FEWEST = 2  # frames, from which a centre is known
_MARGIN = 0.05  # world units between the nearest or farthest depth and the ends of the code


@dataclass(frozen=True)
class _Kept:
    """A frame that fits: where it stands in our world, its window in the picture (from the corner), focal length."""

    frame: Frame
    name: str
    model: str
    viewpoint: Viewpoint
    cam2world: Floats
    scale: float  # world units in a unit of its scene
    box: tuple[float, float, float, float]
    focal: float  # in widths of the window

    def fov(self, side: int) -> float:
        """Degrees between the centres of the first and the last of `side` pixels."""
        return 2 * math.degrees(math.atan((side - 1) / 2 / (self.focal * side)))


def convert(
    files: Files, folder: ExportFolder, object_class: ObjectClass, resolution: int | None, license_text: str
) -> str:
    """Writes a data set of all scenes; how much it holds, and what was left out. Raises ExchangeError, OSError."""
    reasons: Counter[str] = Counter()
    kept: list[_Kept] = []
    for place, frames in scenes_in(files).items():
        kept += _fitting(files, place, frames, object_class, reasons)
    if not kept:
        raise ExchangeError(f"{files.path}: no frame fits GP3D's cameras: {in_words(reasons)}")
    side = resolution or min(int(item.box[2] - item.box[0]) for item in kept)
    if not 4 <= side <= 4096:
        raise ExchangeError(f"{files.path}: its squares have {side} pixels a side; say --resolution")
    bounds = _bounds(files, kept, side)
    for item in tqdm(kept, unit="view", smoothing=0.05, disable=None):
        folder.write(f"{item.name}.png", partial(_picture, files, item, side))
        if bounds:
            folder.write(f"{item.name}_depth.png", partial(_code, files, item, side, bounds))
    _write_index(folder, kept, side, bounds, object_class, license_text)
    words = f"{len(kept)} views of {len({item.model for item in kept})} objects"
    words += "" if bounds else ", without depth (gp3d data depth estimates it)"
    return words + (f"; left out: {in_words(reasons)}" if reasons else "")


def _fitting(
    files: Files, place: str, frames: list[Frame], object_class: ObjectClass, reasons: Counter[str]
) -> list[_Kept]:
    if len(frames) < _FEWEST:
        reasons["of a scene with a single frame"] += len(frames)
        return []
    centre = centre_of(frames)
    usual = float(np.median([np.linalg.norm(frame.pose[:3, 3] - centre) for frame in frames]))
    if not usual > 0:
        raise ExchangeError(f"{files.path}/{place}: all frames stand where they look at")
    model = place.replace("/", "-") or files.path.stem
    kept = []
    for number, frame in enumerate(frames):
        pose = np.eye(4)
        pose[:3, :3] = Z_UP.T @ frame.pose[:3, :3]
        pose[:3, 3] = Z_UP.T @ (frame.pose[:3, 3] - centre) * RADIUS / usual
        x, y, z = pose[:3, 3]
        distance = float(np.linalg.norm(pose[:3, 3]))
        if abs(distance / RADIUS - 1) > _NEARER:
            reasons["nearer or farther than the others"] += 1
            continue
        pitch = min(max(math.acos(y / distance), 1e-5), math.pi - 1e-5)
        box, focal = _window(files, frame)
        viewpoint = Viewpoint(yaw=math.atan2(-x, z), pitch=pitch, radius=distance)
        turn = viewpoint.cam2world()[:3, :3].T @ pose[:3, :3]
        if math.acos(min(max((np.trace(turn) - 1) / 2, -1.0), 1.0)) > _ASIDE:
            reasons["that look past the common centre or are rolled"] += 1
            continue
        name = f"{object_class.wnid}/{model}_{number:03d}"
        kept.append(_Kept(frame, name, model, viewpoint, pose, RADIUS / usual, box, focal))
    return kept


def _window(files: Files, frame: Frame) -> tuple[tuple[float, float, float, float], float]:
    """The largest window about the principal point that is a square of angles, and focal length to its width."""
    lens = frame.pinhole
    if lens is None:
        with _opened(files, frame.picture) as picture:
            width, height = picture.size
        focal = width / 2 / math.tan((frame.angle or 1.0) / 2)
        lens = Pinhole(focal, focal, width / 2, height / 2, width, height)
    spaces = (lens.cx, lens.width - lens.cx), (lens.cy, lens.height - lens.cy)
    half = min(*(space / lens.fl_x for space in spaces[0]), *(space / lens.fl_y for space in spaces[1]))
    x, y = half * lens.fl_x, half * lens.fl_y  # half is the tangent of half the angle
    return (lens.cx - x, lens.cy - y, lens.cx + x, lens.cy + y), 1 / (2 * half)


def _opened(files: Files, name: str) -> Image.Image:
    try:
        return Image.open(io.BytesIO(files.read(name)))
    except (OSError, ValueError, Image.DecompressionBombError, SyntaxError) as error:
        if isinstance(error, ExchangeError):
            raise
        raise ExchangeError(f"{files.path}: {name} is no readable picture ({error})") from None


def _loaded(files: Files, name: str, frame: Frame) -> Image.Image:
    with _opened(files, name) as picture:
        lens = frame.pinhole
        if lens is not None and picture.size != (lens.width, lens.height):
            raise ExchangeError(
                f"{files.path}: {name} has {picture.size[0]} × {picture.size[1]} pixels, "
                f"expected {lens.width} × {lens.height}"
            )
        try:
            picture.load()
        except (OSError, ValueError, SyntaxError) as error:
            raise ExchangeError(f"{files.path}: {name} is damaged ({error})") from None
        return picture


def _picture(files: Files, item: _Kept, side: int) -> bytes:
    picture = _loaded(files, item.frame.picture, item.frame)
    if picture.has_transparency_data:
        clear = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", clear.size, (255, 255, 255, 255)), clear)
    resized = picture.convert("RGB").resize((side, side), Image.Resampling.LANCZOS, box=item.box)
    return png(np.asarray(resized))


def _distance(files: Files, item: _Kept, side: int) -> Floats:
    """[side,side] distance along the rays, world units, inf where none is known: of the nearest pixel."""
    if item.frame.depth is None:
        raise ValueError("expected a frame with depth")
    steps = np.asarray(_loaded(files, item.frame.depth, item.frame)).astype(np.float64)
    if steps.ndim != 2:
        raise ExchangeError(f"{files.path}: {item.frame.depth}: expected 16-bit grey")
    shares = (np.arange(side) + 0.5) / side
    left, top, right, bottom = item.box
    columns, rows = (left + shares * (right - left)).astype(int), (top + shares * (bottom - top)).astype(int)
    found = steps[rows.clip(0, steps.shape[0] - 1)][:, columns.clip(0, steps.shape[1] - 1)]
    z_depth = np.where(found > 0, found * DEPTH_UNIT * item.scale, np.inf)
    return np.asarray(z_depth * ray_lengths(intrinsics(item.fov(side), side), side))


def _bounds(files: Files, kept: Sequence[_Kept], side: int) -> tuple[float, float] | None:
    """Nearest and farthest of all depth maps with a margin; None where a frame has none."""
    if any(item.frame.depth is None for item in kept):
        return None
    low, high = math.inf, 0.0
    for item in tqdm(kept, unit="depth map", smoothing=0.05, disable=None):
        distance = _distance(files, item, side)
        known: npt.NDArray[np.float64] = distance[np.isfinite(distance)]
        if len(known):
            low, high = min(low, float(known.min())), max(high, float(known.max()))
    if high == 0:
        raise ExchangeError(f"{files.path}: its depth maps are empty")
    return round(max(low - _MARGIN, 0.0), 4), round(high + _MARGIN, 4)


def _code(files: Files, item: _Kept, side: int, bounds: tuple[float, float]) -> bytes:
    return png(encode_depth(_distance(files, item, side), *bounds))


def _write_index(
    folder: ExportFolder,
    kept: Sequence[_Kept],
    side: int,
    bounds: tuple[float, float] | None,
    object_class: ObjectClass,
    license_text: str,
) -> None:
    items = sorted(kept, key=lambda item: item.name)
    views = {f"{item.name}.png": _record(item, object_class, side) for item in items}
    folder.write("cameras.json", lambda: as_bytes({"convention": CAMERA_CONVENTION, "views": views}))
    index: dict[str, object] = {
        "format": FORMAT,
        "version": VERSION,
        "resolution": side,
        "classes": [{"label": 0, **object_class.as_json()}],
        "labels": [[name, 0] for name in views],
        "camera_angles": [
            [f"{item.name}.png", [item.viewpoint.yaw, item.viewpoint.pitch, 0.0]] for item in items
        ],
        "license": license_text,
        "generator": {"name": "synthetic.export"},
    }
    if bounds:
        index |= {"t_near": bounds[0], "t_far": bounds[1]}
    folder.write("dataset.json", lambda: (json.dumps(index, indent=1) + "\n").encode())


def _record(item: _Kept, object_class: ObjectClass, side: int) -> dict[str, object]:
    fov = item.fov(side)
    return {
        "model": f"{object_class.synset or object_class.wnid}/{item.model}",
        "yaw": item.viewpoint.yaw,
        "pitch": item.viewpoint.pitch,
        "roll": 0.0,
        "fov": fov,
        "radius": item.viewpoint.radius,
        "look_at": list(item.viewpoint.look_at),
        "cam2world": item.cam2world.tolist(),
        "intrinsics": intrinsics(fov, side).tolist(),
    }
