"""Draws docs/vq3d.png, what VQ3D shows: python tools/vq3d_page.py MODEL PRIOR TEST ABLATION OUT [PHOTO …].

MODEL and PRIOR are files or run folders, TEST a data set of rooms that was not trained on, ABLATION a folder of
`gp3d vq3d ablate-depth`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from gp3d_core.data import Dataset
from gp3d_core.pictures import save_picture, sheet
from gp3d_core.runfolder import newest_snapshot
from gp3d_core.vq3d.editing import Choice, Motion, along, choose_region, insert, move, remove
from gp3d_core.vq3d.measures import load_images
from gp3d_core.vq3d.prior import Sampling
from gp3d_core.vq3d.priorfile import load_prior
from gp3d_core.vq3d.reconstruction import read_picture, reconstruct, scenes_of_codes
from gp3d_core.vq3d.scenefile import Scene
from gp3d_core.vq3d.showing import look, to_picture
from gp3d_core.vq3d.snapshot import load_tokenizer

COLUMNS = 8
TILE = 96
TURN = 20.0
CARS = ("cab", "school bus")
INSERTED = ("barn", "king penguin")  # a thing of the second goes into a scene of the first

Row = tuple[str, list[np.ndarray]]


def colours(scenes: list[Scene], yaw: float = 0.0) -> list[np.ndarray]:
    """What each scene looks like."""
    return [look(scene, yaw, resolution=TILE)[0] for scene in scenes]


def disparities(scenes: list[Scene], yaw: float = 0.0) -> list[np.ndarray]:
    """How near everything is, light where near."""
    return [look(scene, yaw, resolution=TILE)[1] for scene in scenes]


def generated(prior_path: Path) -> list[Row]:
    """Samples of the prior with seed 0, of classes evenly chosen, then cars with seeds 0 to 3; none picked."""
    prior = load_prior(prior_path)

    def sample(name: str, seeds: list[int]) -> list[Scene]:
        codes = prior.sample(name, seeds, Sampling(temperature=0.9, top_p=0.95))
        return scenes_of_codes(prior.tokenizer, codes, [name] * len(seeds))

    names = [str(record["name"]) for record in prior.classes]
    rows = []
    for part in (names[:: len(names) // (2 * COLUMNS)][k : 2 * COLUMNS : 2] for k in (0, 1)):
        scenes = [scene for name in part for scene in sample(name, [0])]
        rows += [(f"generated: {', '.join(part)}", colours(scenes)), ("disparity", disparities(scenes))]
    cars = [scene for name in CARS for scene in sample(name, [0, 1, 2, 3])]
    rows += [(f"generated cars: {', '.join(CARS)}, seeds 0 to 3", colours(cars))]
    return [*rows, (f"turned by +{TURN:.0f} degrees", colours(cars, TURN))]


def reconstructed(model: Path, test: Path, photos: list[Path]) -> tuple[list[Row], list[Scene]]:
    """Held-out pictures and photographs, what became of them, and views from both sides."""
    snapshot, dataset = load_tokenizer(newest_snapshot(model) if model.is_dir() else model), Dataset(test)
    fronts = [k for k, name in enumerate(dataset.names) if name.endswith("_000.png")]
    chosen = fronts[:: max(1, len(fronts) // (COLUMNS - len(photos)))][: COLUMNS - len(photos)]
    images = list(load_images(dataset, chosen))
    images += [read_picture(path, snapshot.config.training.resolution) for path in photos]
    scenes = [reconstruct(snapshot, image, str(k)) for k, image in enumerate(images)]
    rows = [
        ("input pictures, held out; the last are photographs", [to_picture(image) for image in images]),
        ("reconstructed in one pass", colours(scenes)),
        ("disparity", disparities(scenes)),
        (f"turned by -{TURN:.0f} degrees", colours(scenes, -TURN)),
        (f"turned by +{TURN:.0f} degrees", colours(scenes, TURN)),
    ]
    return rows, scenes


def edited(scenes: list[Scene]) -> list[Row]:
    """A thing of one scene put into another, taken out, and moved; and the way between two scenes."""
    one, other = scenes[0], scenes[1]
    choice = Choice(rectangle=(0.15, 0.25, 0.85, 0.75), tolerance=0.15)
    region = choose_region(other, choice)
    both = insert(one, other, region, Motion(scale=0.8, shift=(0.0, 0.05, 0.12)))
    behind = insert(one, other, region, Motion(scale=0.8, shift=(0.1, 0.1, -0.5)))
    own = choose_region(one, choice)
    gone, moved = remove(one, own), move(one, own, Motion(shift=(0.25, 0.1, 0.0)))
    shown = [one, other, both, behind, gone, moved]
    titles = (
        "scene A, scene B, B's near thing into A in front, further back, A without its own, A with it moved"
    )
    return [
        (titles, colours(shown)),
        ("disparity", disparities(shown)),
        ("interpolation of tri-planes", colours(list(along(one, scenes[2], COLUMNS)))),
    ]


def ablated(folder: Path, test: Path) -> list[Row]:
    """Depth losses beside one another: from the front and from the side."""
    image = load_images(Dataset(test), [0])[0]
    modes = [path.name for path in sorted(folder.iterdir()) if (path / "snapshots").is_dir()]
    modes.sort(key=["point", "accum", "none", "dsnerf", "urf"].index)
    scenes = [reconstruct(load_tokenizer(newest_snapshot(folder / mode)), image, mode) for mode in modes]
    fronts = [picture for scene in scenes for picture in look(scene, resolution=TILE)]
    sides = [picture for scene in scenes for picture in look(scene, TURN, resolution=TILE)]
    names = ", ".join(modes)
    return [
        (f"depth losses {names} (short runs): input view and disparity", fronts),
        ("from the side", sides),
    ]


def main() -> None:
    """Draws all of it."""
    model, prior, test, ablation, out, *photos = map(Path, sys.argv[1:])
    rows, scenes = reconstructed(model, test, photos)
    save_picture(sheet([*generated(prior), *rows, *edited(scenes), *ablated(ablation, test)], tile=TILE), out)


if __name__ == "__main__":
    main()
