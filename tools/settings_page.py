"""The page of all settings: of configurations, the comments behind their fields, and what presets differ in."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import io
import sys
import tokenize
import typing
from types import ModuleType
from typing import Any

from tools.page_text import escaped, table_row


def settings() -> str:
    """Every key of both configurations with type, default and comment, and what the presets change."""
    from gp3d_core.config import presets, schema
    from gp3d_core.config.systems import CONFIGS
    from gp3d_core.vq3d import config as vq3d
    from gp3d_core.vq3d import presets as vq3d_presets

    lines = [
        "# Settings",
        "",
        "`--set KEY=VALUE` of `gp3d train`, `gp3d ground` and `gp3d vq3d train` takes every key below; a misspelt one "
        "is answered with the nearest. The resolved configuration is written to `config.json` of a run.",
        "",
        "## 3DGP and grounding",
        "",
        *_keys(schema.RunConfig),
        *_preset_table(_of_system(presets.PRESETS, schema.RunConfig.system)),
        *(line for kind in CONFIGS.values() if kind is not schema.RunConfig for line in _system(kind)),
        "## VQ3D",
        "",
        *_keys(vq3d.Vq3dConfig),
        *_preset_table(vq3d_presets.PRESETS),
    ]
    return "\n".join(lines)


def _system(kind: type) -> list[str]:
    """The sections that a system which 3DGP is compared with adds, what it leaves out, and its presets."""
    from gp3d_core.config.presets import PRESETS
    from gp3d_core.config.schema import RunConfig

    hints, shared = typing.get_type_hints(kind), {f.name for f in dataclasses.fields(RunConfig)}
    own = [f.name for f in dataclasses.fields(kind) if f.name not in shared]
    unread = ", ".join(f"`{name}`" for name in kind.unused) or "nothing"
    return [
        f"## {kind.system}",
        "",
        f"The settings above, without {unread}, and those of its own ([baselines](../baselines.md)).",
        "",
        *(line for name in own for line in [*_doc(hints[name]), *_table(hints[name], f"{name}.")]),
        *_preset_table(_of_system(PRESETS, kind.system)),
    ]


def _of_system(presets: dict[str, Any], word: str) -> dict[str, Any]:
    return {name: config for name, config in presets.items() if config.system == word}


def _keys(root: type) -> list[str]:
    """A table for each section of a configuration; shared value types (a ramp, a prior) come last, once."""
    lines: list[str] = []
    shared: dict[type, None] = {}
    hints = typing.get_type_hints(root)
    sections = [f.name for f in dataclasses.fields(root) if dataclasses.is_dataclass(hints[f.name])]
    for name in sections:
        kind = hints[name]
        lines += [f"### {name}", "", *_doc(kind), *_table(kind, f"{name}.")]
        for hint in typing.get_type_hints(kind).values():
            if dataclasses.is_dataclass(hint) and isinstance(hint, type):
                shared[hint] = None
    for kind in shared:
        lines += [f"### Of several parts: {kind.__name__}", "", *_doc(kind), *_table(kind, "….")]
    return lines


def _table(kind: type, prefix: str) -> list[str]:
    hints, comments = typing.get_type_hints(kind), comments_of(kind)
    lines = ["| key | type | default | |", "|---|---|---|---|"]
    for f in dataclasses.fields(kind):
        default = "" if f.default is dataclasses.MISSING else f"`{_value(f.default)}`"
        lines.append(
            table_row(f"`{prefix}{f.name}`", f"`{_type(hints[f.name])}`", default, comments.get(f.name, ""))
        )
    return [*lines, ""]


def comments_of(kind: type) -> dict[str, str]:
    """The comments behind the fields of a dataclass, by field."""
    source = inspect.getsource(_module_of(kind))
    said = {
        token.start[0]: token.string.lstrip("# ").strip()
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    [node] = [n for n in ast.parse(source).body if isinstance(n, ast.ClassDef) and n.name == kind.__name__]
    return {
        field.target.id: text
        for field in node.body
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if (text := " ".join(said[n] for n in range(field.lineno, (field.end_lineno or 0) + 1) if n in said))
    }


def _module_of(kind: type) -> ModuleType:
    return sys.modules[kind.__module__]


def _preset_table(presets: dict[str, Any]) -> list[str]:
    """The keys in which presets differ, a column a preset."""
    from gp3d_core.config.schema import flatten

    flat = {name: flatten(config) for name, config in presets.items()}
    first = next(iter(flat.values()))
    rows = []
    for key in first:
        values = [_value(table[key]) for table in flat.values()]
        if key != "preset" and len(set(values)) > 1:
            rows.append(table_row(f"`{key}`", *values))
    head = [table_row("key", *flat), table_row(*["---"] * (len(flat) + 1))]
    return ["### What the presets differ in", "", *head, *rows, ""]


def _type(hint: Any) -> str:
    if typing.get_origin(hint) is typing.Literal:
        return ", ".join(map(str, typing.get_args(hint)))
    if typing.get_origin(hint) is tuple:
        return "names, with commas"
    return getattr(hint, "__name__", str(hint))


def _value(value: Any) -> str:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return ", ".join(f"{f.name} {_value(getattr(value, f.name))}" for f in dataclasses.fields(value))
    if isinstance(value, tuple):
        return ",".join(map(str, value)) or "(none)"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _doc(kind: type) -> list[str]:
    return [escaped(inspect.getdoc(kind) or ""), ""]
