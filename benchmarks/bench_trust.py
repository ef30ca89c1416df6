"""What examining an object costs beside making its surface: `python -m benchmarks.bench_trust [--record]`.

CPU-seconds of one thread, medians over three seeds of a class of the model that comes along, surfaces of 128³.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import torch

from benchmarks.measuring import Rows
from gp3d_core.generation.objects import object_specs
from gp3d_core.generation.sampling import generate, open_snapshot
from gp3d_core.meshing.options import MeshOptions
from gp3d_core.meshing.pipeline import find_surface
from gp3d_core.metrics.surface_pairs import oriented_points, pair_measures
from gp3d_core.trust.report import examine

RESULTS = Path(__file__).with_name("results.csv")


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--class", dest="name", default="coffee mug")
    parser.add_argument("--record", action="store_true", help="append the figures to benchmarks/results.csv")
    options = parser.parse_args()
    torch.set_num_threads(1)
    snapshot = open_snapshot(None, "cpu")
    seconds: dict[str, list[float]] = {"surface": [], "trust": [], "pair": []}
    for spec in object_specs(snapshot, [options.name], (1, 3, 5)):
        marks = [time.process_time()]
        field = snapshot.generator.field(generate(snapshot, spec).planes)
        surface = find_surface(field, snapshot.config, MeshOptions(color="none"))
        marks.append(time.process_time())
        examine(surface.mesh, field, snapshot.config, surface.level)
        marks.append(time.process_time())
        clouds = [oriented_points(surface.mesh.vertices, surface.mesh.faces, seed) for seed in (0, 1)]
        if clouds[0] is not None and clouds[1] is not None:
            pair_measures(clouds[0], clouds[1])
        marks.append(time.process_time())
        for name, begin, end in zip(seconds, marks, marks[1:], strict=False):
            seconds[name].append(end - begin)
    rows = Rows("trust", RESULTS if options.record else None, torch.device("cpu"), 600)
    for name, words in (
        ("surface", "planes and surface, 128³"),
        ("trust", "Show Trust of that surface"),
        ("pair", "two draws of 10 000 points compared"),
    ):
        rows.add(words, statistics.median(seconds[name]), "CPU-s")


if __name__ == "__main__":
    main()
