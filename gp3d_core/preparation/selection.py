"""Instance selection (DeVries et al. 2020; 3DGP App. B): the images that are likeliest under a Gaussian of features.

Maximum likelihood: mean μ and full covariance Σ of the features, `regularisation` added to Σ's diagonal. What is far
from the mean in these terms is unusual: odd poses, clutter, several objects, text. Metrics belong on the full set.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.linalg import LinAlgError, cholesky, solve_triangular

from gp3d_core.datasets.dataset import Dataset
from gp3d_core.errors import GP3DError
from gp3d_core.visualization import sheet

_SHOWN_CLASSES = 12
_SHOWN_IMAGES = 8


class SelectionError(GP3DError):
    """Features or a share from which nothing can be selected."""


@dataclass(frozen=True)
class Selection:
    """kept: indices of the images to keep, ascending. likelihood: log-likelihood [N] of each image, under its class's
    Gaussian or under the one of all. groups: indices of the images of each Gaussian, most likely first. dim: numbers of
    a feature. variance: their mean variance over all images.
    """

    kept: NDArray[Any]
    likelihood: NDArray[Any]
    groups: list[NDArray[Any]]
    dim: int
    variance: float

    @property
    def thin(self) -> int:
        """How many Gaussians rest on no more images than a feature has numbers.

        Without regularisation their images would all be equally likely, so that it alone decides their order.
        """
        return sum(len(group) <= self.dim for group in self.groups)


def log_likelihood(features: NDArray[Any], regularisation: float) -> NDArray[Any]:
    """Log-density [N] of features [N,D] under their own Gaussian.

    Raises SelectionError when the covariance is singular: fewer images than dimensions and no regularisation.
    """
    features = np.asarray(features, dtype=np.float64)
    count, dim = features.shape
    centred = features - features.mean(axis=0)
    covariance = centred.T @ centred / count
    covariance[np.diag_indices(dim)] += regularisation
    try:
        lower = cholesky(covariance, lower=True, overwrite_a=True)
    except LinAlgError as error:
        raise SelectionError(
            f"the covariance of {count} features of {dim} numbers cannot be inverted; raise `regularisation` "
            f"above {regularisation:g}, or leave out `per_class`"
        ) from error
    whitened = solve_triangular(lower, centred.T, lower=True)
    constant = dim * math.log(2 * math.pi) + 2 * np.log(np.diag(lower)).sum()
    return -0.5 * ((whitened**2).sum(axis=0) + constant)


def select(
    features: NDArray[Any], labels: NDArray[Any], keep: float, *, per_class: bool, regularisation: float
) -> Selection:
    """Keeps the most likely images: a share `keep` up to 1 of each Gaussian's, or that many when `keep` is above 1.

    features [N,D]; labels [N] tell whose Gaussian is whose with `per_class`. Of a class at least one image is kept.
    Of equally likely images the first counts as likelier.
    """
    if not np.isfinite(features).all():
        raise SelectionError("expected finite features, found NaN or infinity; make the features again")
    members = (
        [np.flatnonzero(labels == label) for label in np.unique(labels)]
        if per_class
        else [np.arange(len(labels))]
    )
    likelihood = np.empty(len(labels))
    groups, kept = [], []
    for indices in members:
        likelihood[indices] = log_likelihood(features[indices], regularisation)
        order = indices[np.argsort(-likelihood[indices], kind="stable")]
        groups.append(order)
        kept.append(order[: how_many(len(order), keep)])
    variance = float(features.var(axis=0, dtype=np.float64).mean())
    return Selection(np.sort(np.concatenate(kept)), likelihood, groups, features.shape[1], variance)


def how_many(count: int, keep: float) -> int:
    """How many of `count` images are kept: the share, rounded, or the number `keep`, and at least one."""
    return max(1, round(count * keep)) if keep <= 1 else min(count, round(keep))


def selection_record(features: str, keep: float, *, per_class: bool, regularisation: float) -> dict[str, Any]:
    """The settings of a selection in JSON values, for the card of its data set."""
    return {
        "method": "Gaussian likelihood of features",
        "features": features,
        "keep": keep,
        "per_class": per_class,
        "regularisation": regularisation,
    }


def selection_sheet(dataset: Dataset, selection: Selection, tile: int = 96) -> Image.Image:
    """For each Gaussian (up to twelve) a row of kept and a row of dropped images, each from most to least likely."""
    kept = set(selection.kept.tolist())
    rows = []
    for order in selection.groups[:_SHOWN_CLASSES]:
        title = _title(dataset, order, single=len(selection.groups) == 1)
        for word, part in (
            ("kept", [i for i in order.tolist() if i in kept]),
            ("dropped", [i for i in order.tolist() if i not in kept]),
        ):
            if part:
                shown = [dataset.load_image(i) for i in _spread(part)]
                rows.append((f"{title}: {word} {len(part)} of {len(order)}, likeliest first", shown))
    return sheet(rows, tile=tile)


def _title(dataset: Dataset, order: NDArray[Any], *, single: bool) -> str:
    if single or not dataset.classes:
        return "all images"
    return str(dataset.classes[int(dataset.labels[order[0]])]["name"])


def _spread(part: Sequence[int]) -> list[int]:
    """Up to eight of `part`, first and last among them."""
    places = np.linspace(0, len(part) - 1, min(len(part), _SHOWN_IMAGES)).round().astype(int)
    return [part[i] for i in places]
