"""Draws docs/vq3d.png, what VQ3D shows: python tools/vq3d_page.py MODEL PRIOR TEST ABLATION OUT [PHOTO …].

Beside it, as <OUT>-samples.png, a strip of generated scenes from two sides.

MODEL and PRIOR are files or run folders, TEST a data set of rooms that was not trained on, ABLATION a folder of
`gp3d vq3d ablate-depth`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from gp3d_core.datasets.dataset import Dataset
from gp3d_core.snapshots.run_folder import newest_snapshot
from gp3d_core.visualization import save_picture, sheet
from gp3d_core.vq3d.files.metadata import find_tokenizer
from gp3d_core.vq3d.files.prior_file import load_prior
from gp3d_core.vq3d.files.tokenizer_file import load_tokenizer
from gp3d_core.vq3d.models.prior import Sampling
from gp3d_core.vq3d.scenes.editing import Choice, Motion, along, choose_region, insert, move, remove
from gp3d_core.vq3d.scenes.figures import render_pair, to_picture
from gp3d_core.vq3d.scenes.reconstruction import read_picture, reconstruct, scenes_of_codes
from gp3d_core.vq3d.scenes.scenefile import Scene
from gp3d_core.vq3d.training.validation import load_images

COLUMNS = 8
TILE = 96
TURN = 20.0
CARS = ("cab", "school bus")
STRIP = ("goldfish", "school bus", "teapot", "acoustic guitar", "drum", "mushroom", "hotdog", "king penguin")
PICKED = (
    "n02802426/20e0d13e",
    "n04591713/1057d5a1",
    "n04429376/09e1185c",
)  # a basketball, a bottle, a throne
ABLATED = "n04146614/"  # a school bus

Row = tuple[str, list[np.ndarray]]


def colours(scenes: list[Scene], yaw: float = 0.0) -> list[np.ndarray]:
    """What each scene looks like."""
    return [render_pair(scene, yaw, resolution=TILE)[0] for scene in scenes]


def disparities(scenes: list[Scene], yaw: float = 0.0) -> list[np.ndarray]:
    """How near everything is, light where near."""
    return [render_pair(scene, yaw, resolution=TILE)[1] for scene in scenes]


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


def strip(prior_path: Path) -> list[Row]:
    """Generated scenes with seed 0, from the input camera and turned."""
    prior = load_prior(prior_path)
    sampling = Sampling(temperature=0.9, top_p=0.95)
    scenes = [
        scene
        for name in STRIP
        for scene in scenes_of_codes(prior.tokenizer, prior.sample(name, [0], sampling), [name])
    ]
    return [(", ".join(STRIP), colours(scenes)), (f"turned by +{TURN:.0f} degrees", colours(scenes, TURN))]


def reconstructed(model: Path, test: Path, photos: list[Path]) -> list[Row]:
    """Held-out pictures and photographs, what became of them, and views from both sides."""
    snapshot, dataset = load_tokenizer(find_tokenizer(model)), Dataset(test)
    fronts = [k for k, name in enumerate(dataset.names) if name.endswith("_000.png")]
    chosen = fronts[:: max(1, len(fronts) // (COLUMNS - len(photos)))][: COLUMNS - len(photos)]
    images = list(load_images(dataset, chosen))
    images += [read_picture(path, snapshot.config.training.resolution) for path in photos]
    scenes = [reconstruct(snapshot, image, str(k)) for k, image in enumerate(images)]
    return [
        ("input pictures, held out; the last are photographs", [to_picture(image) for image in images]),
        ("reconstructed in one pass", colours(scenes)),
        ("disparity", disparities(scenes)),
        (f"turned by -{TURN:.0f} degrees", colours(scenes, -TURN)),
        (f"turned by +{TURN:.0f} degrees", colours(scenes, TURN)),
    ]


def edited(model: Path, test: Path) -> list[Row]:
    """A thing taken out, moved, and put into another scene, and the way between two; these pictures are picked."""
    snapshot, dataset = load_tokenizer(find_tokenizer(model)), Dataset(test)
    numbers = [next(k for k, name in enumerate(dataset.names) if name.startswith(part)) for part in PICKED]
    images = load_images(dataset, numbers)
    ball, bottle, throne = (
        reconstruct(snapshot, image, part) for image, part in zip(images, PICKED, strict=True)
    )
    of_ball, of_bottle = choose_region(ball, Choice()), choose_region(bottle, Choice())
    room = remove(ball, of_ball)
    shown = [
        (ball, "scene A"),
        (bottle, "scene B"),
        (room, "A without ball"),
        (insert(room, bottle, of_bottle, Motion(shift=(-0.15, 0.0, 0.1))), "B's bottle in it"),
        (insert(ball, bottle, of_bottle, Motion(shift=(-0.3, 0.0, -0.15))), "behind the ball"),
        (move(bottle, of_bottle, Motion(shift=(-0.2, 0.0, 0.0))), "bottle moved"),
    ]
    scenes = [scene for scene, _ in shown]
    return [
        (", ".join(title for _, title in shown), colours(scenes)),
        ("disparity", disparities(scenes)),
        (f"turned by +{TURN:.0f} degrees", colours(scenes, TURN)),
        ("interpolation of tri-planes", colours(list(along(ball, throne, COLUMNS)))),
    ]


def ablated(folder: Path, test: Path) -> list[Row]:
    """Depth losses beside one another: from the front and from the side."""
    dataset = Dataset(test)
    image = load_images(
        dataset, [next(k for k, name in enumerate(dataset.names) if name.startswith(ABLATED))]
    )[0]
    modes = [
        mode for mode in ("point", "accum", "none", "dsnerf", "urf") if (folder / mode / "snapshots").is_dir()
    ]
    scenes = [reconstruct(load_tokenizer(newest_snapshot(folder / mode)), image, mode) for mode in modes]
    fronts = [
        to_picture(image),
        *(picture for scene in scenes for picture in render_pair(scene, resolution=TILE)),
    ]
    blank = np.full_like(to_picture(image), 255)
    sides = [blank, *(picture for scene in scenes for picture in render_pair(scene, TURN, resolution=TILE))]
    return [
        (f"input, then depth losses {', '.join(modes)} after 8000 pictures: colour and disparity", fronts),
        (f"turned by +{TURN:.0f} degrees", sides),
    ]


def main() -> None:
    """Draws all of it."""
    model, prior, test, ablation, out, *photos = map(Path, sys.argv[1:])
    rows = [
        *generated(prior),
        *reconstructed(model, test, photos),
        *edited(model, test),
        *ablated(ablation, test),
    ]
    save_picture(sheet(rows, tile=TILE), out)
    save_picture(sheet(strip(prior), tile=TILE), out.with_name(f"{out.stem}-samples.png"))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("stopped")
