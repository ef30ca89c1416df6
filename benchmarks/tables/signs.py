"""Signs, not digits: which of two rows is better in the paper, and whether every seed here says the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.tables.measures import Outcome
from benchmarks.tables.paper import Figures
from benchmarks.tables.rows import Row

SEEDS = 2  # for a claim about a sign


@dataclass(frozen=True)
class Comparison:
    """One score of two rows: differences (first − second) of each seed here, and of each column of the paper."""

    score: str
    first: str
    second: str
    ours: tuple[float, ...]
    paper: tuple[float, ...]

    @property
    def verdict(self) -> str:
        """What may be said."""
        if not self.ours:
            return "not measured"
        if len({d > 0 for d in self.paper}) > 1:
            return "the paper's own data sets disagree"
        if len({d > 0 for d in self.ours}) > 1:
            return "seeds disagree"
        same = (self.ours[0] > 0) == (self.paper[0] > 0)
        word = "as in the paper" if same else "the other way round"
        return word if len(self.ours) >= SEEDS else f"{word}, of one seed: no claim"


def comparisons(
    pairs: Sequence[tuple[str, str]], outcomes: Sequence[Outcome], paper: Figures
) -> list[Comparison]:
    """Every score that the paper has of both rows of a pair; seeds are compared with their own like."""
    scores = {(o.row.key, o.seed): o.scores for o in outcomes}
    seeds = sorted({seed for _, seed in scores})
    found = []
    for first, second in pairs:
        columns = [name for name in paper.get(first, {}) if name in paper.get(second, {})]
        for score in dict.fromkeys(name.partition(",")[0] for name in columns):
            theirs = [paper[first][c] - paper[second][c] for c in columns if c.partition(",")[0] == score]
            both = [(scores.get((first, s), {}), scores.get((second, s), {})) for s in seeds]
            ours = [one[score] - other[score] for one, other in both if score in one and score in other]
            found.append(Comparison(score, first, second, tuple(ours), tuple(theirs)))
    return found


def signs_table(found: Sequence[Comparison], rows: Sequence[Row]) -> str:
    """The comparisons in Markdown; of pairs of which a row is left out nothing is said."""
    titles: Mapping[str, str] = {row.key: row.title for row in rows}
    lines = ["| score | first | second | paper | here | verdict |", "|---|---|---|---|---|---|"]
    for one in found:
        if one.first in titles and one.second in titles:
            cells = [one.score, titles[one.first], titles[one.second]]
            lines.append(f"| {' | '.join([*cells, _order(one.paper), _order(one.ours), one.verdict])} |")
    return "\n".join(lines) + "\n"


def _order(differences: Sequence[float]) -> str:
    """Which of the two numbers is larger, once for each pair of numbers."""
    return " ".join("first >" if d > 0 else "first <" for d in differences) or "–"
