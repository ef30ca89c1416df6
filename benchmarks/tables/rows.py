"""The rows of the tables: which preset trains each at a picture size, and which pairs of rows are compared by sign."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from gp3d_core.config.presets import PRESETS, resolve
from gp3d_core.config.schema import RunConfig, unread
from gp3d_core.errors import GP3DError

Kind = Literal["trained", "quoted", "lifted"]


class TableError(GP3DError):
    """A table that cannot be made of what was given; the message names what is missing."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row: its key, also the name of its runs, its title, and how it comes about.

    trained: by the preset that `presets` has for the picture size, with `settings`; `teacher` says that it distils
    features. lifted: pictures of the row `of` with estimated depth, seen from beside. quoted: from the paper alone,
    for a `reason`.
    """

    key: str
    title: str
    kind: Kind = "trained"
    presets: dict[int, str] = field(default_factory=dict)
    settings: tuple[str, ...] = ()
    teacher: bool = False
    of: str = ""
    reason: str = ""

    @property
    def projected(self) -> bool:
        """Whether a pretrained network's weights go into the discriminator."""
        return any("projected" in preset for preset in self.presets.values())

    def config(self, size: int, assignments: Sequence[str]) -> RunConfig:
        """How its preset for pictures of `size` px trains it, with KEY=VALUE `assignments` of keys that it reads.

        Raises TableError where it has no such preset, ConfigError for assignments.
        """
        if size not in self.presets:
            raise TableError(
                f"row {self.key} has presets for pictures of {' and '.join(map(str, sorted(self.presets)))} px, not "
                f"{size}: choose one of these with `size`, or leave the row out with `rows`"
            )
        preset = self.presets[size]
        known = PRESETS[preset]
        # a key that this system does not read cannot be set for it; another row may have it
        return resolve(preset, [*self.settings, *(a for a in assignments if _reads(known, a))])


def _reads(config: RunConfig, assignment: str) -> bool:
    """Whether the key of KEY=VALUE is not another system's alone; what no system knows is left to be refused."""
    key = assignment.partition("=")[0]
    section = key.partition(".")[0]
    others = {name for other in PRESETS.values() for name in vars(other)}
    return (section in vars(config) and unread(config, key) is None) or section not in others


def _small_and_large(small: str, large: str) -> dict[int, str]:
    return {64: small, 256: large}


def _2d(name: str, ending: str = "") -> dict[int, str]:
    return {size: f"{name}-{size}{ending}" for size in (64, 128, 256)}


def _quoted(key: str, title: str, reason: str) -> Row:
    return Row(key=key, title=title, kind="quoted", reason=reason)


_NOT_TRAINED = "the paper quotes it as well"
_NOT_BUILT = "not built here: a generator with filters of its own"

_PLAIN_2D = Row(key="stylegan2", title="StyleGAN2", presets=_2d("stylegan2"))
_DISTILLED_2D = Row(
    key="stylegan2-kd",
    title="StyleGAN2, with distillation (L2)",
    presets=_2d("stylegan2", "-kd"),
    teacher=True,
)
_3DGP = Row(key="3dgp", title="3DGP", presets=_small_and_large("photos-64", "dogs-256"), teacher=True)
_EG3D = (
    Row(key="eg3d", title="EG3D", presets=_small_and_large("eg3d-64-default", "eg3d-256")),
    Row(
        key="eg3d-wide", title="EG3D, wide camera", presets=_small_and_large("eg3d-64-wide", "eg3d-256-wide")
    ),
)
_EPIGRAF = tuple(
    Row(
        key=key,
        title=title,
        presets=_small_and_large(f"photos-64-epigraf-{spread}", f"epigraf-256-{spread}"),
    )
    for key, title, spread in (
        ("epigraf", "EpiGRAF", "default"),
        ("epigraf-wide", "EpiGRAF, wide camera", "wide"),
    )
)


def _known(key: str, title: str, small: str, large: str, *settings: str) -> Row:
    """A row for rendered objects, whose cameras are known."""
    return Row(key=key, title=title, presets=_small_and_large(small, large), settings=settings)


TABLES: dict[int, tuple[Row, ...]] = {
    1: (
        *_EG3D,
        _EPIGRAF[0],
        _3DGP,
        _DISTILLED_2D,
        Row(
            key="3dgp-bare",
            title="3DGP without depth and cameras",
            presets=_small_and_large("photos-64-bare", "dogs-256-bare"),
            teacher=True,
        ),
        *(
            Row(
                key=f"3dgp-adapted-{percent}",
                title=f"3DGP, {percent} % of the depth unadapted",
                presets=_small_and_large(f"photos-64-identity-{percent}", f"dogs-256-identity-{percent}"),
                teacher=True,
            )
            for percent in (0, 25, 50, 100)
        ),
    ),
    2: (
        _quoted("biggan", "BigGAN", _NOT_TRAINED),
        _quoted("stylegan-xl", "StyleGAN-XL", _NOT_TRAINED),
        _quoted("adm", "ADM", _NOT_TRAINED),
        *_EG3D,
        Row(
            key="volumegan",
            title="VolumeGAN",
            presets=_small_and_large("volumegan-64-default", "volumegan-256"),
        ),
        Row(
            key="stylenerf",
            title="StyleNeRF",
            presets=_small_and_large("stylenerf-64-default", "stylenerf-256"),
        ),
        _DISTILLED_2D,
        Row(key="lifted", title="StyleGAN2's pictures, lifted", kind="lifted", of="stylegan2-kd"),
        *_EPIGRAF,
        _3DGP,
    ),
    4: (
        _quoted("stylegan3", "StyleGAN3-t (large)", _NOT_BUILT),
        _quoted("stylegan3-proj", "StyleGAN3-t, projected D", _NOT_BUILT),
        _quoted("stylegan3-kd", "StyleGAN3-t, distillation", _NOT_BUILT),
        _PLAIN_2D,
        Row(
            key="projected",
            title="StyleGAN2, projected D",
            presets=_2d("projected"),
        ),
        _DISTILLED_2D,
        Row(
            key="stylegan2-kl",
            title="StyleGAN2, with distillation (KL)",
            presets=_2d("stylegan2", "-kl"),
            teacher=True,
        ),
        Row(key="3dgp-no-teacher", title="3DGP, no distillation", presets=_3DGP.presets),
        Row(
            key="3dgp-projected",
            title="3DGP, projected D",
            presets=_small_and_large("photos-64-projected", "dogs-256-projected"),
        ),
        _3DGP,
    ),
    7: (
        _known("eg3d-known", "EG3D", "eg3d-64", "eg3d-256-known"),
        _known("epigraf-known", "EpiGRAF", "objects-64-epigraf", "shapenet-256-epigraf"),
        _known("3dgp-known", "3DGP", "objects-64", "shapenet-256"),
        *(
            _known(
                f"3dgp-blur-{sigma}",
                f"3DGP, depth blurred, sigma {sigma} px",
                "objects-64",
                "shapenet-256",
                f"loss.real_depth_blur={sigma}",
            )
            for sigma in (1, 3, 10)
        ),
        _PLAIN_2D,
    ),
}

# What the tables say by the order of two rows: of the first, then of the second.
PAIRS: dict[int, tuple[tuple[str, str], ...]] = {
    1: (
        ("eg3d-wide", "eg3d"),
        ("3dgp", "eg3d"),
        ("3dgp", "epigraf"),
        ("stylegan2-kd", "3dgp"),
        ("3dgp-adapted-50", "3dgp-bare"),
        ("3dgp-adapted-50", "3dgp-adapted-0"),
        ("3dgp-adapted-50", "3dgp-adapted-100"),
    ),
    2: (
        ("eg3d-wide", "eg3d"),
        ("epigraf-wide", "epigraf"),
        ("3dgp", "eg3d"),
        ("3dgp", "epigraf"),
        ("volumegan", "eg3d"),
        ("stylenerf", "eg3d"),
        ("lifted", "3dgp"),
        ("lifted", "volumegan"),
    ),
    4: (
        ("stylegan2-kd", "stylegan2"),
        ("stylegan2-kl", "stylegan2"),
        ("projected", "stylegan2"),
        ("3dgp", "3dgp-no-teacher"),
        ("3dgp-projected", "3dgp-no-teacher"),
    ),
    7: (
        ("3dgp-known", "eg3d-known"),
        ("3dgp-known", "epigraf-known"),
        ("epigraf-known", "eg3d-known"),
        ("3dgp-blur-1", "3dgp-known"),
        ("3dgp-blur-3", "3dgp-blur-1"),
        ("3dgp-blur-10", "3dgp-blur-3"),
        ("stylegan2", "3dgp-known"),
    ),
}


def rows_of(table: int, chosen: Sequence[str] = ()) -> list[Row]:
    """The rows of a table, all or those `chosen` by key. Raises TableError for a key that it lacks."""
    rows = TABLES[table]
    if unknown := [key for key in chosen if key not in {row.key for row in rows}]:
        raise TableError(
            f"table {table} has no row {unknown[0]!r}; its rows are {', '.join(row.key for row in rows)}"
        )
    return [row for row in rows if not chosen or row.key in chosen]
