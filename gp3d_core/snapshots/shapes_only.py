"""Modules of which only the shapes are wanted: nothing is made that needs memory, and nothing is computed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode


@contextmanager
def shapes_only() -> Iterator[None]:
    """Within the block modules are built on "meta" and their first values are not drawn.

    Drawing them there is left to PyTorch's compiler (2.13: `randn`, `normal_`, division), whose import takes
    longer than all the rest of reading a model.
    """
    with torch.device("meta"), _Undrawn():
        yield


class _Undrawn(TorchFunctionMode):
    """Tensors keep the shape they have: none is drawn, scaled or shifted."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        known = {**(kwargs or {})}
        if func is torch.randn:
            return torch.empty(*args, **known)
        if getattr(func, "__module__", "") == nn.init.__name__:
            return known.get("tensor", *args[:1])
        if func in _IN_SHAPE and not any(isinstance(other, Tensor) for other in args[1:]):
            return args[0]
        return func(*args, **known)


_IN_SHAPE = {Tensor.normal_, Tensor.uniform_, Tensor.div, Tensor.mul}
