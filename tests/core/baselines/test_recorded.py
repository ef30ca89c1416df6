"""The folder of recorded baselines is whole: what the JSON of a case says is what lies beside it."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors.torch import load_file


def test_cases_hold_the_tensors_that_they_describe(baseline_fixtures: Path) -> None:
    described = {path.stem: json.loads(path.read_text()) for path in baseline_fixtures.glob("*.json")}
    assert described
    for name, facts in described.items():
        path = baseline_fixtures / f"{name}.safetensors"
        shapes = {key: list(value.shape) for key, value in load_file(path).items()} if path.is_file() else {}
        assert shapes == {key: one["shape"] for key, one in facts.get("tensors", {}).items()}, name
