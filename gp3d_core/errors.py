"""The one family of errors that a user can cause and mend, and how their messages name parameters.

A message names a parameter as Python does, in backticks: "`level`: expected a density above 0", and a setting of a
configuration by its path, "`training.batch`=32". That is what Python users read. Borders say names of their own with
`spell`: the command line its flags, the worker its fields, for which the add-on has the labels of its controls.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

_PARAMETER = re.compile(r"`([a-z][a-z0-9_]*(?:\.[a-z0-9_]+)*)`")
_LONGEST_LINE = 1000  # characters of a message
_NO_MEMORY = re.compile(  # of CUDA, torch, threads, C++, the loader of libraries, oneDNN, Python's imports
    r"out of memory|not enough memory|can't allocate memory|can't start new thread|bad_alloc"
    r"|failed to map segment|could not create a (?:memory|primitive)|error return without exception set"
    r"|without setting an exception",
    re.IGNORECASE,
)


class GP3DError(ValueError):
    """Bad input. The message is one line: what was expected, what was found, what to do."""

    exit_code = 2


class DeviceError(GP3DError):
    """A device that this machine does not have."""


def no_cuda() -> DeviceError:
    """What is said of CUDA where there is none, by the driver or by torch."""
    return DeviceError("`device` cuda: this machine has no CUDA device that torch can use; use `device` cpu")


def lacks_memory(error: BaseException) -> bool:
    """Whether an error, or one while which it was raised, says that memory is used up, of this machine or of a device:
    Python's, the system's, numpy's or torch's.
    """
    if isinstance(error, OSError):  # whose text names files
        found = error.errno == errno.ENOMEM
    else:
        found = isinstance(error, MemoryError) or _NO_MEMORY.search(str(error)) is not None
    return found or (error.__context__ is not None and lacks_memory(error.__context__))


def one_line(text: str) -> str:
    """`text` in one line of at most 1000 characters that no file of a stranger can use to steer a terminal."""
    plain = "".join(c if c.isprintable() or _is_escaped_byte(c) else " " for c in text[: 4 * _LONGEST_LINE])
    line = " ".join(plain.split())
    return line if len(line) <= _LONGEST_LINE else f"{line[: _LONGEST_LINE - 1]}…"


def _is_escaped_byte(character: str) -> bool:
    """Whether it stands for a byte of a file's name that is no text, which terminals are shown escaped."""
    return "\udc80" <= character <= "\udcff"


def spell(message: str, name_of: Callable[[str], str]) -> str:
    """`message` with every parameter that it names in backticks called as `name_of` calls it."""
    return _PARAMETER.sub(lambda found: name_of(found[1]), message)


@contextmanager
def renaming(names: Mapping[str, str]) -> Iterator[None]:
    """A block whose errors of this family call parameters as `names` has them: those of a caller of its own names."""
    try:
        yield
    except GP3DError as error:
        error.args = (spell(str(error), lambda name: f"`{names.get(name, name)}`"), *error.args[1:])
        raise
