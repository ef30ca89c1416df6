"""Pages of the documentation site that are made from the code: commands, settings, benchmarks, Python names, changelog.

A hook of mkdocs (mkdocs.yml): the pages exist while the site is built and nowhere else. `page_of(name)` gives one as
Markdown, for tests.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tools.page_text import escaped, sentence, table_row, wrapped  # noqa: E402  the path comes first
from tools.settings_page import settings  # noqa: E402

CARDS = ROOT / "gp3d_core/pretrained/report_cards"
MODULES = (  # commands of `python -m`; each prints its own help
    "synthetic.shapes",
    "synthetic.shapes.sheet",
    "synthetic.points",
    "synthetic.render",
    "synthetic.check",
    "synthetic.preview",
    "synthetic.contact",
    "synthetic.export",
)


def on_files(files: Any, config: Any) -> Any:
    """Adds the made pages to those of docs/; called by mkdocs."""
    from mkdocs.structure.files import File

    for name in PAGES:
        files.append(File.generated(config, name, content=page_of(name)))
    for path in sorted(CARDS.glob("*/*")):
        files.append(
            File.generated(config, f"report-cards/{path.parent.name}/{path.name}", abs_src_path=str(path))
        )
    return files


def page_of(name: str) -> str:
    """The page `name`, a key of PAGES, as Markdown."""
    return PAGES[name]()


# Commands


def commands() -> str:
    """Every command with its options, from the parsers; then those of `python -m`, in their own words."""
    from gp3d_core.cli.main import command_line

    lines = [
        "# Commands",
        "",
        "Results go to stdout, everything else to stderr. Exit codes: 0 done, 2 bad input, 3 something is missing on "
        "this machine, 5 training gave up, 130 or 143 interrupted.",
        "",
    ]
    parser = command_line()
    for name, entry, about in _subcommands(parser):
        lines += _command(f"gp3d {name}", entry, about)
    lines += ["## Making data: `python -m synthetic…`", ""]
    for module in MODULES:
        lines += [f"### {module}", "", "```text", _help_of(module), "```", ""]
    return "\n".join(lines)


def _subcommands(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser, str]]:
    """Name, parser and one line of each command below `parser`, aliases left out."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for choice in action._choices_actions:
                name = choice.dest.split(" ")[0]
                yield name, action.choices[name], choice.help or ""


def _command(title: str, parser: argparse.ArgumentParser, about: str, level: int = 2) -> list[str]:
    lines = [f"{'#' * level} {title}", "", sentence(parser.description or about), ""]
    below = list(_subcommands(parser))
    if not below:
        usage = " ".join(parser.format_usage().removeprefix("usage: ").split())
        lines += ["```text", wrapped(usage), "```", ""]
        rows = [_option(action) for action in parser._actions if action.help != argparse.SUPPRESS]
        lines += ["| option | default | |", "|---|---|---|", *filter(None, rows), ""]
    for name, entry, text in below:
        lines += _command(f"{title} {name}", entry, text, level + 1)
    return lines


def _option(action: argparse.Action) -> str:
    if isinstance(action, argparse._HelpAction):
        return ""
    names = (
        ", ".join(f"`{option}`" for option in action.option_strings) or f"`{action.metavar or action.dest}`"
    )
    value = ""
    if action.choices is not None:
        value = f" `{', '.join(map(str, action.choices))}`"
    elif action.option_strings and action.nargs != 0:
        metavar = action.metavar or action.dest.upper()
        value = f" `{metavar if isinstance(metavar, str) else ' '.join(metavar)}`"
    plain = action.default not in (None, False, argparse.SUPPRESS) and action.default != []
    default = f"`{action.default}`" if plain and action.option_strings else ""
    text = (action.help or "").replace("%%", "%").replace("%(default)s", str(action.default))
    if told := re.search(
        r" \(default:? ([^)]*)\)|(?<=[\w.]) \(default\)", text
    ):  # it knows better how to say it
        text, default = text.replace(told[0], ""), f"`{told[1]}`" if told[1] else default
    return table_row(names + value, default, text)


def _help_of(module: str) -> str:
    """What `python -m module --help` prints."""
    done = subprocess.run(
        [sys.executable, "-m", module, "--help"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        timeout=120,
        env={**os.environ, "COLUMNS": "100"},
    )
    return done.stdout.strip()


# Benchmarks, Python names, changelog


def benchmarks() -> str:
    """benchmarks/results.csv, a table a bench, newest figures first."""
    with (ROOT / "benchmarks/results.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    lines = [
        "# Benchmarks",
        "",
        "Figures of `benchmarks/results.csv`, as they were measured, each with commit, day and machine. "
        "`python -m benchmarks.NAME --help` says what a bench does; ratios are measured side by side in one process. "
        "Kernels on a GPU: "
        "[kernels](kernels.md).",
        "",
    ]
    for bench in dict.fromkeys(row["bench"] for row in rows):
        lines += [
            f"## {bench}",
            "",
            "| figure | value | unit | machine | day | commit |",
            "|---|---|---|---|---|---|",
        ]
        for row in rows[::-1]:
            if row["bench"] == bench:
                lines.append(
                    table_row(*(row[key] for key in ("figure", "value", "unit", "machine", "date", "commit")))
                )
        lines.append("")
    return "\n".join(lines)


def public_names() -> str:
    """The names of `from gp3d_core import …`, for mkdocstrings to fill in."""
    import gp3d_core

    lines = [
        "# Public names",
        "",
        "`from gp3d_core import NAME`. Each is imported when it is first used, so that `import gp3d_core` is instant.",
        "",
    ]
    for name in sorted(gp3d_core.__all__, key=str.lower):
        lines += [f"::: gp3d_core.{gp3d_core._HOMES[name]}.{name}", "    options: {heading_level: 2}", ""]
    return "\n".join(lines)


def package_names(package: str) -> str:
    """The modules of a package of gp3d_core, for mkdocstrings to fill in; its own packages below."""
    folder = ROOT / "gp3d_core" / package
    names = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in sorted(folder.rglob("*.py"))
    ]
    lines = [f"# gp3d_core.{package}", ""]
    for name in names:
        lines += [f"## {name}", "", f"::: {name}", "    options: {show_root_heading: false}", ""]
    return "\n".join(lines)


def examples() -> str:
    """The pages of examples/, each with its program."""
    lines = [
        "# Examples",
        "",
        "Programs of `examples/`; each runs by itself, and the tests run them all.",
        "",
    ]
    for folder in sorted(path.parent for path in (ROOT / "examples").glob("*/main.py")):
        text = (folder / "README.md").read_text(encoding="utf-8").strip().replace("](../../docs/", "](")
        program = (folder / "main.py").read_text(encoding="utf-8").strip()
        lines += [f"#{text}", "", f'```python title="examples/{folder.name}/main.py"', program, "```", ""]
    return "\n".join(lines)


def root_page(name: str) -> str:
    """A page of the project's root, its links as the site has them."""
    text = (ROOT / name).read_text(encoding="utf-8").replace("](docs/", "](")
    return re.sub(r"\]\((CONTRIBUTING|SECURITY|CHANGELOG)\.md", lambda link: f"]({link[1].lower()}.md", text)


# Text


# The gallery


def gallery() -> str:
    """The page of docs/gallery-box, as `gp3d gallery` writes it."""
    from gp3d_core.gallery.page import write_gallery

    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "gallery.html"
        write_gallery(ROOT / "docs/gallery-box", page, "Eight classes of the main model", print)
        return page.read_text(encoding="utf-8")


# Report cards


def report_cards() -> str:
    """The page that leads to the report cards of the pretrained models: a table of their badges."""
    lines = [
        "# Report cards",
        "",
        "What the geometry of every class of the pretrained models is worth: a page each with figures, a picture and a "
        "badge. [Evaluation](evaluation.md#report-card) says what is measured, and by which limits badges are given.",
        "",
    ]
    for path in sorted(CARDS.glob("*/cards.json")):
        name, record = path.parent.name, json.loads(path.read_text(encoding="utf-8"))
        badges = Counter(own["badge"] or "none" for own in record["classes"].values())
        found = ", ".join(
            f"{badges[badge]} {badge}" for badge in ("good", "fair", "rough", "none") if badges[badge]
        )
        lines += [
            f"## {name}",
            "",
            f"[{len(record['classes'])} classes measured](report-cards/{name}/index.html): {found}.",
            "",
        ]
        lines += [
            "| class | badge | IoU | never seen | mesh and field | watertight |",
            "|---|---|---|---|---|---|",
        ]
        for page, own in sorted(record["classes"].items(), key=lambda entry: entry[1]["name"]):
            figures = [_figure(own["measures"], metric) for metric in _FIGURES]
            link = f"[{escaped(own['name'])}](report-cards/{name}/{page}.html)"
            lines.append(f"| {' | '.join([link, own['badge'] or '–', *figures])} |")
        lines.append("")
    if len(lines) == 4:
        lines.append("None of the models here brings any; `make report-cards` measures them.")
    return "\n".join(lines)


_FIGURES = ("geometry/silhouette_iou", "card/never_seen", "card/disagreement", "card/watertight")


def _figure(measures: dict[str, Any], metric: str) -> str:
    own = measures.get(metric)
    return "–" if own is None else f"{own['value']:.3f}"


PAGES: dict[str, Callable[[], str]] = {
    "benchmarks.md": benchmarks,
    "changelog.md": partial(root_page, "CHANGELOG.md"),
    "contributing.md": partial(root_page, "CONTRIBUTING.md"),
    "examples.md": examples,
    "gallery-box.html": gallery,
    "report-cards.md": report_cards,
    "reference/commands.md": commands,
    "reference/names.md": public_names,
    "reference/settings.md": settings,
    "security.md": partial(root_page, "SECURITY.md"),
} | {
    f"reference/api/{folder.name}.md": partial(package_names, folder.name)
    for folder in sorted(ROOT.glob("gp3d_core/*/"))
    if folder.name not in ("cli", "__pycache__")
}
