"""A picture to a scene in one pass, and codes to a scene."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gp3d_core.datasets.decoding import Limits, PictureError, decode
from gp3d_core.lifting.photograph import read_file
from gp3d_core.preparation.framing import Fit, frame, place
from gp3d_core.signals import Progress, counted, no_progress
from gp3d_core.vq3d.files.prior_file import PriorSnapshot
from gp3d_core.vq3d.files.tokenizer_file import TokenizerSnapshot
from gp3d_core.vq3d.models.prior import Sampling
from gp3d_core.vq3d.scenes.editing import set_pivot
from gp3d_core.vq3d.scenes.input_views import InputView
from gp3d_core.vq3d.scenes.scenefile import Part, Scene


def read_picture(path: Path, resolution: int, fit: Fit = "crop") -> Tensor:
    """The picture at `path`, of any size and mode, as [3,R,R] in [-1, 1], R = `resolution`.

    Raises PictureError, with its name, for one that cannot be used, OSError for one that is not there.
    """
    return square_of(open_picture(path), resolution, fit)


def open_picture(path: Path) -> Image.Image:
    """The picture at `path`, upright and in RGB. Raises as `read_picture`."""
    try:
        return decode(read_file(path), Limits())
    except PictureError as error:
        raise PictureError(f"{path} {error}") from error


def square_of(picture: Image.Image, resolution: int, fit: Fit = "crop") -> Tensor:
    """The RGB `picture` as [3,R,R] in [-1, 1], R = `resolution`: its middle, or with `fit` letterbox all on white."""
    square = place(picture, frame(picture.width, picture.height, resolution, fit))
    return torch.from_numpy(np.asarray(square, dtype=np.float32)).permute(2, 0, 1) / 127.5 - 1


@torch.no_grad()
def reconstruct(snapshot: TokenizerSnapshot, image: Tensor, source: str) -> Scene:
    """The scene of one `image` [3,R,R] in [-1, 1]; `source` names it."""
    device = next(snapshot.tokenizer.parameters()).device
    codes = snapshot.tokenizer.encode(image[None].to(device)).codes
    return scenes_of_codes(snapshot, codes, [source])[0]


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """A picture, [3,R,R] in [-1, 1], and the scene that it became."""

    image: Tensor
    scene: Scene


def reconstruct_picture(
    snapshot: TokenizerSnapshot, picture: Image.Image, source: str, fit: Fit = "crop"
) -> Reconstruction:
    """The scene of an RGB `picture` of any size, which it keeps for the colours of its meshes; `source` names it."""
    size = snapshot.config.training.resolution
    image = square_of(picture, size, fit)
    scene = reconstruct(snapshot, image, source)
    return Reconstruction(image, replace(scene, inputs=(InputView.of_picture(picture, size, fit),)))


def reconstruct_files(
    snapshot: TokenizerSnapshot,
    pictures: Mapping[str, Path],
    fit: Fit = "crop",
    progress: Progress = no_progress,
) -> tuple[dict[str, Reconstruction], list[str]]:
    """The scenes of the `pictures`, by the same names, and a line for each that cannot be used, which is left out.

    `progress` hears of the stage scenes. Raises PictureError, or OSError, when none can be used.
    """
    made: dict[str, Reconstruction] = {}
    errors: list[PictureError | OSError] = []
    for stem, path in counted(list(pictures.items()), "scenes", progress):
        try:
            picture = open_picture(path)
        except (PictureError, OSError) as error:
            errors.append(error)
            continue
        made[stem] = reconstruct_picture(snapshot, picture, path.name, fit)
    lines = [_line(error) for error in errors]
    if not made and len(errors) == 1:
        raise errors[0]
    if not made:
        raise PictureError(f"none of {len(lines)} pictures can be used: {'; '.join(lines)}")
    return made, lines


def _line(error: PictureError | OSError) -> str:
    return f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else str(error)


@torch.no_grad()
def sample_scenes(
    prior: PriorSnapshot,
    class_name: str | None,
    seeds: Sequence[int],
    sampling: Sampling,
    progress: Progress = no_progress,
) -> list[Scene]:
    """New scenes of the class `class_name`, of any for None, one for each of the `seeds`.

    `progress` hears of the stages codes and scenes. Raises as `PriorSnapshot.sample`.
    """
    codes, name = prior.sample(class_name, seeds, sampling, progress), prior.name_of(class_name)
    return scenes_of_codes(prior.tokenizer, codes, [f"{name}, seed {seed}" for seed in seeds], progress)


@torch.no_grad()
def scenes_of_codes(
    snapshot: TokenizerSnapshot, codes: Tensor, sources: Sequence[str], progress: Progress = no_progress
) -> list[Scene]:
    """The scenes of `codes` [B,N], one for each of the B `sources`. `progress` hears of the stage scenes."""
    config, size = snapshot.config, snapshot.config.training.resolution
    decoder, scenes = snapshot.tokenizer.field_decoder, []
    rows = list(zip(snapshot.tokenizer.decode(codes), codes, sources, strict=True))
    for planes, its_codes, source in counted(rows, "scenes", progress):
        part = Part(planes, decoder, config.decoder, snapshot.digest, source, its_codes)
        scenes.append(set_pivot(Scene((part,), config.camera, config.render, size, pivot=1.0)))
    return scenes
