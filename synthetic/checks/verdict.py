"""What scores say of a whole data set: numbers, the bounds they must keep, and which of them are broken."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from synthetic.checks.colors import FEWEST_PIXELS, ColorScore
from synthetic.checks.comparison import Comparison, Score
from synthetic.dataset import PASSES

# Over a whole dataset: median error of all pixels off depth edges, its last thousandth, mean of the masks.
MOST = {"median": 1e-5, "p999": 1e-4}
LEAST = {"iou": 0.999}
# Of every view; docs/rendering.md says what was measured.
MOST_OF_A_VIEW = {"chroma": 0.12, "darker": 0.02, "black": 0.01, "brighter": 0.12, "albedo_off": 0.01}
MOST_OF_A_PASS = 0.01
LEAST_OF_A_MASK = 0.9
LIGHT = (0.9, 1.1)
BOUNDS: dict[str, float | tuple[float, float]] = {
    **MOST,
    **LEAST,
    **MOST_OF_A_VIEW,
    "light": LIGHT,
    "worst_iou": LEAST_OF_A_MASK,
    **{f"{name}_off": MOST_OF_A_PASS for name in PASSES},
}

_WORDS = {
    "chroma": "of another colour than the model",
    "darker": "darker than its light explains",
    "black": "black",
    "brighter": "brighter than its light explains",
    "albedo_off": "of another albedo than the model",
}


def summarise(found: Comparison) -> dict[str, float]:
    """The numbers over a whole dataset; of colours the worst view counts."""
    scores, errors = found.scores, np.concatenate(found.errors)
    summary = {
        "views": float(len(scores)),
        "median": float(np.median(errors)),
        "p999": float(np.quantile(errors, 0.999)),
        "share_below_1e-4": float((errors <= 1e-4).mean()),
        "iou": float(np.mean([score.iou for score in scores])),
        "worst_iou": min(score.iou for score in scores),
        "reprojection_p999": float(np.median([score.reprojection for score in scores])),
    }
    optional: tuple[tuple[str, Callable[[Score], float | None], Callable[[list[float]], float]], ...] = (
        ("normal_cosine", lambda score: score.normal_cosine, lambda values: float(np.median(values))),
        ("chroma", lambda score: score.color.chroma, max),
        ("darker", lambda score: score.color.darker, max),
        ("black", lambda score: score.color.black, max),
        ("brighter", lambda score: score.color.brighter, max),
        ("light", lambda score: score.color.light, _farthest_from_one),
        ("albedo_equal", lambda score: score.color.albedo_equal, _mean),
        ("albedo_off", lambda score: score.color.albedo_off, max),
        ("albedo_worst", lambda score: score.color.albedo_worst, max),
    )
    for name, value_of, together in optional:
        values = [value for value in map(value_of, scores) if value is not None]
        if values:
            summary[name] = float(together(values))
    for name in PASSES:
        shares = [score.passes[name] for score in scores if name in score.passes]
        if shares:
            summary[f"{name}_off"] = max(shares)
    return summary


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))


def _farthest_from_one(values: Sequence[float]) -> float:
    return max(values, key=lambda value: abs(np.log(max(value, 1e-6))))


def unchecked_colors(scores: Sequence[Score]) -> dict[str, int]:
    """Pixels whose colour was looked at, and by reason those that could not be checked; views with too few of them."""
    counts: Counter[str] = Counter()
    for score in scores:
        counts["pixels"] += score.color.pixels
        counts.update(score.color.unchecked)
        counts["views with too few pixels"] += score.color.chroma is None
    return dict(counts)


def broken_bounds(found: Comparison, summary: dict[str, float]) -> list[str]:
    """One line for every bound that is broken; with colours, for every view that breaks one."""
    lines = [
        f"{name} is {summary[name]:.3g}, at most {bound:g} is allowed"
        for name, bound in MOST.items()
        if not summary[name] <= bound
    ]
    lines += [
        f"{name} is {summary[name]:.5f}, at least {bound:g} is asked for"
        for name, bound in LEAST.items()
        if not summary[name] >= bound
    ]
    for score in found.scores:
        wrong = wrong_colors(score.color)
        if score.iou < LEAST_OF_A_MASK and score.pixels >= FEWEST_PIXELS:
            wrong.insert(0, f"its mask has an IoU of {score.iou:.2f} with the model's")
        wrong += [
            f"{100 * share:.0f} % of its pixels are of another {name} than the model"
            for name, share in score.passes.items()
            if share > MOST_OF_A_PASS
        ]
        if wrong:
            lines.append(f"{score.view}: {'; '.join(wrong)}")
    return lines


def wrong_colors(color: ColorScore) -> list[str]:
    """What is wrong with the colours of a view, in words."""
    wrong = []
    for name, bound in MOST_OF_A_VIEW.items():
        share = getattr(color, name)
        if share is not None and share > bound:
            wrong.append(f"{100 * share:.0f} % of its pixels are {_WORDS[name]}")
    if color.light is not None and not LIGHT[0] <= color.light <= LIGHT[1]:
        wrong.append(f"it is lit {color.light:.2f} times as brightly as it should be")
    return wrong


def badness(score: Score) -> float:
    """How far a view is from the truth: the larger, the farther."""
    color = score.color
    shares = [(getattr(color, name) or 0.0) / bound for name, bound in MOST_OF_A_VIEW.items()]
    light = 0.0 if color.light is None else abs(float(np.log(max(color.light, 1e-6)))) / np.log(LIGHT[1])
    shares += [share / MOST_OF_A_PASS for share in score.passes.values()]
    return max(score.median / MOST["median"], (1 - score.iou) / (1 - LEAST["iou"]), *shares, light)
