"""Data sets for class-conditional 3D learning: procedural models in ShapeNet layout, rendered with BlenderProc."""

from __future__ import annotations

import atexit
import os
import signal
import sys
from types import FrameType, TracebackType

from synthetic.workers.blender_process import Stopped, stop_signals
from synthetic.workers.memory import take_buffers, watch_memory
from synthetic.workers.standard_streams import flush_or_leave, secure_streams


def _report_end(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Prints one line after Ctrl-C, SIGTERM and SIGHUP, a traceback after any other error."""
    if not isinstance(error, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    sys.stderr.write("stopped\n")
    if isinstance(error, Stopped):  # of a KeyboardInterrupt the interpreter makes an end by SIGINT
        flush_or_leave()
        os._exit(error.status)


def _stop(number: int, frame: FrameType | None) -> None:
    """Ends the process while it imports, when libraries turn a KeyboardInterrupt into other errors; raises it later."""
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            sys.stderr.write("stopped\n")
            sys.stderr.flush()
            os._exit(128 + number)
        frame = frame.f_back
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    for other in set(stop_signals()) - {
        signal.SIGINT
    }:  # they are sent twice; a second would hit what cleans up
        signal.signal(other, signal.SIG_IGN)
    raise Stopped(number)


# `python -m synthetic.…` has set this when it imports the package, before the command, which takes seconds
if sys.argv[:1] == ["-m"]:
    secure_streams()
    atexit.register(flush_or_leave)
    sys.excepthook = _report_end
    command = sys.orig_argv[sys.orig_argv.index("-m") + 1].count(".") == 1
    if command:  # how a child ends is for its parent to judge
        watch_memory()
    for one in stop_signals() if command else [signal.SIGINT]:
        if signal.getsignal(one) in (signal.default_int_handler, signal.SIG_DFL):
            signal.signal(one, _stop)
    if command:
        take_buffers()  # once signals are heard, for it imports numpy
