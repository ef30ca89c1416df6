"""What a process that computes does with memory that it has freed."""

import subprocess
import sys

import pytest

_AGAIN_AND_AGAIN = """
import resource, sys
import numpy as np
if sys.argv[1:]:
    from gp3d_core.cli.process.memory import keep_freed_memory
    keep_freed_memory()
for number in range(50):
    a, b = np.ones(2**20), np.ones(2**20)  # of 8 MiB each, 2048 pages
    del a, b
    if number == 1:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _faults(*arguments: str) -> int:
    command = [sys.executable, "-c", _AGAIN_AND_AGAIN, *arguments]
    return int(subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc is told to")
def test_arrays_of_some_megabytes_find_the_pages_of_those_that_were_freed():
    assert _faults("keep") < 1000
    if _faults() < 10_000:
        pytest.skip("this kernel gives huge pages, which are few")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc is told to")
def test_commands_that_compute_keep_what_they_free(monkeypatch):
    from gp3d_core.cli import main

    kept = []
    monkeypatch.setattr(main, "keep_freed_memory", lambda: kept.append(True))
    monkeypatch.setattr(main, "take_buffers", lambda: None)
    assert main.main(["mesh", "--class", "no such class at all", "--device", "cpu"])
    assert kept
    assert main.main(["classes", "no-such-model"])
    assert kept == [True]
