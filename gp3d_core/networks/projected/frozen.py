"""Modules that never learn."""

from __future__ import annotations

from typing import Self

from torch import nn


def freeze(module: nn.Module) -> None:
    """Turns the parameters of `module` and all below it into buffers of the same names.

    Buffers are saved and moved like parameters, but no optimiser finds them, and `requires_grad_` of a network that
    they are part of leaves them alone. (A training step calls it on whole players.)
    """
    for part in module.modules():
        for name, parameter in list(part.named_parameters(recurse=False)):
            delattr(part, name)
            part.register_buffer(name, parameter.detach())


class Frozen(nn.Module):
    """A module that stays in evaluation mode, whatever mode the network around it is in."""

    def train(self, mode: bool = True) -> Self:
        """Itself, in evaluation mode."""
        return super().train(False)
