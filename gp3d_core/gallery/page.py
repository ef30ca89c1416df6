"""One HTML page with every mesh of a folder in it: turnable, searchable, and without a request to anywhere.

A page that is opened from a disk may fetch no neighbours, so that viewer, models and pictures stand in it. What comes
from files is text of strangers: it is escaped here, and the page's content security policy lets no script run but our
two, and nothing be loaded but what the page holds.
"""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Callable, Iterator, Sequence
from importlib.resources import files
from pathlib import Path

from gp3d_core import __version__
from gp3d_core.atomic import check_writable, replacing
from gp3d_core.errors import one_line
from gp3d_core.gallery.entries import MOST_MESHES, Entry, GalleryError, find_entries, recipe_text
from gp3d_core.gallery.models import Model, model_of
from gp3d_core.meshing.mesh import MeshError

NAME = "gallery.html"
MOST_BYTES = 256 * 2**20  # of one page
_VIEWER = "model-viewer-umd.min.js"
_LONGEST_RECIPE = 20_000  # characters that are shown


def write_gallery(
    folder: Path, out: Path, title: str, report: Callable[[str], object], most_bytes: int = MOST_BYTES
) -> int:
    """Writes the page of all meshes in `folder` to `out`, whole or not at all; returns how many of them can be turned.

    `report` hears a line of every mesh with a problem; the page marks it. Models that would make the page larger than
    `most_bytes` are left out and marked. Raises GalleryError if no mesh is there, PlaceError where `out` cannot be.
    """
    if out.suffix.lower() not in (".html", ".htm"):
        raise GalleryError(f"{out}: expected the name of a .html file")
    entries = find_entries(folder)
    if len(entries) > MOST_MESHES:
        report(f"{len(entries)} meshes, a page takes {MOST_MESHES}: the rest is left out")
    check_writable(out.parent)
    out.parent.mkdir(parents=True, exist_ok=True)
    shown = 0
    with replacing(out) as temporary, temporary.open("w", encoding="utf-8") as page:
        left = most_bytes - page.write(_head(title, len(entries[:MOST_MESHES])))
        for number, entry in enumerate(entries[:MOST_MESHES]):
            model = _model(entry, left)
            if entry.problem:
                report(f"{entry.name}: {entry.problem}")
            shown += model is not None
            for part in _card(number, entry, model):
                left -= page.write(part)
        page.write(_TAIL)
    return shown


def _model(entry: Entry, left: int) -> Model | None:
    """The model, unless it cannot be shown; then the entry says why."""
    try:
        if not entry.files:
            return None
        model = model_of(entry)
        if 4 * (len(model.glb) + len(model.picture or b"")) // 3 > left:
            raise MeshError("left out: the page would be too large; make smaller meshes, or several pages")
        return model
    except (MeshError, OSError) as error:
        entry.problem = one_line(str(error))
        return None


def _head(title: str, count: int) -> str:
    style, script, viewer = _asset("page.css"), _asset("page.js"), _asset(_VIEWER)
    policy = (
        f"default-src 'none'; script-src {_hash_of(script)} {_hash_of(viewer)} 'wasm-unsafe-eval' blob:; "
        "style-src 'unsafe-inline'; img-src data: blob:; connect-src data: blob:; worker-src blob:; "
        "base-uri 'none'; form-action 'none'"
    )
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta name="generator" content="gp3d {__version__}">\n'
        f"<title>{_text(title)}</title>\n<style>{style}</style>\n"
        f"<script>{viewer}</script>\n<script>{script}</script>\n</head>\n<body>\n<header>\n<h1>{_text(title)}</h1>\n"
        f'<input id="search" type="search" placeholder="class or file" aria-label="Search by class or file">\n'
        f'<p id="count" aria-live="polite">{count} meshes</p>\n'
        "<noscript><p>Pictures and recipes only: turning a mesh needs JavaScript.</p></noscript>\n"
        "</header>\n<main>\n"
    )


def _card(number: int, entry: Entry, model: Model | None) -> Iterator[str]:
    """The HTML of one mesh, in pieces."""
    broken = " broken" if entry.problem else ""
    yield f'<article class="card{broken}" id="mesh-{number}" data-search="{_text(entry.search_words)}">\n'
    yield '<div class="stage">'
    if model is not None:
        if model.picture is not None:
            yield f'<img alt="{_text(entry.title)}" src="data:image/webp;base64,{_base64(model.picture)}">'
        yield f'<button type="button" aria-label="Turn {_text(entry.title)}">Turn</button>'
    yield f"</div>\n<h2>{_text(entry.title)}</h2>\n"
    if entry.problem:
        yield f'<p class="problem">{_text(entry.problem)}</p>\n'
    yield "".join(f"<p>{_text(line)}</p>\n" for line in _lines(entry, model) if line)
    if entry.credits:
        yield f"<details><summary>Credits</summary><p>{_text(entry.credits)}</p></details>\n"
    if entry.recipe:
        text = recipe_text(entry.recipe)
        text = text if len(text) <= _LONGEST_RECIPE else f"{text[:_LONGEST_RECIPE]}\n…"
        yield f"<details><summary>Recipe</summary><pre>{_text(text, lines=True)}</pre></details>\n"
    if model is not None:
        yield f'<script type="text/plain" class="model">{_base64(model.glb)}</script>\n'
    yield "</article>\n"


def _lines(entry: Entry, model: Model | None) -> Sequence[str]:
    """What is said below a title: where it is from, how large it is, under which licence."""
    seed = entry.recipe.get("seed")
    made = [entry.name] + ([f"seed {seed}"] if type(seed) is int else [])
    size = (
        []
        if model is None or model.faces is None
        else [f"{model.faces:,} faces, {model.vertices:,} vertices"]
    )
    size += [f"{kind} {_size(path)}" for kind, path in sorted(entry.files.items())]
    size += [f"{len(entry.parts)} more files"] if entry.parts else []
    return " · ".join(made), " · ".join(size), f"Licence: {entry.license}"


def _size(path: Path) -> str:
    size = path.stat().st_size
    return (
        f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.0f} kB" if size >= 1e3 else f"{size} bytes"
    )


def _asset(name: str) -> str:
    """A script or style sheet of ours or of the viewer; tests see that none ends the element that it stands in."""
    return files("gp3d_core.gallery").joinpath("viewer", name).read_text(encoding="utf-8")


def _hash_of(script: str) -> str:
    """How a policy names a script: its bytes as the page has them."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def _text(value: str, *, lines: bool = False) -> str:
    """Text for a page, wherever it comes from: markup escaped, and bytes of names that are no text shown as such."""
    plain = value.encode("utf-8", "backslashreplace").decode("utf-8")
    return html.escape(plain if lines else one_line(plain), quote=True)


_TAIL = "</main>\n</body>\n</html>\n"
