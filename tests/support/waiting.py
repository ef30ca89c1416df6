"""What a GPU would have to wait for, found without one: torch's `meta` device, where to look at a number raises."""

from __future__ import annotations

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

META = torch.device("meta")
FROM_NUMBERS = (torch.tensor, torch.as_tensor, torch.Tensor.new_tensor, torch.from_numpy)


class MetaStream(torch.Generator):
    """A stream of a device that computes nothing: whoever asks it for a number fails, as a GPU would wait."""

    device = property(lambda self: META)


class Arrivals(TorchDispatchMode):
    """Counts tensors that are copied between host and device."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        devices = {x.device.type for x in tree_leaves((args, result)) if isinstance(x, torch.Tensor)}
        if len(devices) > 1:
            self.found.append(str(function))
        return result


class Numbers(TorchFunctionMode):
    """Counts tensors that are made out of Python numbers or lists on the device."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_function__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        on_device = isinstance(result, torch.Tensor) and result.device == META
        by_list = function is torch.Tensor.__getitem__ and has_list(args[1])
        if on_device and (function in FROM_NUMBERS or by_list):
            self.found.append((function.__name__, args[-1]))
        return result


def has_list(index):
    return any(isinstance(part, list | tuple) for part in (index if isinstance(index, tuple) else (index,)))
