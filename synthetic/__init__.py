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


if sys.argv[:1] == [
    "-m"
]:  # `python -m synthetic.…` sets it so before the command is imported, which takes seconds
    sys.excepthook = _report_end
