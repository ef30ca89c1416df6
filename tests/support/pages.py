"""The code blocks of Markdown pages, and what the pages say of running them.

Two comments may stand before a block: `<!-- not run: REASON -->`, and `<!-- run with: OLD -> NEW; OLD -> NEW -->`,
which replaces text before the block is run (so that a page may show what takes an hour).
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_BLOCK = re.compile(
    r"(?P<notes>(?:^[ ]*<!--(?:(?!-->).)*-->\n)*)"
    r"^(?P<indent>[ ]*)```(?P<language>\w+)[^\n]*\n(?P<text>.*?)^(?P=indent)```",
    re.MULTILINE | re.DOTALL,
)
_NOTE = re.compile(r"<!-- (not run|run with): (.*?) -->", re.DOTALL)
SHELL = ("bash", "sh", "shell", "console")


@dataclass(frozen=True)
class Block:
    """A fenced block: `text` as it stands on the page, `line` of its fence, why it is not run, what to replace."""

    page: Path
    line: int
    language: str
    text: str
    reason: str = ""
    changes: tuple[tuple[str, str], ...] = field(default=())

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    def to_run(self) -> str:
        """The text with its replacements; AssertionError if one has nothing to replace."""
        text = self.text
        for old, new in self.changes:
            assert old in text, f"{self}: 'run with' names {old!r}, which is not in the block"
            text = text.replace(old, new)
        return text


def blocks_of(page: Path) -> list[Block]:
    """All fenced blocks of a page, in order."""
    content = page.read_text(encoding="utf-8")
    found = []
    for match in _BLOCK.finditer(content):
        notes = dict(_NOTE.findall(match["notes"]))
        changes = tuple(
            tuple(part.strip() for part in change.split("->", 1))
            for change in notes.get("run with", "").split(";")
            if change.strip()
        )
        line = content.count("\n", 0, match.start("indent")) + 1
        found.append(Block(page, line, match["language"], match["text"], notes.get("not run", ""), changes))
    return found


def pages() -> list[Path]:
    """README and its like, and all of docs and examples."""
    return sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*/*.md")])


def commands_of(block: Block) -> Iterator[list[str]]:
    """The words of each command line of a shell block, comments left out, continued lines joined."""
    for line in block.text.replace("\\\n", " ").splitlines():
        try:
            words = shlex.split(line, comments=True)
        except ValueError:  # a quotation that goes on: no command of ours
            continue
        if words:
            yield words


def environment(folder: Path) -> dict[str, str]:
    """Surroundings in `folder` in which `gp3d` and `python` are those of this test, from this checkout."""
    own = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    own["PWD"] = str(folder)  # Blender believes it more than the system
    return {**os.environ, **own, "OMP_NUM_THREADS": "1"}


def run(block: Block, folder: Path, preamble: str = "", timeout: float = 250) -> str:
    """Runs a Python or shell block in `folder`; returns what it printed. AssertionError if it fails."""
    text = block.to_run()
    if block.language == "python":
        # line numbers of errors are those of the page; Blender as a module crashes when its interpreter ends
        lines = [preamble, f"exec(compile({chr(10) * block.line + text!r}, {str(block)!r}, 'exec'))"]
        lines += ["import os, sys", "sys.stdout.flush()", "os._exit(0)"] if preamble else []
        command = [sys.executable, "-c", "\n".join(lines)]
    else:
        command = ["bash", "-euo", "pipefail", "-c", text]
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, f"{block}\n{text}\n{done.stdout[-1500:]}\n{done.stderr[-2500:]}"
    return done.stdout
