"""The folder of one evaluation: what was measured of whom, kept score by score.

evaluation.json  snapshot, data, seed; another snapshot is refused    metrics.jsonl  one line per score
parts/           each metric's scores with the settings they hold for report.html    all of it on one page
features/        features of generated images; may be deleted         *.png          what the report shows
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from gp3d_core.atomic import forget_leftovers, is_leftover, take_lock, write_json, write_text
from gp3d_core.evaluation.samples import EvaluationError
from gp3d_core.metrics.score import Score
from gp3d_core.strict_json import to_text

FORMAT, VERSION = "gp3d-evaluation", 1
_LOCK = "lock"
_NAMES = {"snapshot", "dataset", "meshes", "truth"}  # how things are called, not what they are


class EvaluationFolder:
    """Paths and records of an evaluation; `claim` comes first, in one process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.report = path / "report.html"
        self._parts = path / "parts"

    def claim(self, about: dict[str, Any]) -> None:
        """Makes the folder, or recognises it as the same evaluation; EvaluationError if it is another's."""
        record = self.path / "evaluation.json"
        own = not self.path.exists() or record.exists()
        if not own and (not self.path.is_dir() or any(map(_is_foreign, self.path.iterdir()))):
            raise EvaluationError(
                f"`out` {self.path} exists and is no evaluation; choose a new or empty folder"
            )
        self.path.mkdir(parents=True, exist_ok=True)
        self._lock()
        if record.exists():
            self._compare(record, about)
        for folder in (self.path, self._parts, *self.path.glob("features/*")):
            forget_leftovers(folder)
        write_json(record, {"format": FORMAT, "version": VERSION} | about)
        self._parts.mkdir(exist_ok=True)

    @property
    def pictures(self) -> list[Path]:
        """What the report shows: the samples, then the rest by name."""
        return sorted(self.path.glob("*.png"), key=lambda path: (path.stem != "samples", path.name))

    @property
    def about(self) -> dict[str, Any]:
        """What `claim` wrote."""
        return dict(json.loads((self.path / "evaluation.json").read_text(encoding="utf-8")))

    def has(self, metric: str, settings: dict[str, Any]) -> bool:
        """Whether `metric` was measured with these very settings."""
        try:
            found = json.loads(self._part(metric).read_text(encoding="utf-8"))
            return bool(found["settings"] == settings)
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return False

    def keep(self, metric: str, settings: dict[str, Any], scores: list[Score]) -> None:
        """Keeps the scores of `metric`, in place of those that other settings gave, and renews metrics.jsonl."""
        record = {"settings": settings, "scores": [score.as_json() for score in scores]}
        write_json(self._part(metric), record)
        lines = [to_text(score.as_json(), ascii_only=False) for score in self.scores()]
        write_text(self.path / "metrics.jsonl", "".join(f"{line}\n" for line in lines))

    def scores(self) -> list[Score]:
        """All scores that are kept, metric by metric; NaN for one that could not be computed."""
        scores = []
        for path in sorted(self._parts.glob("*.json")):
            try:
                for score in json.loads(path.read_text(encoding="utf-8"))["scores"]:
                    value = math.nan if score["value"] is None else score["value"]
                    scores.append(Score(**score | {"value": value}))
            except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
                raise EvaluationError(
                    f"{path} is damaged ({error!r}); remove it, and it is measured again"
                ) from error
        return scores

    def _part(self, metric: str) -> Path:
        return self._parts / f"{metric}.json"

    def _lock(self) -> None:
        """Keeps other evaluations out of the folder until this object goes."""
        self._locked = take_lock(self.path / _LOCK)
        if self._locked is None:
            raise EvaluationError(
                f"another process is evaluating into {self.path}; wait for it or choose another `out`"
            )

    def _compare(self, record: Path, about: dict[str, Any]) -> None:
        try:
            before = dict(json.loads(record.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError, RecursionError) as error:
            raise EvaluationError(f"{record} cannot be read ({error}); choose another `out`") from error
        wanted = {"format": FORMAT, "version": VERSION} | about
        there, here = before.get("kind", "a snapshot"), wanted.get("kind", "a snapshot")
        if there != here:
            raise EvaluationError(
                f"`out` {self.path} holds an evaluation of {there}, asked for is one of {here}; "
                "choose another folder"
            )
        for key in sorted((set(before) | set(wanted)) - _NAMES):
            there, here = before.get(key), wanted.get(key)
            if there != here:
                raise EvaluationError(
                    f"`out` {self.path} holds an evaluation with {key} = {there}, asked for is {here}; "
                    "choose another folder"
                )


def _is_foreign(path: Path) -> bool:
    """Whether `path` is nothing that an evaluation leaves which is killed at once."""
    return path.name != _LOCK and not is_leftover(path)
