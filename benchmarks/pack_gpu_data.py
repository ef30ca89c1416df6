"""Known shapes in one zip that is small enough to travel: `python -m benchmarks.pack_gpu_data SOURCE FILE`.

SOURCE is a folder with views, cameras and points, as `make box-data` makes it. As many models of each class are taken
as fit, the same number of all, none that the manifest keeps for tests; of each all views and some of the points.
`gp3d train` and `gp3d ground` take the zip as it is.
"""

from __future__ import annotations

import argparse
import io
import json
import zipfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from gp3d_core.atomic import replacing
from gp3d_core.datasets.archive import depth_name

_ENTRY = 220  # bytes that a zip needs for one more file
_SAID = 130  # bytes about a view in dataset.json and cameras.json, compressed


def main(arguments: list[str] | None = None) -> None:
    """Writes the zip and says what is in it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path, help="folder with views and points, such as runs/box/data")
    parser.add_argument("file", type=Path, nargs="?", default=Path("runs/gpu-data/views.zip"))
    parser.add_argument("--megabytes", type=float, default=40.0, help="the most (default 40)")
    parser.add_argument("--points", type=int, default=1536, help="of a model (default 1536)")
    options = parser.parse_args(arguments)
    facts = json.loads((options.source / "dataset.json").read_text(encoding="utf-8"))
    cameras = json.loads((options.source / "cameras.json").read_text(encoding="utf-8"))
    views: dict[str, list[str]] = defaultdict(list)
    for name, _ in sorted(facts["labels"]):
        views[cameras["views"][name]["model"]].append(name)
    models = choose(options, facts, views)
    options.file.parent.mkdir(parents=True, exist_ok=True)
    with replacing(options.file) as part:
        write(part, options, facts, cameras, {model: views[model] for model in models})
    size, count = options.file.stat().st_size / 1e6, sum(len(views[model]) for model in models)
    print(f"{options.file}: {size:.1f} MB, {len(models)} models, {count} views, {options.points} points each")


def choose(options: argparse.Namespace, facts: dict[str, Any], views: dict[str, list[str]]) -> list[str]:
    """The first models of every class, by name, as many as fit into the size that is asked for."""
    label = dict(facts["labels"])
    manifest = options.source / "manifest.json"
    known = json.loads(manifest.read_text(encoding="utf-8"))["models"] if manifest.exists() else {}
    classes: dict[int, list[str]] = defaultdict(list)
    for model in sorted(views):
        if known.get(model, {}).get("split") != "test":
            classes[label[views[model][0]]].append(model)
    chosen: list[str] = []
    left = 1e6 * options.megabytes
    for row in zip(*classes.values(), strict=False):
        for model in row:
            left -= 6 * options.points + 500 + _ENTRY
            for name in views[model]:
                files = (options.source / name, options.source / depth_name(name))
                left -= sum(path.stat().st_size + _ENTRY for path in files) + _SAID
        if left < 0:
            break
        chosen += row
    return sorted(chosen)


def write(
    part: Path,
    options: argparse.Namespace,
    facts: dict[str, Any],
    cameras: dict[str, Any],
    views: dict[str, list[str]],
) -> None:
    """Writes the chosen views and points, and what is known of them."""
    names = {name for of_model in views.values() for name in of_model}
    facts = facts | {
        key: [row for row in facts[key] if row[0] in names]
        for key in ("labels", "camera_angles")
        if key in facts
    }
    said = {name: record for name, record in cameras["views"].items() if name in names}
    # PNG files and float16 do not get smaller
    with zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as archive:
        for name, content in (("dataset.json", facts), ("cameras.json", cameras | {"views": said})):
            archive.writestr(name, json.dumps(content), zipfile.ZIP_DEFLATED)
        for model, of_model in tqdm(views.items(), unit="model"):
            for name in of_model:
                archive.write(options.source / name, name)
                archive.write(options.source / depth_name(name), depth_name(name))
            path = f"points/{model}.npz"
            archive.writestr(path, some_points((options.source / path).read_bytes(), options.points))


def some_points(content: bytes, count: int) -> bytes:
    """`count` evenly chosen points of an npz file of more, half of each half (near the surface, uniform)."""
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        total = len(file["occupied"])
        rows = np.linspace(0, total, min(count, total), endpoint=False).astype(int)
        found = io.BytesIO()
        np.savez_compressed(found, positions=file["positions"][rows], occupied=file["occupied"][rows])
    return found.getvalue()


if __name__ == "__main__":
    main()
