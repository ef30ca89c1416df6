"""Small ONNX networks for subject masks, and pictures whose masks are known."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

SIZE = 32
WEIGHTS = (4.0, -2.0, 1.0)


def network(
    path: Path,
    side: int | str,
    *,
    outputs: int = 1,
    count: int | str = 1,
    channels: int = 3,
    classes: int = 1,
    sigmoid: bool = True,
    inputs: int = 1,
    kind: int = TensorProto.FLOAT,
) -> Path:
    """Writes a network with one convolution of 1 × 1; its outputs after the first are the first one upside down."""
    weights = np.resize(np.array(WEIGHTS, dtype=np.float32), (classes, channels, 1, 1))
    last = "d0" if sigmoid else "logits"
    number = kind if kind in (TensorProto.FLOAT, TensorProto.FLOAT16) else TensorProto.FLOAT
    nodes = [
        helper.make_node("Cast", ["x0"], ["x"], to=number),
        helper.make_node("Conv", ["x", "w"], ["logits"]),
    ]
    nodes += [helper.make_node("Sigmoid", ["logits"], ["d0"])] if sigmoid else []
    nodes += [helper.make_node("Neg", [last], [f"d{k}"]) for k in range(1, outputs)]
    shape = [count, channels, side, side]
    graph = helper.make_graph(
        nodes,
        "masks",
        [helper.make_tensor_value_info(f"x{k}", kind, shape) for k in range(inputs)],
        [
            helper.make_tensor_value_info(name, number, [count, classes, side, side])
            for name in [last, *(f"d{k}" for k in range(1, outputs))]
        ],
        [numpy_helper.from_array(weights.astype(helper.tensor_dtype_to_np_dtype(number)), "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return path


def plain(color: Sequence[int], size: int = SIZE) -> NDArray[np.uint8]:
    return np.full((size, size, 3), color, dtype=np.uint8)


def subject(size: tuple[int, int], box: tuple[int, int, int, int]) -> Image.Image:
    """A red rectangle on green."""
    picture = Image.new("RGB", size, (0, 255, 0))
    picture.paste((255, 0, 0), box)
    return picture


def of_red(picture: Image.Image) -> Image.Image:
    return Image.fromarray((np.asarray(picture)[..., 0] > 127).astype(np.uint8) * 255)


def bytes_of(folder: Path, ending: str) -> dict[str, bytes]:
    return {
        str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob(f"*{ending}")) if p.is_file()
    }


def write_photos(folder: Path) -> Path:
    """The `folder`, with five pictures of noise."""
    (folder / "n0").mkdir(parents=True)
    for i in range(5):
        pixels = np.random.default_rng(i).integers(0, 255, (5, 5, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((SIZE, SIZE)).save(folder / f"n0/photo{i}.png")
    return folder
