"""Data sets for class-conditional 3D learning: procedural models in ShapeNet layout, rendered with BlenderProc."""

from __future__ import annotations

import atexit
import os
import signal
import sys
from types import FrameType, TracebackType

from synthetic.workers.blender_process import Stopped, ignore_signals, stop_signals
from synthetic.workers.memory import take_buffers, watch_memory
from synthetic.workers.standard_streams import flush_or_leave, secure_streams

_raised: list[int] = []  # signals


def _report_end(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Prints one line after Ctrl-C, SIGTERM and SIGHUP, a traceback after any other error."""
    if not isinstance(error, KeyboardInterrupt) and not _raised:
        sys.__excepthook__(kind, error, trace)
        return
    sys.stderr.write("stopped\n")
    number = _raised[-1] if _raised else signal.SIGINT
    if number != signal.SIGINT or not isinstance(error, KeyboardInterrupt):
        flush_or_leave()
        os._exit(128 + number)  # of a KeyboardInterrupt the interpreter makes an end by SIGINT itself


def _stop(number: int, frame: FrameType | None) -> None:
    """Raises KeyboardInterrupt, which libraries in C may make other errors of; ends the process at once while it
    imports, as then they all do; does nothing once the program has ended, and Python with it.
    """
    outermost = frame
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            sys.stderr.write("stopped\n")
            sys.stderr.flush()
            os._exit(128 + number)
        outermost, frame = frame, frame.f_back
    if outermost is None or outermost.f_code.co_name != "_run_module_as_main":
        return
    _raised.append(number)
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
    atexit.register(ignore_signals)  # first of all, so that it is called last: Python then gives them up
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
