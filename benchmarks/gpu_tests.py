"""The tests of kernels in several processes at once, as most of their time is compiling, with the first failures last.

python -m benchmarks.gpu_tests [--processes N] TESTS...

Ends with 1 where a test fails, or where any was not run: SIGTERM (a limit of time) stops them all, and what they found
up to then is told. Needs pytest without plugins.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import pytest

_NAMED = 5  # failures
_PATIENCE = 8  # seconds that a test has to end in once it is told to: compilers do not listen
# pyproject.toml asks for a plugin that may be missing
_OPTIONS = (
    "-c",
    os.devnull,
    "--rootdir=.",
    "-v",
    "-p",
    "no:cacheprovider",
    "-rf",
    "--tb=short",
    "--import-mode=importlib",
)


class _Share:
    """Every `count`th test from number `first` on; a line of JSON for each that has ended, as it ends."""

    def __init__(self, first: int, count: int, results: Path) -> None:
        self.first, self.count, self.results = first, count, results

    def _note(self, what: object) -> None:
        with self.results.open("a") as file:
            file.write(json.dumps(what) + "\n")

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._note(["broken", report.nodeid])  # no test, so none of those that are counted

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = items[self.first :: self.count]
        self._note(len(items))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if (
            report.when == "call" or report.outcome != "passed"
        ):  # a test skipped or broken before or after its call
            self._note([report.outcome, report.nodeid])


def _interrupt(number: int, frame: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # another would end the summary
    raise KeyboardInterrupt


def _run_share(first: int, count: int, results: Path, tests: list[str]) -> int:
    signal.signal(signal.SIGTERM, _interrupt)  # or pytest ends without its summary
    return int(pytest.main([*_OPTIONS, *tests], plugins=[_Share(first, count, results)]))


def main(arguments: list[str] | None = None) -> None:
    """Runs the tests, prints what pytest says and the counts; exits with 1 unless all were run and none failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tests", nargs="+")
    parser.add_argument("--processes", type=int, default=max(1, min(8, (os.cpu_count() or 2) // 2)))
    parser.add_argument("--share", nargs=3, metavar=("FIRST", "COUNT", "FILE"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.share:
        first, count, results = options.share
        sys.exit(_run_share(int(first), int(count), Path(results), options.tests))
    with tempfile.TemporaryDirectory() as folder:
        sys.exit(_run(options.tests, options.processes, Path(folder)))


def _run(tests: list[str], count: int, folder: Path) -> int:
    own = [sys.executable, "-m", "benchmarks.gpu_tests", "--share"]
    results = [folder / f"{first}.jsonl" for first in range(count)]
    running: list[subprocess.Popen[bytes]] = []
    for first, path in enumerate(results):
        running.append(subprocess.Popen([*own, str(first), str(count), str(path), "--", *tests]))

    def kill(number: int, frame: object) -> None:
        for process in running:
            process.kill()

    def stop(number: int, frame: object) -> None:
        for process in running:
            process.terminate()
        signal.alarm(_PATIENCE)

    for number, handler in ((signal.SIGALRM, kill), (signal.SIGTERM, stop), (signal.SIGINT, stop)):
        signal.signal(number, handler)
    codes = [process.wait() for process in running]
    signal.alarm(0)
    outcomes, failed, missing, unknown = Counter[str](), list[str](), 0, 0
    for path in results:
        lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        found = [line for line in lines if isinstance(line, list)]
        chosen = [line for line in lines if isinstance(line, int)]
        outcomes.update(outcome for outcome, _ in found)
        failed += [test for outcome, test in found if outcome in ("failed", "broken")]
        missing += sum(chosen) - len({test for outcome, test in found if outcome != "broken"})
        unknown += not chosen
    said = [f"{outcomes[outcome]} {outcome}" for outcome in ("passed", "failed", "skipped")]
    more = f", {unknown} of {count} processes ended before they knew their tests" if unknown else ""
    print(f"tests    {', '.join(said)}, {missing} not run{more}")
    for test in list(dict.fromkeys(failed))[:_NAMED]:  # what cannot be collected fails in every process
        print(f"tests    FAILED {test}")
    # 5: a share without tests, of few in many processes
    broken = any(code not in (0, 5) for code in codes) or unknown > 0
    return int(broken or bool(failed) or missing > 0 or not outcomes["passed"])


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("stopped")
