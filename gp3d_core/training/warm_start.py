"""A run that begins with what a snapshot has learnt: its generator, and the average of it, come from there.

The discriminator starts fresh; `training.head_start_kimg` lets it catch up before the generator moves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gp3d_core.config.schema import ConfigError, RunConfig, flatten
from gp3d_core.networks.generator import BaseGenerator
from gp3d_core.snapshots.metadata import read_snapshot_facts
from gp3d_core.snapshots.snapshot import load_weights

# What the weights mean: with another value there, the same weights make other objects.
_MEANING = (
    "generator.",
    "camera.box",
    "render.outside_box",
    "render.density_scale",
    "render.density_gain",
    "render.density_shift",
    "eg3d.planes",
)


def check_transfer(snapshot: Path, config: RunConfig, classes: Sequence[Mapping[str, Any]]) -> None:
    """Raises ConfigError if a run of this configuration on data of these classes cannot begin with the snapshot.

    Raises SnapshotError for a file that cannot be read.
    """
    facts = read_snapshot_facts(snapshot)
    if facts.config.system != config.system:
        raise ConfigError(
            f"`init` {snapshot} is a model of {facts.config.system}, `preset` {config.preset} trains {config.system}: "
            f"begin with one of {config.system}"
        )
    theirs, ours = ([str(record["name"]) for record in known] for known in (facts.classes, classes))
    if theirs != ours:
        odd = next((pair for pair in zip(theirs, ours, strict=False) if pair[0] != pair[1]), None)
        found = f"{odd[0]!r} is {odd[1]!r} in the data" if odd else f"the data has {len(ours)} classes"
        raise ConfigError(
            f"`init` {snapshot} knows {len(theirs)} classes, {found}: train on those that it knows, in their order"
        )
    there, here = flatten(facts.config), flatten(config)
    for key, value in there.items():
        if key.startswith(_MEANING) and here[key] != value:
            raise ConfigError(
                f"`init` {snapshot} has {key} = {value}, the configuration {here[key]}: use `preset` "
                f"{facts.config.preset}, or `{key}`={value}"
            )


def begin_with(snapshot: Path, generator: BaseGenerator, ema: BaseGenerator) -> None:
    """Copies the snapshot's weights into both generators. Raises SnapshotError if it is of another architecture."""
    for module in (generator, ema):
        load_weights(module, snapshot)
