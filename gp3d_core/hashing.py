"""What a file is, whatever it is called, and what libraries raise that read a damaged one."""

from __future__ import annotations

import hashlib
import lzma
import struct
import tokenize
import zipfile
import zlib
from pathlib import Path

from gp3d_core.errors import GP3DError

# Whoever reads files of strangers turns these into an error of its own, so that all mean the same by damage. Libraries
# raise nearly all of them: zipfile an IndexError for an entry without a name, readers of arrays a MemoryError, numpy a
# TokenError for a header that never ends, trimesh an UnboundLocalError for a scene without accessors.
DAMAGE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    NameError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    lzma.LZMAError,
    struct.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)


class FileKindError(GP3DError):
    """A pipe, socket or device in the place of a file: reading one may never end."""


def ordinary(path: Path) -> Path:
    """`path`, if a file, a folder or nothing is there. Raises FileKindError for anything else."""
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise FileKindError(f"{path} is a pipe, a socket or a device; expected a file or a folder")
    return path


def digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal. Raises FileKindError."""
    with ordinary(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
