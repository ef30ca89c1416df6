"""A data set whose subjects stand on white, or before blurred surroundings, as its masks have it.

The new pixels lie on disk, in a data set of its own: what is trained on is what is measured against, and the card says
what was done. Depth has to be made before, of the whole pictures: networks for depth fail on plain backgrounds.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from gp3d_core.datasets import depth_codes
from gp3d_core.datasets.archive import DatasetError, depth_name
from gp3d_core.datasets.dataset import Dataset
from gp3d_core.preparation.maps.masks import SUBJECT
from gp3d_core.preparation.subset import write_subset

Surroundings = Literal["white", "blur"]
_BLUR = 1 / 16  # standard deviation of the Gaussian, of a picture's side


def compose(image: NDArray[Any], mask: NDArray[Any], surroundings: Surroundings) -> NDArray[Any]:
    """The image uint8 [R,R,3] with new surroundings, mixed in encoded values by its `mask` uint8 [R,R].

    Only surroundings are blurred into surroundings: nothing of the subject shines into them.
    """
    pixels, share = image.astype(np.float64), mask.astype(np.float64)[..., None] / 255
    behind: NDArray[Any] | float = 255.0
    if surroundings == "blur":
        sigma = (_BLUR * len(image), _BLUR * len(image), 0)
        weight = ndimage.gaussian_filter(1 - share, sigma, mode="nearest")
        blurred = ndimage.gaussian_filter(pixels * (1 - share), sigma, mode="nearest")
        behind = blurred / np.maximum(weight, 1e-6)
    return np.rint(pixels * share + behind * (1 - share)).clip(0, 255).astype(np.uint8)


def write_composed(path: Path, out: Path, surroundings: Surroundings) -> None:
    """Writes the data set `out`, a folder or zip: that at `path` with new surroundings; as `subset.write_subset`.

    On white the surroundings are as far as can be, as in renders; blurred they keep their depth. Raises DatasetError,
    before anything is written, for images without a mask.
    """
    dataset = Dataset(path, needs_depth=False)
    if lacking := dataset.without_mask:
        raise DatasetError(
            f"{path}: {len(lacking)} of {len(dataset)} images have no mask, the first is {lacking[0]}; "
            f"`gp3d data mask {path}` makes them"
        )
    images = {name: index for index, name in enumerate(dataset.names)}
    depths = {depth_name(name): index for name, index in images.items()}

    def changed(name: str) -> bytes | None:
        if name in images:
            index = images[name]
            return _png(compose(dataset.load_image(index), dataset.load_mask(index), surroundings))
        if name in depths and surroundings == "white":
            depth = dataset.load_depth(depths[name])
            depth[dataset.load_mask(depths[name]) < SUBJECT] = depth_codes.BACKGROUND
            return _png(depth)
        return None

    write_subset(
        path,
        dataset.names,
        out,
        "surroundings",
        {"surroundings": surroundings},
        files="copy",
        changed=changed,
    )


def _png(pixels: NDArray[Any]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    return file.getvalue()
