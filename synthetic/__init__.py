"""Data sets for class-conditional 3D learning: procedural models in ShapeNet layout, rendered with BlenderProc."""

from __future__ import annotations

import atexit
import os
import signal
import sys
from types import FrameType, TracebackType

from synthetic.workers.standard_streams import flush_or_leave, secure_streams


def _report_end(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Prints one line after Ctrl-C, a traceback after any other error."""
    if issubclass(kind, KeyboardInterrupt):
        sys.stderr.write("stopped\n")
    else:
        sys.__excepthook__(kind, error, trace)


def _stop(number: int, frame: FrameType | None) -> None:
    """Ends the process while it imports, when libraries turn a KeyboardInterrupt into other errors; raises it later."""
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            sys.stderr.write("stopped\n")
            sys.stderr.flush()
            os._exit(128 + number)
        frame = frame.f_back
    raise KeyboardInterrupt


# `python -m synthetic.…` has set this when it imports the package, before the command, which takes seconds
if sys.argv[:1] == ["-m"]:
    secure_streams()
    atexit.register(flush_or_leave)
    sys.excepthook = _report_end
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _stop)
