"""Stills and films of generated objects: colour, and beside it depth and normals.

A still is a PNG. A film is an animated GIF, or an MP4 where `imageio-ffmpeg` is installed; it shows colour, depth and
normals side by side. Ways start from the prior's mean camera, as in `sampling.view`. Depth is in the colours of
`visualization.depth_to_uint8` between the camera's near and far plane. Normals are in world axes: red, green and blue
are x, y and z from −1 (0) to 1 (255), white where nothing is, so a place on the object has one colour in every view.
Files appear whole; the same request gives the same pictures.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from itertools import chain
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from gp3d_core.atomic import replacing
from gp3d_core.generation.objects import DEFAULT_TRUNCATION, ObjectSpec, RequestError
from gp3d_core.generation.outputs import FILMS, FRAMES, check_film, check_stills, encoder, film_paths
from gp3d_core.generation.sampling import Generated, depth_picture, generate
from gp3d_core.ops.checks import check_shape
from gp3d_core.rendering.cameras import Cameras, mean_camera, sample_rays
from gp3d_core.rendering.normals import gradient_normals
from gp3d_core.rendering.trajectories import front_circle, line, point, points, turntable, wiggle
from gp3d_core.rendering.volume import Field, rays_at_a_time
from gp3d_core.snapshots.snapshot import Snapshot
from gp3d_core.visualization import rgb_to_uint8, save_picture

_WAYS = {"turntable": turntable, "front-circle": front_circle, "line": line, "wiggle": wiggle}
_FPS = 30
_GIF_DELAY = 30  # milliseconds; the format counts in tens
_SURFACE = 0.5  # opacity from which a pixel counts as surface


def surface_normals(depth: Tensor, opacity: Tensor, cameras: Cameras) -> Tensor:
    """Unit normals [B,3,H,H] in world axes, towards the camera, of depth maps [B,1,H,H]; 0 where there is no surface.

    Pixels are put back into space along their rays (`depth` is Euclidean, in world units) and the normal is the cross
    product of the differences to the right and upwards, each over both neighbours where both are surface, else over
    one. Surface is where `opacity` [B,1,H,H] is at least 0.5. Raises ValueError for other shapes.
    """
    sizes = check_shape("depth", depth, "B 1 H H")
    check_shape("opacity", opacity, "B 1 H H", sizes)
    size = depth.shape[-1]
    origins, directions = (
        part.transpose(1, 2).unflatten(2, (size, size)) for part in sample_rays(cameras, size)
    )
    places, solid = origins + depth * directions, opacity >= _SURFACE
    right, down = _differences(places, solid, 3), _differences(places, solid, 2)
    return F.normalize(torch.linalg.cross(down, right, dim=1), dim=1)


def rendered_normals(
    field: Field, depth: Tensor, opacity: Tensor, cameras: Cameras, *, step: float
) -> Tensor:
    """`surface_normals` of a rendered `field`, against the gradient of its density at the surface where the two agree.

    Depth maps are sampled along rays and show that as rings on flat sides; the field's gradient, by central differences
    over ±`step` world units, does not. Where the two are more than 60° apart, as at rims, those of the depth stay. All
    depth maps are of the one object whose field it is.
    """
    sampled, size = surface_normals(depth, opacity, cameras), depth.shape[-1]
    origins, directions = sample_rays(cameras, size)
    places = origins + depth.flatten(2).transpose(1, 2) * directions
    reference = sampled.flatten(2).transpose(1, 2).flatten(0, 1).cpu().numpy()
    found = gradient_normals(field, places.flatten(0, 1), reference, step=step, device=depth.device)
    return torch.from_numpy(found).to(sampled).view(*places.shape).transpose(1, 2).unflatten(2, (size, size))


def _differences(places: Tensor, solid: Tensor, axis: int) -> Tensor:
    """Sum [B,3,H,H] of the differences to the next and from the previous pixel along `axis`, surface to surface."""
    count = places.shape[axis] - 1
    step = places.diff(dim=axis)
    step = step * (solid.narrow(axis, 0, count) & solid.narrow(axis, 1, count))
    none = torch.zeros_like(places.narrow(axis, 0, 1))
    return torch.cat([step, none], dim=axis) + torch.cat([none, step], dim=axis)


def normals_to_uint8(normals: Tensor) -> NDArray[Any]:
    """Normals [B,3,H,W] as colours [B,H,W,3]; zero vectors are white."""
    nothing = (normals == 0).all(dim=1, keepdim=True)
    return rgb_to_uint8(torch.where(nothing, 1.0, normals))


def write_stills(
    snapshot: Snapshot,
    objects: Sequence[ObjectSpec],
    out: Path,
    *,
    kind: str = "stills",
    truncation: float = DEFAULT_TRUNCATION,
    resolution: int | None = None,
    depth: bool = False,
    normals: bool = False,
) -> Iterator[Path]:
    """Writes PNGs into the folder `out` and yields them: per object `<stem>.color.png`, `.depth.png`, `.normals.png`.

    `kind` "stills" takes the mean camera, "points" three views of each object, numbered `<stem>-0` to `<stem>-2` by
    growing yaw. Raises RequestError for another kind, or when `out` has the name of a picture.
    """
    check_stills(out, kind)
    centre = mean_camera(snapshot.config.camera)
    cameras = point(centre) if kind == "stills" else points(centre)
    out.mkdir(parents=True, exist_ok=True)
    for spec in tqdm(objects, desc="stills", unit="object", file=sys.stderr, disable=None):
        obj = generate(snapshot, spec, truncation)
        for number in range(len(cameras)):
            seen = _pictures(snapshot, obj, cameras[number], resolution, depth, normals)
            for name, picture in seen.items():
                stem = spec.stem if kind == "stills" else f"{spec.stem}-{number}"
                path = out / f"{stem}.{name}.png"
                save_picture(Image.fromarray(picture), path)
                yield path


def write_films(
    snapshot: Snapshot,
    objects: Sequence[ObjectSpec],
    out: Path,
    *,
    kind: str,
    frames: int = FRAMES,
    truncation: float = DEFAULT_TRUNCATION,
    resolution: int | None = None,
    depth: bool = False,
    normals: bool = False,
) -> Iterator[Path]:
    """Writes a film of each object along the way `kind`, one of FILMS, with `frames` frames, and yields the files.

    `out` is a .gif or .mp4 for one object, or a folder, which gets `<stem>.<kind>.gif`. 30 frames a second (GIF: 33,
    the nearest it has). Raises RequestError, before anything is written, for another kind or name, or for an MP4
    without imageio-ffmpeg.
    """
    paths = film_paths(objects, out, kind)
    for spec, path in zip(objects, paths, strict=True):
        film = film_frames(
            snapshot,
            generate(snapshot, spec, truncation),
            kind=kind,
            frames=frames,
            resolution=resolution,
            depth=depth,
            normals=normals,
        )
        save_film(film, path)
        yield path


def film_frames(
    snapshot: Snapshot,
    obj: Generated,
    *,
    kind: str,
    frames: int = FRAMES,
    resolution: int | None = None,
    depth: bool = False,
    normals: bool = False,
) -> Iterator[NDArray[Any]]:
    """The frames uint8 [H,W,3] of a film of the object along the way `kind`, one of FILMS, as they are drawn.

    Raises RequestError for another kind or fewer than 2 frames, before the first is asked for.
    """
    if frames < 2:
        raise RequestError(f"`frames`: expected a whole number of at least 2, found {frames}")
    cameras = _way(kind)(mean_camera(snapshot.config.camera), frames)
    return (
        np.concatenate(list(_pictures(snapshot, obj, cameras[k], resolution, depth, normals).values()), 1)
        for k in tqdm(range(frames), desc=obj.spec.stem, unit="frame", file=sys.stderr, disable=None)
    )


def save_film(film: Iterator[NDArray[Any]], path: Path) -> None:
    """Writes frames uint8 [H,W,3] as a .gif or .mp4, 30 a second.

    Raises RequestError as `check_film`, before a frame is asked for.
    """
    check_film(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix.lower() == ".mp4":
        _save_mp4(encoder(), film, path)
    else:
        _save_gif(film, path)


def _way(kind: str) -> Callable[[Cameras, int], Cameras]:
    """What makes the cameras of a film from the middle one. Raises RequestError for another kind."""
    if kind not in _WAYS:
        raise RequestError(f"`kind` {kind}: expected {', '.join(FILMS)}")
    return _WAYS[kind]


@torch.no_grad()
def _pictures(
    snapshot: Snapshot, obj: Generated, camera: Cameras, resolution: int | None, depth: bool, normals: bool
) -> dict[str, NDArray[Any]]:
    """Pictures uint8 [H,H,3] of the object from one camera [1], by name: color, depth, normals, those asked for."""
    camera = camera.to(obj.ws.device)
    seen = snapshot.generator.view(
        obj.ws, camera, resolution=resolution, planes=obj.planes, chunk=rays_at_a_time(1)
    )
    pictures = {"color": rgb_to_uint8(seen.rgb)[0]}
    if depth:
        pictures["depth"] = depth_picture(snapshot, seen)
    if normals:
        settings = snapshot.config
        step = 2 * settings.camera.box / settings.generator.plane_resolution  # a texel of the planes
        field = snapshot.generator.field(obj.planes)
        found = rendered_normals(field, seen.depth, seen.opacity, seen.cameras, step=step)
        pictures["normals"] = normals_to_uint8(found)[0]
    return pictures


def _save_gif(film: Iterator[NDArray[Any]], path: Path) -> None:
    """A GIF that repeats for ever. Equal frames in a row are kept as one that lasts longer."""
    pages = [Image.fromarray(frame).quantize(256) for frame in film]
    with replacing(path) as temporary:
        pages[0].save(
            temporary, format="GIF", save_all=True, append_images=pages[1:], duration=_GIF_DELAY, loop=0
        )


def _save_mp4(module: ModuleType, film: Iterator[NDArray[Any]], path: Path) -> None:
    """An H.264 film; an odd edge is repeated once, because the codec halves the colours' resolution."""
    even = (
        np.pad(frame, ((0, frame.shape[0] % 2), (0, frame.shape[1] % 2), (0, 0)), mode="edge")
        for frame in film
    )
    first = next(even)
    with replacing(path) as temporary:
        writer = module.write_frames(
            str(temporary),
            (first.shape[1], first.shape[0]),
            fps=_FPS,
            quality=None,
            macro_block_size=2,
            output_params=["-crf", "10"],
        )
        with closing(writer):
            writer.send(None)
            for frame in chain([first], even):
                writer.send(frame.tobytes())
