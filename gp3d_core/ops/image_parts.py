"""Images in parts that a network looks at one after another."""

from __future__ import annotations

from torch import Tensor

# The maps of three pictures of 224 to 299 px stay below the 16 MiB from which commands give memory back to the system,
# which clears it again for the next ones: that took up to half of the time.
_ON_CPU = 3


def image_parts(images: Tensor) -> tuple[Tensor, ...]:
    """The `images` [B,...] in parts for a network that knows pictures of hundreds of pixels.

    On a CPU few at a time, on a GPU all.
    """
    return images.split(max(len(images), 1) if images.is_cuda else _ON_CPU)
