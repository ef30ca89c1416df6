"""Imports of what computes, as quickly as they go."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def for_good() -> Iterator[None]:
    """A block for imports, in which nothing is searched for garbage.

    The libraries are some hundred thousand objects that live as long as the process; Python would go through them again
    and again while they come in, and, from the first such block on, never does later, either.
    """
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if gc.get_freeze_count() == 0:
            gc.freeze()
        if before:
            gc.enable()
