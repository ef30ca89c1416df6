"""Several pictures of one thing to one scene.

A tokenizer looks at one picture. The scene of the first one is where this begins; then its tri-planes, and the depth of
the point that cameras are turned about, are changed by gradient descent until the scene looks like every picture from
that picture's camera. That point is what all cameras look at; of one picture alone nothing but the nearer side of what
stands there is known. Cameras stand equally far from
the point that views turn about and equally high, turned by a yaw about the vertical through it. An unknown yaw is the
one of some, under which most of what two pictures show lies where cameras turned so can see it (`turns`), and under
which the scene of each looks most like the other: the first is known of anything with edges, the second of what the
model knows. How well a fused scene shows its pictures says little about yaws, since shape makes up for them. The
elevation of the cameras has to be known: pictures look more alike the larger it is said to be and the smaller the yaw.
All of this is ours (docs/vq3d.md).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from gp3d_core.errors import GP3DError
from gp3d_core.preparation.framing import Fit
from gp3d_core.rendering.patches import Patches, extract_patches
from gp3d_core.rng import generator_for
from gp3d_core.signals import Progress, counted, no_progress
from gp3d_core.vq3d.files.tokenizer_file import TokenizerSnapshot
from gp3d_core.vq3d.models.field import SceneField
from gp3d_core.vq3d.rendering.views import orbit, render, to_radiance
from gp3d_core.vq3d.scenes.input_views import MOST_ELEVATION
from gp3d_core.vq3d.scenes.reconstruction import Reconstruction, reconstruct_picture
from gp3d_core.vq3d.scenes.scenefile import Scene
from gp3d_core.vq3d.scenes.turns import unlikeness

_TRIED = tuple(range(-45, 50, 5))  # degrees, of an unknown yaw
_FINER = tuple(range(-4, 5))  # degrees from the best of them
_SMALL = 32  # pixels a side of the views that are compared to find it
_STEPS = 200
_RATE = 0.01
_PIVOT_RATE = 0.005  # of the logarithm of the point's depth
_WINDOW = 16  # rays a side that a step takes of each picture, spread over all of it
_SPREAD = 0.02  # weight of the spread of depth along rays: surfaces stay thin


class FusionError(GP3DError):
    """Pictures that cannot become one scene; the message says what was expected."""


@dataclass(frozen=True, eq=False)
class Fused:
    """The scene of several pictures; of each its yaw, and how well its own scene and this one show it (PSNR, dB).

    left_out: indices of pictures that no scene shows along with the others as well as its own does: their yaws, or the
    pictures, do not fit. The scene is that of the others.
    """

    first: Reconstruction
    yaws: tuple[float, ...]
    alone: tuple[float, ...]
    together: tuple[float, ...]
    left_out: tuple[int, ...] = ()

    @property
    def scene(self) -> Scene:
        """The scene, of the first picture's camera."""
        return self.first.scene


def fuse(
    snapshot: TokenizerSnapshot,
    pictures: Sequence[Image.Image],
    names: Sequence[str],
    yaws: Sequence[float] | None,
    fit: Fit = "crop",
    elevation: float = 0.0,
    progress: Progress = no_progress,
) -> Fused:
    """One scene of RGB `pictures` called `names`, whose cameras are turned by `yaws`; None: they are found.

    The first yaw is 0, as the first picture's camera is the scene's. `elevation` is how many degrees all cameras look
    down. The scene shows every picture that is not left out at least as well as that one's own scene does. `progress`
    hears of the stage fusing. Raises FusionError for fewer than two pictures, and for angles that cannot be theirs.
    """
    _check(pictures, yaws, elevation)
    alone = [reconstruct_picture(snapshot, one, name, fit) for one, name in zip(pictures, names, strict=True)]
    if yaws is None:
        yaws = [0.0, *(found_yaw(alone[0], other, elevation) for other in alone[1:])]
    yaws, before = tuple(map(float, yaws)), [_psnr(one.scene, 0.0, one.image) for one in alone]
    used, scene = list(range(len(alone))), alone[0].scene
    while len(used) > 1:
        inputs = tuple(
            replace(alone[k].scene.inputs[0], yaw=yaws[k], elevation=elevation if yaws[k] else 0.0)
            for k in used
        )
        images = [alone[k].image for k in used]
        scene = _descended(replace(alone[0].scene, inputs=inputs), images, progress)
        gains = {k: _psnr(scene, yaws[k], alone[k].image, elevation) - before[k] for k in used}
        if min(gains.values()) >= 0:
            break
        used.remove(min(used[1:], key=lambda k: gains[k]))
        scene = alone[0].scene
    after = [_psnr(scene, yaw, one.image, elevation) for yaw, one in zip(yaws, alone, strict=True)]
    part = scene.parts[0]
    if len(used) > 1:
        part = replace(part, source=" + ".join(dict.fromkeys(names[k] for k in used)), codes=None)
    first = Reconstruction(alone[0].image, replace(scene, parts=(part,)))
    left_out = tuple(k for k in range(len(alone)) if k not in used)
    return Fused(first, yaws, tuple(before), tuple(after), left_out)


def _check(pictures: Sequence[Image.Image], yaws: Sequence[float] | None, elevation: float) -> None:
    if len(pictures) < 2:
        raise FusionError(f"expected two or more pictures of one thing, found {len(pictures)}")
    if yaws is not None and len(yaws) != len(pictures):
        raise FusionError(f"`yaws`: expected one for each of {len(pictures)} pictures, found {len(yaws)}")
    if yaws is not None and (yaws[0] != 0 or not all(-180 <= yaw <= 180 for yaw in yaws)):
        shown = ",".join(f"{yaw:g}" for yaw in yaws)
        raise FusionError(
            f"`yaws`: expected 0 for the first picture and -180 to 180 for others, found {shown}"
        )
    if not -MOST_ELEVATION <= elevation <= MOST_ELEVATION:
        raise FusionError(
            f"`elevation`: expected {-MOST_ELEVATION:g} to {MOST_ELEVATION:g} degrees, found {elevation:g}"
        )


def _descended(scene: Scene, images: Sequence[Tensor], progress: Progress) -> Scene:
    """The scene and its pivot, changed so that it looks like the `images` from the cameras of its inputs."""
    part, camera = scene.parts[0], scene.camera
    planes = part.planes.clone().requires_grad_(True)
    farther = torch.zeros(1, device=planes.device, requires_grad=True)
    device, size = planes.device, scene.resolution
    rays = min(_WINDOW, size)
    stride = max(1, (size - 1) // max(rays - 1, 1))
    rest = size - 1 - (rays - 1) * stride
    real = to_radiance(torch.stack(list(images)).to(device))
    yaws, elevations = (
        torch.tensor(angles, device=device)
        for angles in zip(*((one.yaw, one.elevation) for one in scene.inputs), strict=True)
    )
    generator = generator_for("fusion")
    scales = torch.full((len(images), 2), (rays - 1) * stride / max(size - 1, 1), device=device)
    optimizer = torch.optim.Adam([planes], lr=_RATE)
    optimizer.add_param_group({"params": [farther], "lr": _PIVOT_RATE})
    with torch.enable_grad():
        for _ in counted(range(_STEPS), "fusing", progress):
            corner = torch.randint(0, rest + 1, (len(images), 2), generator=generator).to(device)
            windows = Patches(scales, corner / max(size - 1, 1))
            pivot = scene.pivot * farther.exp().expand_as(yaws)
            poses = orbit(yaws, torch.zeros_like(yaws), pivot, elevation=elevations)
            field = SceneField(planes.expand(len(images), -1, -1, -1, -1), part.decoder)
            seen = render(field, poses, camera, scene.render, rays, patches=windows)
            wanted = extract_patches(real, windows, rays)
            loss = F.mse_loss(seen.rgb, wanted) + _SPREAD * seen.spread.square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    pivot_depth = scene.pivot * math.exp(float(farther.detach()))
    return replace(scene, parts=(replace(part, planes=planes.detach()),), pivot=pivot_depth)


def _psnr(
    scene: Scene, yaw: float, image: Tensor, elevation: float = 0.0, resolution: int | None = None
) -> float:
    """How well the view of `scene` turned by `yaw` shows the `image`, dB."""
    seen = scene.view(yaw, elevation=elevation, resolution=resolution).images[0].cpu()
    wanted = F.interpolate(image[None].cpu(), seen.shape[-2:], mode="area")[0]
    return float(-10 * torch.log10(((seen - wanted) / 2).square().mean().clamp(min=1e-10)))


def found_yaw(first: Reconstruction, other: Reconstruction, elevation: float = 0.0) -> float:
    """The yaw of the other picture's camera that both pictures, and the scenes of both, say is likeliest."""
    small = min(_SMALL, first.scene.resolution)
    one, two = ((to_radiance(each.image).permute(1, 2, 0)).double().numpy() for each in (first, other))
    fov = first.scene.camera.fov

    @cache
    def likeness(yaw: float) -> float:
        there = _psnr(first.scene, yaw, other.image, elevation, small)
        back = _psnr(other.scene, -yaw, first.image, elevation, small)
        unlike = max(unlikeness(one, two, yaw, fov, elevation), 1e-5)
        return there + back - 40 * math.log10(unlike)  # dB, of two views each

    coarse = max(_TRIED, key=likeness)
    return float(max((coarse + step for step in _FINER), key=likeness))
