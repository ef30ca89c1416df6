"""Scores of images: FID, KID, Inception Score, precision and recall, from features kept in portions on disk."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gp3d_core.datasets.dataset import Dataset
from gp3d_core.distributed import World
from gp3d_core.evaluation.samples import BLOCK, EvaluationError, Sampler, real_images, to_uint8
from gp3d_core.evaluation.world_split import Portions
from gp3d_core.metrics.features import FeatureNetwork
from gp3d_core.metrics.frechet import fit_gaussian, frechet_distance
from gp3d_core.metrics.inception_score import SPLITS, inception_score
from gp3d_core.metrics.kernel_distance import SUBSET_SIZE, SUBSETS, kernel_distance
from gp3d_core.metrics.manifold import NEIGHBOURS, precision_recall
from gp3d_core.metrics.score import Score
from gp3d_core.rng import generator_for

FRECHET = {"fid2k": 2048, "fid50k": 50_000}  # generated images; against all real ones
IMAGE_METRICS = (*FRECHET, "kid", "is", "pr")
SAMPLES = 50_000  # generated images of the others, as in the papers
MOST_REAL = 200_000  # of precision and recall
# With fewer real images a score says more of these few than of the model.
LEAST_REAL = {"fid2k": 2, "fid50k": 1000, "kid": 2, "pr": NEIGHBOURS + 1, "is": 0}
LEAST_FAKE = {"kid": 2, "pr": NEIGHBOURS + 1, "is": SPLITS}


def samples_of(metric: str, samples: int) -> int:
    """How many generated images the score `metric` rests on, where `samples` are asked for."""
    return FRECHET.get(metric, samples)


def check_counts(metric: str, dataset: Dataset, samples: int) -> None:
    """Raises EvaluationError when there are too few images, real or generated, for the score `metric`."""
    if len(dataset) < LEAST_REAL[metric]:
        advice = "fid2k takes fewer" if metric == "fid50k" else "use more data"
        raise EvaluationError(
            f"{metric} needs at least {LEAST_REAL[metric]} real images, {dataset.path} has {len(dataset)}: {advice}"
        )
    if samples < LEAST_FAKE.get(metric, 0):
        raise EvaluationError(
            f"{metric} needs `samples` of at least {LEAST_FAKE[metric]}, asked for are {samples}"
        )


@dataclass(frozen=True, eq=False)
class ImageScores:
    """Real and generated images of one evaluation, as one feature network sees them."""

    sampler: Sampler
    dataset: Dataset
    network: FeatureNetwork
    real: Portions
    fake: Portions

    def prepare(self, metrics: Iterable[str], samples: int, world: World) -> None:
        """Computes the features that `metrics` need; all processes call it."""
        metrics = list(metrics)
        if any(LEAST_REAL[metric] for metric in metrics):
            self.real.complete(len(self.dataset), "real images", world)
        most = max(samples_of(metric, samples) for metric in metrics)
        self.fake.complete(most, "generated images", world)

    def measure(self, metric: str, samples: int) -> list[Score]:
        """The scores called `metric`, of features that `prepare` has computed."""
        n = samples_of(metric, samples)
        if metric in FRECHET:
            return [self._frechet(metric, n)]
        return {"kid": self._kernel, "is": self._inception, "pr": self._manifold}[metric](n)

    def _frechet(self, metric: str, n: int) -> Score:
        real = fit_gaussian(self.real.read("features", len(self.dataset)))
        fake = fit_gaussian(self.fake.read("features", n))
        width = len(real.mean)
        facts: dict[str, Any] = {"reference_n": real.count}
        if min(real.count, n) <= width:
            facts["caution"] = (
                f"fewer images than the {width} features: compares only with scores of the same counts"
            )
        return self._score(metric, frechet_distance(real, fake), n, facts)

    def _kernel(self, n: int) -> list[Score]:
        draws = generator_for("evaluation", "kid", self.sampler.seed)
        real = self._some_real(n)
        fake = torch.cat(list(self.fake.read("features", n)))
        mean, spread = kernel_distance(real, fake, draws)
        facts = {
            "reference_n": len(real),
            "subsets": SUBSETS,
            "subset_size": min(SUBSET_SIZE, len(real), n),
            "std": spread,
        }
        return [self._score("kid", mean, n, facts)]

    def _inception(self, n: int) -> list[Score]:
        mean, spread = inception_score(torch.cat(list(self.fake.read("scores", n))))
        return [self._score("is", mean, n, {"splits": SPLITS, "std": spread})]

    def _manifold(self, n: int) -> list[Score]:
        real = self._some_real(MOST_REAL)
        device = self.sampler.device
        fake = torch.cat(list(self.fake.read("features", n)))
        values = precision_recall(real.to(device), fake.to(device))
        facts = {"reference_n": len(real), "neighbours": NEIGHBOURS}
        return [
            self._score(f"pr/{name}", value, n, facts)
            for name, value in zip(("precision", "recall"), values, strict=True)
        ]

    def _some_real(self, most: int) -> Tensor:
        """Features of all real images, or of `most` of them drawn at random."""
        total = len(self.dataset)
        draws = generator_for("evaluation", "real images", self.sampler.seed)
        chosen = torch.randperm(total, generator=draws)[:most].sort().values
        return self.real.rows("features", chosen)

    def _score(self, metric: str, value: float, n: int, facts: Mapping[str, Any]) -> Score:
        data = {"reference": self.dataset.path.name, "reference_fingerprint": self.dataset.fingerprint}
        about = {**data, **self.network.facts, **self.sampler.facts, **facts}
        return Score(metric=f"{self.network.prefix}{metric}", value=value, n=n, facts=about)


def image_scores(
    sampler: Sampler, dataset: Dataset, network: FeatureNetwork, out: Path, cache: Path
) -> ImageScores:
    """Image scores whose generated features are kept in `out` and whose real ones in `cache`, for every evaluation.

    Real features are found by the data set's fingerprint and the network's weights.
    """
    pool = ThreadPoolExecutor(4)
    kind = f"{network.prefix or 'inception-'}{network.weights[:16]}"

    def look_at_real(start: int, stop: int) -> dict[str, Tensor]:
        seen = [
            network(real_images(dataset, at, min(at + BLOCK, stop), pool).to(sampler.device))[0]
            for at in range(start, stop, BLOCK)
        ]
        return {"features": torch.cat(seen)}

    def look_at_fakes(start: int, stop: int) -> dict[str, Tensor]:
        blocks = range(start // BLOCK, -(-stop // BLOCK))
        seen = [network(to_uint8(sampler.block(number).rgb)) for number in blocks]
        return {
            "features": torch.cat([features for features, _ in seen]),
            "scores": torch.cat([scores for _, scores in seen]),
        }

    return ImageScores(
        sampler,
        dataset,
        network,
        real=Portions(cache / f"{dataset.fingerprint[:16]}-{kind}", look_at_real),
        fake=Portions(out / "features" / kind, look_at_fakes),
    )
