"""Masks from a network in an ONNX file: ISNet, U²-Net, and what takes and gives pictures as they do.

The network wants one input, float [N,3,S,S] with N and S fixed or free, of the whole picture stretched to S × S. Its
first output is the mask, [N,1,S,S] or [N,S,S]; further outputs are coarser ones of training. How pixels become
numbers no such file says, and it cannot be guessed from the result. The rule: networks that see fewer than 512 pixels
a side are of U²-Net's kind (Qin et al. 2020), with ImageNet's mean and deviation; larger ones are of ISNet's (Qin et
al. 2022), with the middle of the range at 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gp3d_core.errors import GP3DError
from gp3d_core.hashing import digest
from gp3d_core.preparation.framing import resize
from gp3d_core.preparation.maps.masks import resize_mask

Pixels = Literal["auto", "imagenet", "half", "symmetric", "unit"]
PIXELS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {  # mean and deviation of values in [0, 1]
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),  # U²-Net
    "half": ((0.5, 0.5, 0.5), (1.0, 1.0, 1.0)),  # ISNet
    "symmetric": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "unit": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
}
FREE_SIDE = 1024  # of a network that takes any size: ISNet's
_ISNET_SIDE = 512  # from here on
_MOST_SIDE = 4096
_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
_SLACK = 1e-3  # beyond 0 and 1, by which probabilities may be off


class MaskModelError(GP3DError):
    """A network for masks that cannot be had, read or used; the message says what to do."""


class NetworkMasks:
    """Masks from the network in the ONNX file `file`. A MapSource.

    side: pixels a side of a network that takes any size, None for FREE_SIDE. threads: None for all cores.

    Raises MaskModelError when onnxruntime is missing, and for a file that is no network of this kind: it is tried once.
    """

    def __init__(
        self, file: Path, *, pixels: Pixels = "auto", side: int | None = None, threads: int | None = None
    ) -> None:
        self._where = str(file)
        if not file.is_file():
            raise MaskModelError(f"{file} is no file; expected a network as .onnx")
        self._session = _open(file, threads)
        self._read_input(side)
        if pixels == "auto":
            pixels = "half" if min(self._height, self._width) >= _ISNET_SIDE else "imagenet"
        self._mean, self._deviation = (np.array(row, dtype=np.float32) for row in PIXELS[pixels])
        self._logits = False
        self._logits = self._gives_logits()
        self.record: dict[str, Any] = {
            "model": file.name,
            "sha256": digest(file),
            "side": self._width if self._width == self._height else f"{self._width}x{self._height}",
            "pixels": pixels,
            "license": "that of the file",
        }

    def maps(self, names: Sequence[str], images: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """Masks uint8 [R,R] of the images; see MapSource."""
        return [np.asarray(mask) for mask in self.masks([Image.fromarray(image) for image in images])]

    def masks(self, pictures: Sequence[Image.Image]) -> list[Image.Image]:
        """The mask (mode L) of each RGB picture, in its size."""
        inputs = np.stack([self._numbers(picture) for picture in pictures]).astype(self._type)
        at_once = self._count or len(inputs)
        masks: list[Image.Image] = []
        for start in range(0, len(inputs), at_once):
            part = inputs[start : start + at_once]
            filled = part[np.arange(at_once) % len(part)] if self._count else part
            masks += [self._finished(row) for row in self._run(filled)[: len(part)]]
        return [
            mask if mask.size == picture.size else resize_mask(mask, *picture.size)
            for mask, picture in zip(masks, pictures, strict=True)
        ]

    def _read_input(self, side: int | None) -> None:
        inputs = self._session.get_inputs()
        shape = list(inputs[0].shape) if inputs else []
        if len(inputs) != 1 or len(shape) != 4 or (isinstance(shape[1], int) and shape[1] != 3):
            found = "; ".join(f"{each.name} {_said(each.shape)}" for each in inputs)
            raise MaskModelError(f"{self._where}: expected one input [N,3,H,W], found {found or 'none'}")
        if inputs[0].type not in _TYPES:
            raise MaskModelError(f"{self._where}: expected an input of float, found {inputs[0].type}")
        self._name, self._type = inputs[0].name, _TYPES[inputs[0].type]
        self._count = shape[0] if isinstance(shape[0], int) and shape[0] > 0 else None
        height, width = (edge if isinstance(edge, int) and edge > 0 else None for edge in shape[2:])
        self.free = height is None or width is None
        if not self.free and side not in (None, height):
            raise MaskModelError(f"{self._where} sees {width}x{height} pixels; leave out `side`")
        self._height, self._width = height or side or FREE_SIDE, width or side or FREE_SIDE
        if max(self._height, self._width) > _MOST_SIDE:
            raise MaskModelError(
                f"{self._where} sees {self._width}x{self._height} pixels, more than {_MOST_SIDE} a side"
            )

    def _gives_logits(self) -> bool:
        """Whether the network leaves its last sigmoid to others: told by a bright disc on a dark ground."""
        rows, columns = np.mgrid[: self._height, : self._width]
        away = np.hypot(rows / self._height - 0.5, columns / self._width - 0.5)
        disc = np.where(away < 0.3, 230, 25).astype(np.uint8)
        numbers = self._numbers(Image.fromarray(np.repeat(disc[..., None], 3, axis=2)))
        output = self._run(np.repeat(numbers[None], self._count or 1, axis=0).astype(self._type))
        return bool(output.min() < -_SLACK or output.max() > 1 + _SLACK)

    def _numbers(self, picture: Image.Image) -> NDArray[Any]:
        """What the network is to see of an RGB picture, float32 [3,H,W]."""
        values = np.asarray(resize(picture, self._width, self._height), dtype=np.float32) / 255
        return ((values - self._mean) / self._deviation).transpose(2, 0, 1)

    def _run(self, inputs: NDArray[Any]) -> NDArray[Any]:
        """The first output of the network, float32 [N,H',W'], for as many inputs as it takes."""
        try:
            output = np.asarray(
                self._session.run([self._session.get_outputs()[0].name], {self._name: inputs})[0]
            )
        except Exception as error:  # the library raises a dozen kinds
            remedy = "give a smaller `batch`" if len(inputs) > 1 else "expected an ISNet or U²-Net"
            raise MaskModelError(
                f"{self._where} does not run on {_said(inputs.shape)}: {_first_line(error)}; {remedy}"
            ) from error
        shape = output.shape
        if output.ndim == 4 and shape[1] == 1:
            output = output[:, 0]
        if (
            output.ndim != 3
            or len(output) != len(inputs)
            or min(output.shape) < 1
            or output.dtype.kind != "f"
        ):
            raise MaskModelError(
                f"{self._where}: expected the mask [{len(inputs)},1,H,W] as first output, "
                f"found {output.dtype} {_said(shape)}"
            )
        if not np.isfinite(output).all():
            raise MaskModelError(f"{self._where} gives NaN or infinity; are these the right `pixels`?")
        return output.astype(np.float32)

    def _finished(self, output: NDArray[Any]) -> Image.Image:
        """The mask of an output [H',W'], mode L."""
        if self._logits:
            output = 1 / (1 + np.exp(-output.clip(-80, 80)))
        return Image.fromarray(np.rint(output.clip(0, 1) * 255).astype(np.uint8))


def _open(file: Path, threads: int | None) -> Any:
    """A session of onnxruntime on the processor."""
    try:
        import onnxruntime
    except ImportError as error:
        raise MaskModelError(
            f"masks of a network need onnxruntime ({error}); pip install -e '.[masks]'"
        ) from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what is wrong is raised, too
    options.intra_op_num_threads = threads or 0
    try:
        return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the library raises a dozen kinds
        raise MaskModelError(
            f"{file} is no network that onnxruntime can read ({_first_line(error)})"
        ) from error


def _said(shape: Sequence[Any]) -> str:
    return "[" + ",".join("N" if edge is None else str(edge) for edge in shape) + "]"


def _first_line(error: Exception) -> str:
    return " ".join(str(error).partition("\n")[0].split())[:160]
