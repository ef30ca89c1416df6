"""Docs are true: Python blocks run, command lines are read by the real parsers, links lead somewhere."""

from __future__ import annotations

import argparse
import importlib.util
import re
import subprocess
import sys
import typing
from dataclasses import fields
from pathlib import Path

import pytest

from gp3d_core.cli.arguments import bound, dataset_path, existing, model_path
from gp3d_core.cli.main import command_line
from gp3d_core.config.presets import PRESETS as OBJECTS
from gp3d_core.config.schema import RunConfig, flatten
from gp3d_core.config.systems import CONFIGS
from gp3d_core.errors import GP3DError
from gp3d_core.vq3d.presets import PRESETS as SCENES
from tests.addon.conftest import load_tool
from tests.support.pages import ROOT, SHELL, Block, blocks_of, commands_of, pages, run

TUTORIALS = ROOT / "docs/tutorials"
ALL = [block for page in pages() for block in blocks_of(page)]
PYTHON = [
    block
    for block in ALL
    if block.language == "python" and block.page.parent != TUTORIALS and "import bpy" not in block.text
]
NOT_RUN = [block for block in ALL if block.reason]
SOURCES = ("gp3d_core", "synthetic", "blender_addon", "benchmarks", "tools")
FOREIGN = {"--nproc-per-node", "--no-deps", "--logdir", "--durations", "--markers"}  # torchrun's, pip's, …
FILE = re.compile(r"\.(py|md|txt|jsonl?|png|gif|np[yz]|zip|html|csv|tsv|blend|safetensors|f32)$")
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")


@pytest.mark.slow
@pytest.mark.parametrize("block", [block for block in PYTHON if not block.reason], ids=str)
def test_python_block_runs(block: Block, tmp_path: Path) -> None:
    run(block, tmp_path)


@pytest.mark.parametrize("block", NOT_RUN, ids=str)
def test_block_that_is_not_run_says_why(block: Block) -> None:
    assert len(block.reason) > 8
    pytest.skip(f"{block}: {block.reason}")


def test_python_blocks_at_least_compile() -> None:
    """Those that cannot run as well; a syntax error names page and line."""
    for block in ALL:
        if block.language == "python":
            compile("\n" * block.line + block.text, str(block), "exec")


def test_commands_in_pages_are_read_by_the_realcommand_line() -> None:
    parser, wrong, read = command_line(), [], 0
    leave_files_alone(parser)
    for block in ALL:
        if block.language not in SHELL:
            continue
        for words in commands_of(block):
            if "gp3d_core.cli" in words:  # torchrun … -m gp3d_core.cli
                words = ["gp3d", *words[words.index("gp3d_core.cli") + 1 :]]
            if words[0] != "gp3d" or any(mark in words for mark in ("...", "…", "coproc")):
                continue
            words = words[: words.index("&&")] if "&&" in words else words
            try:
                parser.parse_args(bound(words[1:]))
                read += 1
            except GP3DError as error:
                wrong.append(f"{block}: {' '.join(words)}: {error}")
            except SystemExit:  # --help
                read += 1
    assert not wrong
    assert read > 50


def leave_files_alone(parser: argparse.ArgumentParser) -> None:
    """Lets the parser and all below it take paths of files that are not there: a reader's are not ours."""
    for action in parser._actions:
        if action.type in (existing, dataset_path, model_path):
            action.type = Path
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                leave_files_alone(below)


def test_modules_in_pages_exist() -> None:
    """`python -m NAME` in shell blocks, and dotted names of ours in the text."""
    missing = []
    for page in pages():
        if page.name == "CHANGELOG.md":
            continue
        text = page.read_text(encoding="utf-8")
        named = set(re.findall(r"-m ((?:synthetic|benchmarks|gp3d_core)[\w.]*)", text))
        named |= set(re.findall(r"`((?:synthetic|benchmarks|gp3d_core)(?:\.[a-z_0-9]+)+)", text))
        for name in sorted(named):
            if not _leads_somewhere(name.rstrip(".")):
                missing.append(f"{page.relative_to(ROOT)}: {name}")
        files = re.findall(r"`((?:[\w.]+/)*\w+\.(?:py|sh))`", text)
        missing += [
            f"{page.relative_to(ROOT)}: {name}" for name in sorted(set(files)) if not _is_a_file(name)
        ]
    assert not missing


def test_flags_settings_and_names_in_the_text_exist() -> None:
    """Between backticks: `--flag`, `section.key=value`, and the parts of dotted names."""
    files = [path for part in SOURCES for path in (ROOT / part).rglob("*.*") if path.suffix in (".py", ".sh")]
    source = " ".join(f"{path} {path.read_text(encoding='utf-8')}" for path in files)
    flags = set(re.findall(r"(--[a-z][a-z0-9-]*)[\"')]", source)) | flags_of(command_line()) | FOREIGN
    words = set(re.findall(r"\w+", source))
    settings = {f"{key}." for preset in (OBJECTS["box-64"], SCENES["tiny32"]) for key in flatten(preset)}
    sections = {key.partition(".")[0] for key in settings}
    wrong = []
    for page in pages():
        text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        for code in set(re.findall(r"`([^`\n]+)`", text)) if page.name != "CHANGELOG.md" else ():
            found = [flag for flag in re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", code) if flag not in flags]
            name = code.split("=")[0]
            if re.fullmatch(r"[a-z_0-9]+(\.[A-Za-z_0-9]+)+", name) and not FILE.search(name):
                parts = name.split(".")
                setting = parts[0] in sections and len(parts) == 2
                known = any(key.startswith(f"{name}.") for key in settings) if setting else {*parts} <= words
                found += [] if known else [name]
            wrong += [f"{page.relative_to(ROOT)}: {name}" for name in found]
    assert not wrong


def flags_of(parser: argparse.ArgumentParser) -> set[str]:
    """All flags of the parser and of those below it."""
    below = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    deeper = [flags_of(child) for action in below for child in action.choices.values()]
    return {flag for action in parser._actions for flag in action.option_strings}.union(*deeper)


def _is_a_file(name: str) -> bool:
    """Whether a path, or its end, names a file of the project; a user's own have no folder and are not ours."""
    places = ("", "gp3d_core/**/", "synthetic/**/", "blender_addon/**/", "tests/**/", "examples/**/")
    return any(any(ROOT.glob(place + name)) for place in places)


def _leads_somewhere(name: str) -> bool:
    """Whether a dotted name is a module, or a name in one."""
    path = ROOT.joinpath(*name.split("."))
    if path.is_dir() or path.with_suffix(".py").exists():
        return True
    module, _, attribute = name.rpartition(".")
    inside = ROOT.joinpath(*module.split("."))
    file = inside / "__init__.py" if inside.is_dir() else inside.with_suffix(".py")
    return file.exists() and re.search(rf"\b{attribute}\b", file.read_text(encoding="utf-8")) is not None


def test_links_lead_somewhere() -> None:
    made = set(load_tool("site_pages").PAGES)
    broken = []
    for page in pages():
        for match in _LINK.finditer(
            re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        ):
            target, _, anchor = (match[1] or match[2]).partition("#")
            if "://" in target:
                continue
            file = (page.parent / target).resolve() if target else page
            known = file.exists() or (
                file.is_relative_to(ROOT / "docs") and file.relative_to(ROOT / "docs").as_posix() in made
            )
            if not known or (
                anchor and file.suffix == ".md" and file.exists() and anchor not in _anchors(file)
            ):
                broken.append(f"{page.relative_to(ROOT)}: {match[1] or match[2]}")
    assert not broken


def _anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub and mkdocs make them."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[\s]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower()) for heading in headings}


def test_made_pages_say_everything() -> None:
    """Every command and every key of the configurations stands on the pages that the site makes of the code."""
    tool = load_tool("site_pages")
    settings = tool.page_of("reference/settings.md")
    keys = [key for key in flatten(next(iter(OBJECTS.values()))) if key.count(".") == 1]
    for kind in CONFIGS.values():  # what systems add has a table of its own
        added = {f.name for f in fields(kind)} - {f.name for f in fields(RunConfig)}
        hints = typing.get_type_hints(kind)
        keys += [f"{name}.{field.name}" for name in added for field in fields(hints[name])]
    assert not [key for key in keys if f"`{key}`" not in settings]
    assert "length of the last interval" in settings, "the comment behind a field"
    names = tool.page_of("reference/names.md")
    import gp3d_core

    assert not [name for name in gp3d_core.__all__ if f".{name}\n" not in names]


@pytest.mark.slow
def test_site_builds_strictly(tmp_path: Path) -> None:
    """As `make docs` builds it, where its packages are."""
    if importlib.util.find_spec("mkdocs") is None:
        pytest.skip("mkdocs is not installed; `make docs` installs it")

    site = str(tmp_path / "site")
    command = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "--strict",
        "--site-dir",
        site,
    ]  # --quiet hides warnings
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    hosts = set()
    for file in (tmp_path / "site").rglob("*.html"):
        text = file.read_text(encoding="utf-8")
        hosts |= set(re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=\"?(?:https?:)?//([^/\"]+)", text))
    assert not hosts, "the site asks no other server for scripts, fonts or pictures"
