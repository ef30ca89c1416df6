"""The folder of one training run: what it was told, how it goes, and what it made.

config.json      the resolved configuration      stats.jsonl    one line per status, and events
status.json      rate, ETA, last good state      tensorboard/   the same curves
checkpoints/     everything to go on from        snapshots/     weights to generate with
samples/         pictures of fixed latents       data.json      fingerprint of the data trained on
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from gp3d_core.atomic import write_json, write_text
from gp3d_core.config import ConfigError, RunConfig, from_dict, to_dict
from gp3d_core.errors import GP3DError

_KEPT_CHECKPOINTS = 2
# What may differ between the runs of one folder: how long and how often, never what is learnt.
_FREE = ("kimg", "status_kimg", "snapshot_kimg", "checkpoint_kimg", "max_rollbacks")


class RunError(GP3DError):
    """A run folder that does not fit what is asked of it; the message says why and what to do."""


class RunFolder:
    """Paths and records of a run. `claim` prepares the folder; everything else expects that it was called."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoints = path / "checkpoints"
        self.snapshots = path / "snapshots"
        self.samples = path / "samples"

    def claim(self, config: RunConfig, fingerprint: str) -> None:
        """Makes the folder, or recognises it as the same run; raises RunError when it belongs to another one."""
        known = self.path / "config.json"
        if known.exists():
            self._compare(known, config)
            self._compare_data(fingerprint)
        elif self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise RunError(f"{self.path} exists and is not a run folder; choose a new or empty folder")
        for folder in (self.checkpoints, self.snapshots, self.samples):
            folder.mkdir(parents=True, exist_ok=True)
        for leftover in self.path.rglob(".*.tmp*"):
            leftover.unlink()
        write_json(self.path / "data.json", {"fingerprint": fingerprint})
        write_json(known, to_dict(config))

    def list_checkpoints(self) -> list[Path]:
        """Checkpoints, newest first."""
        return sorted(self.checkpoints.glob("checkpoint-*.safetensors"), reverse=True)

    def checkpoint_path(self, nimg: int) -> Path:
        """Name of the checkpoint after `nimg` images."""
        return self.checkpoints / f"checkpoint-{nimg:010d}.safetensors"

    def snapshot_path(self, nimg: int) -> Path:
        """Name of the snapshot after `nimg` images; the thousands are in the name."""
        return self.snapshots / f"snapshot-{nimg / 1000:09.2f}.safetensors"

    def forget_old_checkpoints(self) -> None:
        """Removes all but the newest two checkpoints."""
        for old in self.list_checkpoints()[_KEPT_CHECKPOINTS:]:
            old.unlink()

    def forget_newest_checkpoint(self) -> None:
        """Removes the newest checkpoint if an older one is left."""
        newest, *older = self.list_checkpoints()
        if older:
            newest.unlink()

    def append_stats(self, record: dict[str, Any]) -> None:
        """Adds one line to stats.jsonl; numbers that JSON cannot hold become null."""
        clean = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in record.items()}
        with (self.path / "stats.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(clean) + "\n")

    def forget_stats_after(self, nimg: int) -> None:
        """Drops the lines of stats.jsonl that lie beyond `nimg`, which will be lived through again."""
        stats = self.path / "stats.jsonl"
        if stats.exists():
            lines = [line for line in stats.read_text().splitlines() if _nimg_of(line) <= nimg]
            write_text(stats, "".join(f"{line}\n" for line in lines))

    def write_status(self, record: dict[str, Any]) -> None:
        """Replaces status.json."""
        write_json(self.path / "status.json", record)

    def _compare(self, known: Path, config: RunConfig) -> None:
        try:
            before = from_dict(json.loads(known.read_text()))
        except (json.JSONDecodeError, ConfigError) as error:
            raise RunError(f"{known} cannot be read ({error}); choose another run folder") from error
        if odd := _difference(to_dict(before), to_dict(config)):
            key, there, here = odd
            raise RunError(
                f"{self.path} holds a run with {key} = {there}, asked for is {here}; "
                "repeat the command it was started with, or choose another folder"
            )

    def _compare_data(self, fingerprint: str) -> None:
        record = self.path / "data.json"
        if record.exists() and json.loads(record.read_text())["fingerprint"] != fingerprint:
            raise RunError(f"the data changed since {self.path} was started; choose another run folder")


def _nimg_of(line: str) -> float:
    try:
        return float(json.loads(line)["nimg"])
    except (json.JSONDecodeError, KeyError, TypeError):
        return math.inf  # a line cut short by a crash


def _difference(before: dict[str, Any], now: dict[str, Any]) -> tuple[str, Any, Any] | None:
    """First key, of those that matter, whose value differs, with both values."""
    there, here = _flat(before), _flat(now)
    odd = [key for key in there if there[key] != here[key] and key.removeprefix("training.") not in _FREE]
    return (odd[0], there[odd[0]], here[odd[0]]) if odd else None


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """The leaves of nested mappings by their dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def newest_snapshot(path: Path) -> Path:
    """The newest snapshot of the run folder at `path`. Raises RunError if there is none."""
    found = sorted((path / "snapshots").glob("snapshot-*.safetensors"))
    if not found:
        raise RunError(
            f"{path} has no snapshots/snapshot-*.safetensors; train first, or name a snapshot file"
        )
    return found[-1]
