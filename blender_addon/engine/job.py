"""One request to the engine: what is asked, where the result belongs, and how far it is. No bpy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ..recipe import BuildOptions, JsonObject

_STAGES = (  # of a mesh, with their usual shares of the time
    ("planes", 0.05),
    ("density", 0.15),
    ("surface", 0.05),
    ("quads", 0.0),
    ("atlas", 0.5),
    ("texels", 0.15),
    ("color", 0.07),
    ("compare", 0.01),
    ("lods", 0.0),
    ("collision", 0.0),
    ("write", 0.02),
)
_TRUST_STAGES = (
    ("planes", 0.05),
    ("density", 0.15),
    ("surface", 0.1),
    ("supervision", 0.3),
    ("disagreement", 0.35),
    ("thickness", 0.03),
    ("write", 0.02),
)
_VOLUME_STAGES = (("planes", 0.1), ("density", 0.2), ("color", 0.6), ("write", 0.1))
_RELIEF_STAGES = (("depth", 0.1), ("edges", 0.1), ("filling", 0.7), ("triangles", 0.05), ("write", 0.05))


@dataclass(frozen=True)
class Batch:
    """Pictures that are asked for together: of these tiles, by number, each from all these directions."""

    tiles: tuple[int, ...]
    turns: tuple[int, ...]
    pixels: int

    def place(self, index: int) -> tuple[int, int]:
        """Number of the tile, and direction, of the picture that comes as `index`."""
        return self.tiles[index // len(self.turns)], self.turns[index % len(self.turns)]


_STAGES_OF = {
    "volume": _VOLUME_STAGES,
    "lift": _RELIEF_STAGES,
    "trust": _TRUST_STAGES,
    "trust_picture": _TRUST_STAGES,
}


@dataclass
class Delivery:
    """Where results belong, shared by the jobs that end in one object.

    `options` shape the object; None for previews only. `target` is the name of an object that is given another mesh,
    `shown_as` the name under which previews are listed, `picture` the file of a finished preview: the asset's picture.
    Files that are `exported` stay where they were asked for, and no object is made; of a `volume`, the path of an
    OpenVDB file, an object is made beside the target. `batch` says what previews of the
    seed browser are of.
    """

    options: BuildOptions | None = None
    target: str = ""
    shown_as: str = ""
    picture: str = ""
    exported: bool = False
    batch: Batch | None = None
    volume: str = ""


@dataclass(frozen=True, eq=False)
class Job:
    """A request of kind `op` (mesh, volume, picture, lift, trust, trust_picture, preview), and how far it is.

    `sent` is the session's clock when it was sent, `note` what the user should know about the result. `model` is the
    SHA-256 of the model that is to make it, empty for the one that has the class.
    """

    op: str
    request: JsonObject
    delivery: Delivery = field(default_factory=Delivery)
    note: str = ""
    stage: str = "waiting"
    done: int = 0
    total: int = 0
    sent: float = 0.0
    reached: float = 0.0
    model: str = ""

    def asking(self, changes: Mapping[str, object], note: str = "") -> Job:
        """The same job before it is sent, with other fields in its request."""
        return Job(self.op, {**self.request, **changes}, self.delivery, note or self.note, model=self.model)

    def sent_at(self, now: float) -> Job:
        """The job as it has just been sent."""
        return replace(self, sent=now, stage="sent", reached=0.0)

    def advanced(self, stage: str, done: int, total: int) -> Job:
        """The job after progress. An unknown stage leaves the overall share where it was; none lets it go back."""
        later = replace(self, stage=stage, done=done, total=total)
        stages = _STAGES_OF.get(self.op, _STAGES)
        names = [name for name, _ in stages]
        if stage not in names:
            return later
        place = names.index(stage)
        share = sum(share for _, share in stages[:place]) + later.share_of_stage * stages[place][1]
        return replace(later, reached=max(self.reached, share))

    @property
    def share_of_stage(self) -> float:
        """Share of the stage that is done, 0 to 1."""
        return min(1.0, self.done / self.total) if self.total > 0 else 0.0

    @property
    def overall(self) -> float:
        """Share of the whole job that is done, as far as one can tell, 0 to 1."""
        return self.share_of_stage if self.op == "preview" else self.reached
