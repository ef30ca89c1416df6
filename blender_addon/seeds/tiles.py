"""What the seed browser shows and what it still needs, without pictures and without Blender. No bpy.

A tile is an object as requests to the engine say it (docs/serve.md): of a class and a seed, or combined from parents.
What the browser needs next is asked for in batches: first small pictures of what is seen, then finer ones.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ..engine.errors import RequestError
from ..engine.job import Batch
from ..recipe import JsonObject, integer, number
from ..requests import PREVIEW_YAW, Shown

DIRECTIONS = 12
FEWEST, MOST = 12, 48  # tiles of a page
QUICK_PIXELS, FINE_PIXELS = 32, 96  # what is seen at once, and what replaces it
_AT_ONCE = {QUICK_PIXELS: 12, FINE_PIXELS: 4}  # pictures of a batch
_MOST_TILES = 960  # that are kept; the oldest go
_MOST_SEED = 10**9 - 1
FORMAT = 1


@dataclass(frozen=True)
class Shot:
    """A picture: the name of its file, and its pixels along an edge."""

    file: str
    pixels: int


@dataclass
class Tile:
    """An object that is shown: its `wanted` part of a request, the name of its class, what its button says.

    `model` is the SHA-256 of the pretrained model that made its pictures, empty for any. `shots` are pictures by
    direction, of which 0 is that of previews. `varied` counts the variations that were made of it.
    """

    number: int
    wanted: JsonObject
    name: str
    label: str
    truncation: float
    model: str = ""
    varied: int = 0
    shots: dict[int, Shot] = field(default_factory=dict)

    @property
    def classes(self) -> list[str]:
        """What the classes of the object are called in requests, the main one first; empty without classes."""
        parents = parents_of(self.wanted)
        main = max(parents, key=_early)
        return list(dict.fromkeys(str(one["class"]) for one in [main, *parents] if one.get("class")))

    @property
    def seed(self) -> int:
        """The seed of the main parent."""
        return integer(max(parents_of(self.wanted), key=_early).get("seed"))

    @property
    def facts(self) -> Shown:
        """What makes the object."""
        return Shown(self.wanted, self.truncation, self.model)

    @property
    def combined(self) -> bool:
        """Whether it is made of other objects."""
        return "seed" not in self.wanted

    def same_as(self, other: Tile) -> bool:
        """Whether both show one object."""
        mine, its = (json.dumps(tile.wanted, sort_keys=True) for tile in (self, other))
        return (mine, self.truncation, self.model) == (its, other.truncation, other.model)


def parents_of(wanted: Mapping[str, object]) -> list[Mapping[str, object]]:
    """The objects of class and seed that one is made of, itself where it is one of these."""
    parents = wanted.get("parents", wanted.get("blend", wanted.get("mix")))
    if "vary" in wanted:
        parents = [wanted["vary"]]
    found = [one for one in parents if isinstance(one, dict)] if isinstance(parents, list) else []
    return [each for one in found for each in (parents_of(one) if "seed" not in one else [one])] or [wanted]


def yaw_of(turn: int) -> float:
    """The yaw of a direction, radians, −π to π."""
    yaw = PREVIEW_YAW + 2 * math.pi * turn / DIRECTIONS
    return round(math.remainder(yaw, 2 * math.pi), 4)


def _early(parent: Mapping[str, object]) -> float:
    return number(parent.get("early"), 1.0)


@dataclass
class Browser:
    """All tiles in order, the page that is seen, and which are chosen, first chosen first.

    `turn` is the direction that is seen. While it is `filling`, what is missing is asked for.
    """

    tiles: list[Tile] = field(default_factory=list)
    first: int = 0
    size: int = FEWEST
    turn: int = 0
    chosen: list[int] = field(default_factory=list)
    next_seed: int = 0
    query: str | None = None  # what the engine calls the class whose seeds are listed
    name: str = ""
    truncation: float = 0.7
    filling: bool = False
    made: int = 0  # tiles so far; the number of each is its name

    @property
    def page(self) -> list[Tile]:
        """The tiles that are seen."""
        return self.tiles[self.first : self.first + self.size]

    @property
    def picked(self) -> list[Tile]:
        """The tiles that are chosen, first chosen first."""
        known = {tile.number: tile for tile in self.tiles}
        return [known[one] for one in self.chosen if one in known]

    def of(self, number: int) -> Tile | None:
        """The tile of that number."""
        return next((tile for tile in self.tiles if tile.number == number), None)

    # What the user does

    def start(
        self, query: str | None, name: str, seed: int, truncation: float, size: int, stars: Iterable[Tile]
    ) -> None:
        """Lists a class anew: what is chosen stays in front, then come its stars, then seeds from `seed` on."""
        kept = self.picked
        self.tiles, self.first, self.size = kept, 0, max(1, min(MOST, size))
        self.query, self.name, self.next_seed = query, name, seed
        self.truncation = truncation
        for star in stars:
            if not any(tile.same_as(star) for tile in kept):
                self.tiles.append(self._numbered(star))
        self._list(max(self.size, len(self.tiles) + 1))
        self.filling = True

    def scroll(self, forward: bool, size: int) -> None:
        """To the next page, whose seeds are listed if they are not yet, or back."""
        self.first = max(0, self.first + (self.size if forward else -size))
        self.size = max(1, min(MOST, size))
        self._list(self.first + self.size)
        if len(self.tiles) > _MOST_TILES:
            gone = len(self.tiles) - _MOST_TILES
            chosen = [tile for tile in self.tiles[:gone] if tile.number in self.chosen]
            self.tiles = chosen + self.tiles[gone:]
            self.first = max(0, self.first - gone + len(chosen))
        self.filling = True

    def choose(self, number: int) -> None:
        """Chooses a tile, or no longer."""
        if number in self.chosen:
            self.chosen.remove(number)
        elif self.of(number) is not None:
            self.chosen.append(number)

    def vary(self, count: int, strength: float) -> None:
        """Adds `count` more objects like the first chosen one. Raises RequestError without one."""
        if not self.picked:
            raise RequestError("Choose a picture first: more like it are made")
        tile = settled(self.picked[0])
        numbers = range(tile.varied + 1, tile.varied + 1 + count)
        tile.varied += count
        share = round(strength, 4)
        asked = [
            ({"vary": tile.wanted, "number": k, "strength": share}, f"~{k} {tile.label}") for k in numbers
        ]
        self._insert([self._like(tile, *one) for one in asked])

    def blend(self, places: Sequence[float]) -> None:
        """Adds objects on the way from the first to the second chosen one. Raises RequestError unless there are two."""
        a, b = self._two("blend")
        asked = [
            ({"blend": [a.wanted, b.wanted], "at": round(at, 4)}, f"{100 * at:.0f}% {a.label}+{b.label}")
            for at in places
        ]
        self._insert([self._like(a, *one) for one in asked])

    def mix(self) -> None:
        """Adds the first chosen one's shape with the second's colours. Raises RequestError unless there are two."""
        a, b = self._two("mix")
        self._insert([self._like(a, {"mix": [a.wanted, b.wanted]}, f"{a.label}|{b.label}")])

    def _two(self, what: str) -> tuple[Tile, Tile]:
        picked = self.picked
        if len(picked) != 2:
            raise RequestError(f"Choose two pictures to {what}, not {len(picked)}")
        a, b = map(settled, picked)
        if a.truncation != b.truncation:
            raise RequestError(f"Choose two of one Variety, not {a.truncation:g} and {b.truncation:g}")
        if a.model and b.model and a.model != b.model:
            raise RequestError(f"{a.name} and {b.name} are of two models; one model makes both or neither")
        return a, b

    def _list(self, until: int) -> None:
        """Lists more seeds until there are so many tiles."""
        own = [tile for tile in self.tiles if tile.wanted.get("class") == self.query]
        shown = {(tile.wanted.get("seed"), tile.truncation) for tile in own}
        while len(self.tiles) < until:
            seed = self.next_seed % (_MOST_SEED + 1)
            self.next_seed = seed + 1
            if (seed, self.truncation) not in shown:
                wanted: JsonObject = {"class": self.query, "seed": seed}
                self.tiles.append(self._numbered(Tile(0, wanted, self.name, str(seed), self.truncation)))

    def _like(self, tile: Tile, wanted: JsonObject, label: str) -> Tile:
        return Tile(0, wanted, tile.name, label, tile.truncation, tile.model)

    def _insert(self, tiles: Sequence[Tile]) -> None:
        """Puts new tiles first on the page."""
        self.tiles[self.first : self.first] = [self._numbered(tile) for tile in tiles]
        self.filling = True

    def _numbered(self, tile: Tile) -> Tile:
        self.made += 1
        return replace(tile, number=self.made, shots=dict(tile.shots))

    def take(self, wanted: JsonObject, name: str, truncation: float, model: str) -> None:
        """Adds an object that was made before, and chooses it."""
        label = str(integer(max(parents_of(wanted), key=_early).get("seed")))
        self._insert([Tile(0, wanted, name, f"{label} again", truncation, model)])
        self.choose(self.made)

    # What is needed

    def next_batch(self) -> Batch | None:
        """The pictures that are needed most, None when there is nothing to do.

        First quick ones of what is seen, then all directions of what is chosen once somebody turns, then finer ones.
        """
        if not self.filling:
            return None
        page, turn = self.page, self.turn
        quick = self._lacking(page, turn, QUICK_PIXELS)
        if quick:
            return Batch(tuple(quick), (turn,), QUICK_PIXELS)
        if turn:
            for tile in self.picked:
                lacking = set(range(DIRECTIONS)) - set(tile.shots)
                turns = sorted(lacking, key=lambda k: abs(math.remainder(k - turn, DIRECTIONS)))
                if turns:
                    return Batch((tile.number,), tuple(turns), QUICK_PIXELS)
        fine = self._lacking(page, turn, FINE_PIXELS)
        if fine:
            return Batch(tuple(fine), (turn,), FINE_PIXELS)
        self.filling = False
        return None

    def _lacking(self, tiles: Sequence[Tile], turn: int, pixels: int) -> list[int]:
        """Numbers of the first tiles of one truncation and model that lack a picture of so many pixels."""
        lacking = [tile for tile in tiles if turn not in tile.shots or tile.shots[turn].pixels < pixels]
        alike = [
            one for one in lacking if (one.truncation, one.model) == (lacking[0].truncation, lacking[0].model)
        ]
        return [tile.number for tile in alike[: _AT_ONCE[pixels]]]

    def request_of(self, batch: Batch) -> JsonObject:
        """Fields of a `preview` request for a batch."""
        tiles = [tile for tile in map(self.of, batch.tiles) if tile is not None]
        return {
            "objects": [tile.wanted for tile in tiles],
            "truncation": round(tiles[0].truncation, 4),
            "yaws": [yaw_of(turn) for turn in batch.turns],
            "resolution": batch.pixels,
        }

    def received(self, batch: Batch, message: Mapping[str, object], file: str) -> None:
        """Takes a picture that has come, kept under the name `file`, and what the engine says of its object."""
        number, turn = batch.place(integer(message.get("index")))
        tile, record, said = self.of(number), message.get("class"), message.get("object")
        if tile is None:  # it was listed no longer when it came
            return
        tile.shots[turn] = Shot(file, batch.pixels)
        if isinstance(record, dict) and record.get("name"):
            tile.name = str(record["name"])
        if isinstance(said, dict):
            tile.wanted = said

    def made_by(self, batch: Batch, model: str) -> None:
        """Keeps which model made the pictures of a batch."""
        for tile in filter(None, map(self.of, batch.tiles)):
            tile.model = model

    def give_up(self, batch: Batch) -> None:
        """Takes away what of a batch the engine would not combine; the rest can be asked for again."""
        self.tiles = [tile for tile in self.tiles if tile.number not in batch.tiles or _is_settled(tile)]
        self.filling = False

    # What a file keeps

    def to_json(self) -> str:
        """Everything but that it is filling."""
        tiles = [tile_facts(tile) | {"number": tile.number, "varied": tile.varied} for tile in self.tiles]
        names = ("first", "size", "turn", "chosen", "next_seed", "query", "name", "truncation", "made")
        return json.dumps({"format": FORMAT, **{name: getattr(self, name) for name in names}, "tiles": tiles})

    @classmethod
    def of_json(cls, text: str) -> Browser:
        """The browser that a file has kept; an empty one for anything else."""
        try:
            kept = json.loads(text)
        except ValueError:
            return cls()
        if not isinstance(kept, dict) or kept.get("format") != FORMAT:
            return cls()
        tiles = [tile for tile in map(tile_of, _dicts(kept.get("tiles"))) if tile is not None]
        chosen, query = kept.get("chosen"), kept.get("query")
        return cls(
            tiles,
            first=max(0, min(integer(kept.get("first")), len(tiles) - 1)) if tiles else 0,
            size=max(1, min(MOST, integer(kept.get("size"), FEWEST))),
            turn=integer(kept.get("turn")) % DIRECTIONS,
            chosen=[one for one in chosen if isinstance(one, int)] if isinstance(chosen, list) else [],
            next_seed=integer(kept.get("next_seed")),
            query=query if isinstance(query, str) else None,
            name=str(kept.get("name", "")),
            truncation=number(kept.get("truncation"), 0.7),
            made=max([integer(kept.get("made")), *(tile.number for tile in tiles)]),
        )


def settled(tile: Tile) -> Tile:
    """The tile itself. Raises RequestError while the engine has not said what it is made of."""
    if not _is_settled(tile):
        raise RequestError(
            f"Wait for the picture of {tile.label}: until then it is not known what it is made of"
        )
    return tile


def _is_settled(tile: Tile) -> bool:
    return not {"blend", "mix", "vary"} & set(tile.wanted)


def tile_facts(tile: Tile) -> JsonObject:
    """What is kept of a tile."""
    shots = {str(turn): [shot.file, shot.pixels] for turn, shot in tile.shots.items()}
    names = ("wanted", "name", "label", "truncation", "model")
    return {**{name: getattr(tile, name) for name in names}, "shots": shots}


def tile_of(kept: Mapping[str, object]) -> Tile | None:
    """The tile that was kept, None for what is none."""
    wanted, shots = kept.get("wanted"), kept.get("shots")
    if not isinstance(wanted, dict) or not {"seed", "parents", "blend", "mix", "vary"} & set(wanted):
        return None
    pictures = {
        int(turn): Shot(str(entry[0]), integer(entry[1]))
        for turn, entry in (shots.items() if isinstance(shots, dict) else ())
        if str(turn).isdigit() and isinstance(entry, list) and len(entry) == 2
    }
    varied = integer(kept.get("varied"))
    return Tile(
        integer(kept.get("number")),
        wanted,
        str(kept.get("name", "")),
        str(kept.get("label", "")),
        truncation=number(kept.get("truncation"), 0.7),
        model=str(kept.get("model", "")),
        varied=varied,
        shots=pictures,
    )


def _dicts(value: object) -> list[dict[str, object]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
