"""The folder of one training run: its configuration, its progress, and what it made.

config.json      the resolved configuration      stats.jsonl    one line per status, and events
status.json      rate, ETA, last good state      tensorboard/   the same curves
checkpoints/     everything to go on from        snapshots/     weights to generate with
samples/         pictures of fixed latents       data.json      fingerprint of the data trained on
                                                 init.json      the snapshot that it began with, if any
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import IO, Any

from gp3d_core.atomic import (
    check_writable,
    forget_leftovers,
    is_leftover,
    naming,
    take_lock,
    write_json,
    write_text,
)
from gp3d_core.config.schema import from_dict, to_dict
from gp3d_core.errors import GP3DError
from gp3d_core.hashing import digest
from gp3d_core.pretrained import is_name, nearest_name, pretrained_path
from gp3d_core.strict_json import to_text

_KEPT_CHECKPOINTS = 2
_LOCK = "lock"
_NAMED = 4  # runs that an error names at most
# What may differ between the runs of one folder: how long, how often and by which kernels, never what is learnt.
_FREE = ("kimg", "status_kimg", "snapshot_kimg", "checkpoint_kimg", "max_rollbacks", "render.backend")


class RunError(GP3DError):
    """A run folder that does not fit what is asked of it; the message says why and what to do."""


class RunFolder:
    """Paths and records of a run. `claim` prepares the folder; everything else expects that it was called."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoints = path / "checkpoints"
        self.snapshots = path / "snapshots"
        self.samples = path / "samples"
        self._locked: IO[Any] | None = None

    def claim(self, config: Any, fingerprint: str, init: Path | None = None) -> None:
        """Makes the folder, or recognises it as the same run; raises RunError when it belongs to another one.

        `config` is a configuration dataclass, such as a RunConfig; `init` the snapshot file that the run begins with.
        """
        known = self.path / "config.json"
        begun = None if init is None else {"name": init.name, "sha256": digest(init)}
        self.check_place()
        self.path.mkdir(parents=True, exist_ok=True)
        self._lock()  # before anything that another process may be writing is read or changed
        if known.exists():
            if self._started():
                self._compare(known, config)
                self._compare_data(fingerprint)
                self._compare_init(begun)
            else:  # nothing was learnt yet, so that its configuration may still change
                for checkpoint in self.list_checkpoints():
                    checkpoint.unlink()
        write_json(known, to_dict(config))
        write_json(self.path / "data.json", {"fingerprint": fingerprint})
        if begun is None:
            (self.path / "init.json").unlink(missing_ok=True)
        else:
            write_json(self.path / "init.json", begun)
        for folder in (self.checkpoints, self.snapshots, self.samples):
            folder.mkdir(exist_ok=True)
            forget_leftovers(folder)
        forget_leftovers(self.path)

    def check_config(self, config: Any) -> None:
        """Raises RunError when a run that has learnt something in this folder has another configuration."""
        if self._started():
            self._compare(self.path / "config.json", config)

    def list_checkpoints(self) -> list[Path]:
        """Checkpoints, newest first."""
        return sorted(self.checkpoints.glob("checkpoint-*.safetensors"), reverse=True)

    def images_seen(self) -> int:
        """Images that the newest checkpoint has seen, as its name says; 0 without one."""
        return max((int(path.stem.rsplit("-", 1)[1]) for path in self.list_checkpoints()), default=0)

    def training_seconds(self) -> float:
        """Seconds of training that status.json knows of; 0 without one."""
        try:
            return float(json.loads((self.path / "status.json").read_text())["training_seconds"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return 0.0

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

    def forget_snapshots_after(self, nimg: int) -> None:
        """Removes the snapshots of images that a rollback took back."""
        for snapshot in self.snapshots.glob("snapshot-*.safetensors"):
            if snapshot.name > self.snapshot_path(nimg).name:
                snapshot.unlink()

    def append_stats(self, record: dict[str, Any]) -> None:
        """Adds one line to stats.jsonl; numbers that JSON cannot hold become null."""
        stats = self.path / "stats.jsonl"
        with naming(stats, stats), stats.open("a", encoding="utf-8") as file:
            file.write(to_text(record) + "\n")

    def forget_stats_after(self, nimg: int) -> None:
        """Drops the lines of stats.jsonl beyond `nimg`, which will be lived through again; events stay."""
        stats = self.path / "stats.jsonl"
        if stats.exists():
            lines = [line for line in stats.read_text(errors="replace").splitlines() if _stays(line, nimg)]
            write_text(stats, "".join(f"{line}\n" for line in lines))

    def write_status(self, record: dict[str, Any]) -> None:
        """Replaces status.json."""
        write_json(self.path / "status.json", record)

    def check_place(self) -> None:
        """Raises RunError for anything but a run folder, an empty one, or what a run leaves that is killed at once.

        PlaceError where nothing can be written.
        """
        own = not self.path.exists() or (self.path / "config.json").exists()
        if not own and (not self.path.is_dir() or any(map(_is_foreign, self.path.iterdir()))):
            raise RunError(f"{self.path} exists and is not a run folder; choose a new or empty folder")
        check_writable(self.path)

    def _lock(self) -> None:
        """Keeps other processes out of the folder until this object goes."""
        self._locked = self._locked or take_lock(self.path / _LOCK)  # whoever claims again has it
        if self._locked is None:
            raise RunError(
                f"another process is training in {self.path}; wait for it or choose another folder"
            )

    def data_fingerprint(self) -> str | None:
        """Fingerprint of the data that this run was started with; None if it was not, or if that cannot be read."""
        try:
            return str(json.loads((self.path / "data.json").read_text())["fingerprint"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None

    def micro_batch(self) -> int | None:
        """Images per forward pass of the run that has begun here; None if none has, or if that cannot be read."""
        try:
            known = json.loads((self.path / "config.json").read_text())["training"]["micro_batch"]
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None
        return known if isinstance(known, int) and self._started() else None

    def _started(self) -> bool:
        """Whether there is a checkpoint of a run that has seen an image."""
        return any(path > self.checkpoint_path(0) for path in self.list_checkpoints())

    def _compare(self, known: Path, config: Any) -> None:
        unreadable = "{} cannot be read ({}); choose another run folder"
        try:
            told = json.loads(known.read_text())
        except (ValueError, OSError, RecursionError) as error:
            raise RunError(unreadable.format(known, error)) from error
        if isinstance(told, dict):
            self._compare_presets(told.get("preset"), config)  # first: another system has other keys
        try:
            before = from_dict(told, type(config))
        except ValueError as error:  # ConfigError and all that JSON can raise are ValueErrors
            raise RunError(unreadable.format(known, error)) from error
        if odd := _difference(to_dict(before), to_dict(config)):
            key, there, here = odd
            raise RunError(
                f"{self.path} holds a run with {key} = {there}, asked for is {here}; "
                "repeat the command it was started with, or choose another folder"
            )

    def _compare_presets(self, there: object, config: Any) -> None:
        here = getattr(config, "preset", there)
        if isinstance(there, str) and here != there:
            raise RunError(
                f"{self.path} was begun with `preset` {there}, asked for is {here}; "
                f"go on with `preset` {there}, or choose another folder"
            )

    def _compare_data(self, fingerprint: str) -> None:
        record = self.path / "data.json"
        if record.exists() and self.data_fingerprint() != fingerprint:
            raise RunError(f"the data changed since {self.path} was started; choose another run folder")

    def _compare_init(self, begun: dict[str, str] | None) -> None:
        record = self.path / "init.json"
        try:
            before = dict(json.loads(record.read_text())) if record.exists() else None
        except (OSError, ValueError, TypeError, RecursionError) as error:
            raise RunError(f"{record} cannot be read ({error}); choose another run folder") from error
        if (before or {}).get("sha256") != (begun or {}).get("sha256"):
            there, here = (facts["name"] if facts else "none" for facts in (before, begun))
            same = " of another content" if there == here else ""
            raise RunError(
                f"{self.path} holds a run that began with `init` {there}, asked for is {here}{same}; "
                "repeat the command it was started with, or choose another folder"
            )


def _is_foreign(path: Path) -> bool:
    return path.name != _LOCK and not is_leftover(path)


def _stays(line: str, nimg: int) -> bool:
    """Whether a line of stats.jsonl holds after going back to `nimg`; one cut short by a crash does not."""
    try:
        record = json.loads(line)
        return "event" in record or float(record["nimg"]) <= nimg
    except (ValueError, KeyError, TypeError, RecursionError):
        return False


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


def find_snapshot(path: Path | None) -> Path:
    """The snapshot file that is meant: the newest of the run folder at `path`, else `path` itself; None is pretrained.

    Where nothing lies at `path`, it may be the name of a model that comes along, such as "zoo". Raises RunError for a
    folder without snapshots and for a slip of such a name, PretrainedError for a model that did not come along.
    """
    path = pretrained_path() if path is None else named_file(path)
    return newest_snapshot(path) if path.is_dir() else path


def named_file(path: Path) -> Path:
    """The file of the pretrained model that `path` names, else `path`: what lies there goes before a name.

    Raises PretrainedError for a model that did not come along, RunError for a slip of the name of one that did.
    """
    if path.exists() or path.name != str(path):
        return path
    if is_name(path.name):
        return pretrained_path(path.name)
    if not path.suffix and (near := nearest_name(path.name)):
        raise RunError(f"no snapshot at {path}, and no model of that name; did you mean the model {near}?")
    return path


def newest_snapshot(path: Path) -> Path:
    """The newest snapshot of the run folder at `path`. Raises RunError, naming runs just below, if there is none."""
    found = _snapshots(path)
    if not found:
        remedy = runs_below(path) or "train first, or name a snapshot file"
        if RunFolder(path).list_checkpoints():
            remedy = (
                "the training that was stopped here writes one when it ends; its command with `max_minutes` 0 makes "
                "one of what was learnt so far"
            )
        raise RunError(f"{path} has no snapshots/snapshot-*.safetensors; {remedy}")
    return found[-1]


def runs_below(path: Path) -> str:
    """Advice that names the runs with snapshots directly below the folder `path`; empty where there is none."""
    runs = [str(folder) for folder in sorted(path.glob("*/")) if _snapshots(folder)]
    more = f" or {len(runs) - _NAMED} more" if len(runs) > _NAMED else ""
    return f"did you mean {' or '.join(runs[:_NAMED])}{more}?" if runs else ""


def _snapshots(run: Path) -> list[Path]:
    """The snapshots of a run, oldest first."""
    return sorted((run / "snapshots").glob("snapshot-*.safetensors"))
