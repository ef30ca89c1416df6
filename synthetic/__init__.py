"""Data sets for class-conditional 3D learning: procedural models in ShapeNet layout, rendered with BlenderProc."""

from __future__ import annotations

import sys
from types import TracebackType


def _report_end(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Prints one line after Ctrl-C, a traceback after any other error."""
    if issubclass(kind, KeyboardInterrupt):
        sys.stderr.write("stopped\n")
    else:
        sys.__excepthook__(kind, error, trace)


# `python -m synthetic.…` has set this when it imports the package, before the command, which takes seconds
if sys.argv[:1] == ["-m"]:
    sys.excepthook = _report_end
