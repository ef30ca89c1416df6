"""The parts of a comparison, each of which measures all snapshots and adds its rows."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from benchmarks.comparison import costs, recognition, shapes, sheet
from benchmarks.comparison import pictures as pictured
from benchmarks.comparison.comparison import RESOLUTION, Comparison
from benchmarks.comparison.references import AROUND_THE_FRONT, render
from benchmarks.comparison.subjects import is_animal
from benchmarks.comparison.table import mean_of
from gp3d_core.metrics.features import SQUEEZENET, open_network

_COLD = "coffee mug"
_OF_SHAPES = {
    "fpd": ("FPD", "lower"),
    "coverage": ("coverage", "higher"),
    "mmd": ("MMD (Chamfer)", "lower"),
    "1-nna": ("1-NNA", "0.5"),
}
_CLASSIFIED = 64  # pixels of the renders that a classifier learns


def measure_pictures(comparison: Comparison) -> None:
    """Fréchet distance and gradients of renders of the meshes; draws them beside real models, too (pictures.jpg)."""
    network = open_network(SQUEEZENET, comparison.options.weights, torch.device("cpu"))
    records, out = comparison.real_records(), comparison.options.out
    real, others = (
        pictured.look(comparison.half(which), records, network, out / which / "seen.json")
        for which in ("models", "others")
    )
    made, columns = {}, {}
    for subject in comparison.subjects:
        renders, called = comparison.renders(subject)
        made[subject.name] = pictured.look(renders, called, network, subject.folder / "seen.json")
        columns[subject.name] = sheet.first_renders(renders, called, comparison.shared)
    columns["real"] = sheet.first_renders(comparison.half("models"), records, comparison.shared)
    if comparison.shared:
        sheet.draw(columns).save(out / "pictures.jpg", quality=sheet.QUALITY, optimize=True)
    for title, names in comparison.scopes().items():
        comparison.add(
            "Fréchet distance of SqueezeNet features",
            title,
            "lower",
            {n: pictured.frechet(seen, real, names[n]) for n, seen in made.items()},
            floors={n: pictured.frechet(others, real, names[n]) for n in made},
            facts={"views": {n: sum(len(s[c].features) for c in names[n]) for n, s in made.items()}},
        )
    _add_gradients(comparison, "renders of meshes", made, real, others)


def _add_gradients(
    comparison: Comparison,
    what: str,
    made: Mapping[str, Mapping[str, pictured.Seen]],
    real: Mapping[str, pictured.Seen],
    others: Mapping[str, pictured.Seen],
) -> None:
    for title, names in comparison.scopes().items():
        for field_, noun in (("magnitude", "gradient inside the object"), ("square", "its square")):
            true, rest = ({n: getattr(s, field_) for n, s in seen.items()} for seen in (real, others))
            found = {
                key: pictured.relative({n: getattr(s, field_) for n, s in seen.items()}, true, names[key])
                for key, seen in made.items()
            }
            comparison.add(
                f"{noun}, of {what}, relative to renders of real models",
                title,
                "1",
                {key: total for key, (total, _) in found.items()},
                floors={key: pictured.relative(rest, true, names[key])[0] for key in made},
                facts={"per_class": {key: each for key, (_, each) in found.items()}},
            )


def measure_own_views(comparison: Comparison) -> None:
    """Gradients of the snapshots' own views, by volume rendering."""
    network = open_network(SQUEEZENET, comparison.options.weights, torch.device("cpu"))
    records, options = comparison.real_records(), comparison.options
    real, others = (
        pictured.look(comparison.half(which), records, network, options.out / which / "seen.json")
        for which in ("models", "others")
    )
    made = {}
    for subject in comparison.subjects:
        found = pictured.volume_gradients(
            subject, comparison.own(subject), options.own_views, options.seed, options.truncation, RESOLUTION
        )
        made[subject.name] = {n: pictured.Seen([], *gradients) for n, gradients in found.items()}
    _add_gradients(comparison, "own views", made, real, others)


def measure_shapes(comparison: Comparison) -> None:
    """FPD, coverage, MMD and 1-NNA."""
    options = comparison.options
    for place, (title, names) in enumerate(comparison.scopes().items()):
        found = {}
        for subject in comparison.subjects:
            chosen = {name: comparison.references[name] for name in names[subject.name]}
            path = subject.folder / f"shapes-{place}.json"
            found[subject.name] = shapes.shape_scores(
                subject, chosen, options.pointnet, options.seed, options.truncation, path
            )
        for metric, (shown, better) in _OF_SHAPES.items():
            scores = {key: each[metric] for key, each in found.items() if metric in each}
            if scores:
                comparison.add(
                    shown,
                    title,
                    better,
                    {key: score["value"] for key, score in scores.items()},
                    floors={key: score["floor"] for key, score in scores.items()},
                    facts={"per_class": {key: score.get("per_class") for key, score in scores.items()}},
                )


def measure_recognition(comparison: Comparison) -> None:
    """Shares that a classifier of other models' renders names right: of own views, and of renders of the meshes."""
    options, out = comparison.options, comparison.options.out
    dataset, cache = options.recognition_views or out / "classifier" / "views", out / "classifier"
    if options.recognition_views is None:
        render(options.references, dataset, 1, _CLASSIFIED, AROUND_THE_FRONT)
    made, real, drawn = {}, {}, {}
    for subject in comparison.subjects:
        made[subject.name] = recognition.of_own_views(
            subject, dataset, options.recognised, options.seed, options.truncation, cache
        )
    recogniser, known = recognition.open_recogniser(dataset, cache)
    if "pictures" in options.parts:
        records = comparison.real_records()
        real = recognition.of_renders(recogniser, known, comparison.half("models"), records, records)
        for subject in comparison.subjects:
            renders, names_there = comparison.renders(subject)
            drawn[subject.name] = recognition.of_renders(recogniser, known, renders, records, names_there)
    for chosen in (None, is_animal):
        for title, names in comparison.scopes(chosen).items():
            comparison.add(
                "recognised, own views",
                title,
                "higher",
                {key: mean_of(each["per_class"], names[key]) for key, each in made.items()},
                floors={key: mean_of(each["floor_per_class"], names[key]) for key, each in made.items()},
                facts={"per_class": {key: each["per_class"] for key, each in made.items()}},
            )
            if drawn:
                comparison.add(
                    "recognised, renders of meshes",
                    title,
                    "higher",
                    {key: mean_of(each, names[key]) for key, each in drawn.items()},
                    floors={key: mean_of(real, names[key]) for key in drawn},
                    facts={"per_class": drawn},
                )


def measure_thin(comparison: Comparison) -> None:
    """The share of real surfaces that is near: of the nearest of many samples, and of models that a run has learnt."""
    options = comparison.options
    chosen = {name: each for name, each in comparison.references.items() if shapes.is_thin(name)}
    models = [model for each in chosen.values() for model in (*each.models, *each.others)]
    if models:
        points = shapes.real_surfaces(options.references, models, options.out / "thin")
        surfaces = {
            name: {m.key: points[m.key] for m in (*each.models, *each.others) if m.key in points}
            for name, each in chosen.items()
        }
        settings = {"samples": options.samples, "seed": options.seed, "truncation": 1.0}
        found = {s.name: shapes.thin_parts(s, surfaces, settings) for s in comparison.subjects}
        measure = (
            f"surface of other models within {shapes.NEAR:g} of the nearest of {options.samples} samples"
        )
        _add_thin(comparison, measure, found)
    runs = {}
    for name, run, dataset in options.run:
        folder = comparison.subject(name).folder / "known"
        learnt = shapes.read_run(Path(run), Path(dataset))
        known = shapes.known_surfaces(learnt, Path(dataset), options.run_models, options.known, folder)
        runs[name] = shapes.learnt_models(learnt, known)
    if runs:
        _add_thin(comparison, f"surface of known models within {shapes.NEAR:g} of the same as learnt", runs)


def _add_thin(
    comparison: Comparison, measure: str, found: Mapping[str, Mapping[str, Mapping[str, float]]]
) -> None:
    means = {
        key: {name: sum(each.values()) / len(each) for name, each in own.items() if each}
        for key, own in found.items()
    }
    together = [n for n in next(iter(means.values())) if all(n in own for own in means.values())]
    titles = {f"shared, thin ({len(together)})": dict.fromkeys(means, together)}
    if any(set(own) != set(together) for own in means.values()):
        sizes = " / ".join(str(len(own)) for own in means.values())
        titles[f"its own, thin ({sizes})"] = {key: list(own) for key, own in means.items()}
    for title, names in titles.items():
        values = {key: mean_of(own, names[key]) for key, own in means.items()}
        comparison.add(measure, title, "higher", values, facts={"per_class": means})


def measure_costs(comparison: Comparison) -> None:
    """Seconds of a textured mesh from a cold start."""
    options = comparison.options
    names = comparison.shared
    if not names:
        return
    name = _COLD if _COLD in names else names[0]
    load = os.getloadavg()[0]
    found = costs.cold_starts(comparison.subjects, name, options.repeats, options.texture)
    facts = {"load": load, "threads": os.environ.get("OMP_NUM_THREADS"), "texture": options.texture}
    for place, what in enumerate(("wall", "CPU")):
        values = {key: seconds[place] for key, seconds in found.items()}
        comparison.add(f"textured mesh, cold start, {what} seconds", name, "lower", values, facts=facts)


def measure_files(comparison: Comparison) -> None:
    """Sizes of the files, numbers of classes and of animals among them."""
    subjects = comparison.subjects
    sizes = {s.name: s.snapshot.path.stat().st_size / 1e6 for s in subjects}
    comparison.add("file, MB", "all", "lower", sizes)
    comparison.add("classes", "all", "higher", {s.name: float(len(s.records)) for s in subjects})
    animals = {s.name: [n for n, record in s.records.items() if is_animal(record)] for s in subjects}
    counts = {key: float(len(names)) for key, names in animals.items()}
    comparison.add("classes that are animals", "all", "higher", counts, facts={"animals": animals})


MEASURES: dict[str, Callable[[Comparison], None]] = {
    "pictures": measure_pictures,
    "own-views": measure_own_views,
    "shapes": measure_shapes,
    "recognition": measure_recognition,
    "thin": measure_thin,
    "costs": measure_costs,
    "files": measure_files,
}
