"""A variant of a model: another shape, other colours and another scale of its patterns, by a seed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from synthetic.library.models import LibraryModel
from synthetic.library.variation.colors import recolor
from synthetic.library.variation.draws import VariantSeed
from synthetic.library.variation.kinds import BODIES, Kind
from synthetic.library.variation.shape import deform, draw_deformation
from synthetic.library.variation.tiling import rescale_patterns

VERSION = 1  # of what a seed stands for: it grows when the same seed gives other variants


def variant_id(parent: str, number: int) -> str:
    """The name of a model's variant: "<parent id>-v01" for the first."""
    return f"{parent}-v{number:02d}"


def vary(model: LibraryModel, kind: Kind, seed: VariantSeed, workspace: Path) -> LibraryModel:
    """A variant of a model, with its textures in `workspace`: a function of the model, its kind and the seed alone.

    Its credit names the parent and what was changed; its tag "variation" holds all numbers.
    """
    surface, patterns = rescale_patterns(model.surface, seed)
    surface, colors = recolor(surface, kind.palette, seed, workspace)
    deformation = draw_deformation(surface, BODIES[kind.body], seed.draws("shape"))
    shape = deformation.record()
    tags = {
        "version": VERSION,
        "parent": seed.parent,
        "number": seed.number,
        "seed": seed.seed,
        "body": kind.body,
        "palette": kind.palette,
        "shape": shape,
        "colors": colors,
        "patterns": patterns,
    }
    done = ["/".join(dict.fromkeys(str(single["kind"]) for single in shape)), "colours"]
    done += ["scale of patterns"] if patterns else []
    changes = f"varied by GP3D ({', '.join(done)}; seed {seed.seed}, number {seed.number})"
    before = model.credit.changes
    credit = replace(
        model.credit,
        changes=changes if before in ("", "none") else f"{before}; {changes}",
        parent=seed.parent,
    )
    return LibraryModel(deform(surface, deformation), credit, {**model.tags, "variation": tags})
