"""The pictures of a table: samples of every row of the same classes and seeds, and the Fréchet distance as it fell."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks.tables.measures import Outcome
from benchmarks.tables.page import mean_curve
from gp3d_core.atomic import replacing
from gp3d_core.datasets.dataset import Dataset
from gp3d_core.generation.objects import object_specs
from gp3d_core.generation.sampling import generate, open_snapshot, view
from gp3d_core.visualization import depth_to_uint8, rgb_to_uint8, save_picture, sheet

_COLUMNS, _TILE = 12, 64


def draw_samples(outcomes: Sequence[Outcome], data: Path, device: str, path: Path) -> None:
    """Real pictures above, then the first seed of every row: pictures, and below them depth where there is any."""
    dataset = Dataset(data, needs_depth=False)
    chosen = np.linspace(0, len(dataset) - 1, _COLUMNS).astype(int).tolist()
    rows = [("the data", [dataset.load_image(k) for k in chosen])]
    for outcome in outcomes:
        if outcome.snapshot is None or outcome.seed > 0:
            continue
        snapshot = open_snapshot(outcome.snapshot, device)
        each = max(1, _COLUMNS // max(1, len(snapshot.classes)))
        specs = object_specs(snapshot, None, range(each))
        some = specs[:: max(1, len(specs) // _COLUMNS)][:_COLUMNS]
        seen = [view(snapshot, generate(snapshot, spec, 1.0)) for spec in some]
        title = f"{outcome.row.title}, {outcome.images} images"
        rows.append((title, [rgb_to_uint8(one.rgb)[0] for one in seen]))
        if snapshot.config.dimensions > 2:
            camera = snapshot.config.camera
            depths = [depth_to_uint8(one.depth, camera.t_near, camera.t_far)[0] for one in seen]
            rows.append((f"{outcome.row.title}: depth", depths))
    save_picture(sheet(rows, tile=_TILE), path)


def draw_curves(outcomes: Sequence[Outcome], floor: float, path: Path) -> None:
    """The Fréchet distance of every row over images seen, means over seeds, both axes logarithmic."""
    figure = Figure(figsize=(7, 4.5), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(xlabel="images seen", ylabel="Fréchet distance", xscale="log", yscale="log")
    for key in dict.fromkeys(outcome.row.key for outcome in outcomes):
        own = [outcome for outcome in outcomes if outcome.row.key == key and outcome.curve]
        curve = mean_curve(own)
        if curve:
            axes.plot(list(curve), list(curve.values()), marker="o", markersize=3, label=own[0].row.title)
    axes.axhline(floor, color="0.6", linestyle=":", label="two halves of the real pictures")
    axes.legend(fontsize=7)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png")
