"""What a GPU would run, seen without one: kernels take no more registers, spills and shared memory than the table says,
and compute nothing in half precision (Triton's interpreter adds bit patterns of bfloat16 there, and says nothing).
"""

from __future__ import annotations

import csv
import importlib.metadata
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

# Triton itself is not imported: other tests of this process want its interpreter, which is chosen at the first import
if importlib.util.find_spec("triton") is None:
    pytest.skip("Triton is not installed", allow_module_level=True)

ROOT = Path(__file__).resolve().parents[3]
TABLE = ROOT / "benchmarks/compiled_kernels.csv"
RENEW = "python -m benchmarks.compiled_kernels --write"
NUMBERS = ("registers", "spilled", "read_back", "shared")
KERNEL = re.compile(r"^def (\w+_kernel)\(", re.MULTILINE)

# numbers in half precision may be moved and converted, nothing else
MOVES = {
    "arith.constant", "arith.extf", "arith.truncf", "tt.broadcast", "tt.call", "tt.expand_dims", "tt.func",
    "tt.load", "tt.reshape", "tt.return", "tt.splat", "tt.store",
}  # fmt: skip
LANGUAGE = """
import sys, torch
from benchmarks.compiled_kernels import intermediate, launches
for _, launch in launches(getattr(torch, sys.argv[1])):
    print("## " + launch[0].fn.__name__)
    print(intermediate(launch))
"""


def program(*arguments: str) -> str:
    """What a Python that compiles kernels instead of interpreting them prints."""
    surroundings = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=surroundings, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def rows(lines: list[str]) -> dict[tuple[str, str], dict[str, str]]:
    """Rows of the table by kernel and options."""
    return {(row["kernel"], row["options"]): row for row in csv.DictReader(lines)}


def kernels() -> set[str]:
    """The names of all kernels."""
    files = (ROOT / "gp3d_core/ops/triton").glob("*.py")
    return {name for file in files for name in KERNEL.findall(file.read_text(encoding="utf-8"))}


def test_the_table_has_every_kernel() -> None:
    table = rows(TABLE.read_text(encoding="utf-8").splitlines())
    assert {name for name, _ in table} == kernels()


@pytest.mark.slow
@pytest.mark.timeout(900)  # some 45 seconds of a core that nobody else uses
def test_no_kernel_takes_more_than_the_table_says() -> None:
    table = rows(TABLE.read_text(encoding="utf-8").splitlines())
    versions = {row["triton"] for row in table.values()}
    here = importlib.metadata.version("triton")
    if versions != {here}:
        pytest.skip(f"the table is of Triton {', '.join(versions)}, here is {here}; renew it: {RENEW}")
    found = rows(program("-m", "benchmarks.compiled_kernels").splitlines())
    assert found.keys() == table.keys(), f"other kernels or options than in {TABLE.name}; renew it: {RENEW}"
    worse = [
        f"{kernel} ({options}): {number} {table[kernel, options][number]} in the table, now {row[number]}"
        for (kernel, options), row in found.items()
        for number in NUMBERS
        if int(row[number]) > int(table[kernel, options][number])
    ]
    assert not worse, "\n".join([*worse, f"if that is meant, renew {TABLE.name}: {RENEW}"])


@pytest.mark.slow
@pytest.mark.timeout(300)  # some 5 seconds of a core that nobody else uses
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_no_kernel_computes_in_half_precision(dtype: str) -> None:
    parts = program("-c", LANGUAGE, dtype).split("## ")[1:]
    named = {part.split("\n", 1)[0]: part for part in parts}
    assert named.keys() == kernels()
    short = {"bfloat16": "bf16", "float16": "f16"}[dtype]
    converting = {name for name, part in named.items() if re.search(rf"arith\.extf .*x{short}>", part)}
    assert {"render_kernel", "decode_backward_kernel", "finish_kernel", "resample_kernel"} <= converting
    found = [f"{part.split(chr(10), 1)[0]}: {line}" for part in parts for line in halves(part)]
    assert not found, "\n".join(["arithmetic on numbers that are not float32 yet:", *dict.fromkeys(found)])


def halves(language: str) -> list[str]:
    """Operations on numbers in half precision that are more than moves, each with its place in the source."""
    places = dict(re.findall(r"^(#loc\d*) = loc\((.*)\)$", language, re.MULTILINE))
    found = []
    for line in language.splitlines():
        if line.startswith("#loc"):
            continue
        types = re.sub(r'@"[^"]*"|@\w+|!tt\.ptr<\w+>', "", line)
        operation = re.search(r"\b(?:arith|tt|math|scf|cf|ub)\.\w+", line)
        if re.search(r"(?:x|\b)b?f16\b", types) and (operation is None or operation[0] not in MOVES):
            found.append(f"{operation[0] if operation else line.strip()[:40]}, {place(line, places)}")
    return found


def place(line: str, places: dict[str, str]) -> str:
    """File and line of the source that an operation comes from."""
    at = line
    while named := re.search(r"#loc\d*\b", at):
        at = places.get(named[0], "")
        if file := re.search(r'"([^"]+\.py)":(\d+)', at):
            return f"{Path(file[1]).name}:{file[2]}"
    return "unknown place"
