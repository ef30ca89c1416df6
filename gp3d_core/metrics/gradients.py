"""How much a picture changes from pixel to pixel inside the object that it shows: patterns have edges, blur has none.

Letters: N pictures of R×R pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from gp3d_core.ops.checks import check_shape

REACH = 2  # pixels: so far a silhouette's antialiased edge may reach into the object
_LUMINANCE = (0.2126, 0.7152, 0.0722)  # ITU-R BT.709, of RGB as it is stored


def inner_gradients(images: Tensor, masks: Tensor, reach: int = REACH) -> tuple[Tensor, Tensor]:
    """Mean magnitude and mean square of the gradient of luminance inside the object, each float64 [N].

    `images` are uint8 [N,3,R,R], `masks` bool [N,R,R] say where the object is. The gradient is by central differences,
    in luminance (0 to 1, not made linear) a pixel. Pixels count whose (2·reach + 1)² neighbourhood, `reach` at least 1,
    lies on the object and in the picture, so that no silhouette counts; a picture without any gives NaN.
    """
    sizes = check_shape("images", images, "N 3 R R")
    check_shape("masks", masks, "N R R", sizes)
    if reach < 1:
        raise ValueError(f"expected a reach of at least 1, found {reach}")
    weights = torch.tensor(_LUMINANCE, dtype=torch.float64, device=images.device)
    light = torch.einsum("nchw,c->nhw", images.double() / 255, weights)
    squares = torch.zeros_like(light)
    squares[:, :, 1:-1] += ((light[:, :, 2:] - light[:, :, :-2]) / 2).square()
    squares[:, 1:-1] += ((light[:, 2:] - light[:, :-2]) / 2).square()
    outside = F.pad((~masks).float()[:, None], (reach,) * 4, value=1.0)
    inner = (F.max_pool2d(outside, 2 * reach + 1, stride=1)[:, 0] == 0).double()
    count = inner.sum(dim=(1, 2))
    return (squares.sqrt() * inner).sum(dim=(1, 2)) / count, (squares * inner).sum(dim=(1, 2)) / count
