"""A picture to a scene in one pass, and codes to a scene."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gp3d_core.datasets.decoding import Limits, PictureError, decode
from gp3d_core.preparation.framing import Fit, frame, place
from gp3d_core.vq3d.files.tokenizer_file import TokenizerSnapshot
from gp3d_core.vq3d.scenes.editing import set_pivot
from gp3d_core.vq3d.scenes.scenefile import Part, Scene


def read_picture(path: Path, resolution: int, fit: Fit = "crop") -> Tensor:
    """The picture at `path`, of any size and mode, as [3,R,R] in [-1, 1], R = `resolution`.

    Raises PictureError, with its name, for one that cannot be used, OSError for one that is not there.
    """
    try:
        picture = decode(path.read_bytes(), Limits())
    except PictureError as error:
        raise PictureError(f"{path} {error}") from error
    square = place(picture, frame(picture.width, picture.height, resolution, fit))
    return torch.from_numpy(np.asarray(square, dtype=np.float32)).permute(2, 0, 1) / 127.5 - 1


@torch.no_grad()
def reconstruct(snapshot: TokenizerSnapshot, image: Tensor, source: str) -> Scene:
    """The scene of one `image` [3,R,R] in [-1, 1]; `source` names it."""
    device = next(snapshot.tokenizer.parameters()).device
    codes = snapshot.tokenizer.encode(image[None].to(device)).codes
    return scenes_of_codes(snapshot, codes, [source])[0]


@torch.no_grad()
def scenes_of_codes(snapshot: TokenizerSnapshot, codes: Tensor, sources: Sequence[str]) -> list[Scene]:
    """The scenes of `codes` [B,N], one for each of the B `sources`."""
    tokenizer, config = snapshot.tokenizer, snapshot.config
    scenes = []
    for its_planes, its_codes, source in zip(tokenizer.decode(codes), codes, sources, strict=True):
        part = Part(its_planes, tokenizer.field_decoder, config.decoder, snapshot.digest, source, its_codes)
        size = config.training.resolution
        scenes.append(set_pivot(Scene((part,), config.camera, config.render, size, pivot=1.0)))
    return scenes
