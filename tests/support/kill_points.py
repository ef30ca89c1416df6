"""Processes that are killed just before the n-th time that they touch a folder: between any two changes of its files.

Python tells audit hooks of every opening, moving and removing, so that nothing that writes has to know of it.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path


def in_child(work: Callable[[], None]) -> int:
    """What a process ended with that did `work`: its exit status, or minus the signal that killed it."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def dying_at(step: int, folder: Path) -> None:
    """Lets this process be killed just before it touches `folder` for the `step`-th time."""
    left = [step]

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        touched = event == "open" or event.partition(".")[0] in ("os", "shutil")
        if touched and any(str(value).startswith(str(folder)) for value in arguments):
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)


def killed_everywhere(
    folder: Path, work: Callable[[], None], then: Callable[[int], None], most: int = 500
) -> int:
    """Kills `work` before each time that it touches `folder`, and calls `then` after each; how many times there were.

    `then` gets the number of the kill, and has to put the folder back as it was.
    """
    for step in range(1, most):

        def until_killed(step: int = step) -> None:
            dying_at(step, folder)
            work()

        status = in_child(until_killed)
        then(step)
        if status == 0:
            return step - 1
        assert status == -signal.SIGKILL, f"step {step}: it ended with {status}"
    raise AssertionError("it never came to its end")
