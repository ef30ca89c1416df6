"""Views drawn together are those drawn one by one; who takes them may stop, or fail; bytes are sRGB."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from synthetic.dataset import PASSES, RenderedView
from synthetic.staging.surface import Material
from synthetic.viewpoints import Viewpoint
from synthetic.workers.blender_process import LeaveWithoutDestructors, prepare_blender
from tests.synthetic.blender.drawing import square, staged
from tests.synthetic.small_library import environment

pytestmark = [pytest.mark.blender, pytest.mark.slow]

SIDE = 24
VIEWS = [
    Viewpoint(yaw=0.3, pitch=1.2, radius=2.0, fov=40.0),
    Viewpoint(yaw=-0.7, pitch=1.9, radius=2.0, fov=40.0),
    Viewpoint(yaw=1.5707963, pitch=1.5707963, radius=2.0, fov=40.0),  # along the square: it shows nothing
    Viewpoint(yaw=0.1, pitch=1.4, radius=1.1, fov=60.0),
    *(Viewpoint(yaw=0.37 * k - 1, pitch=0.8 + 0.2 * k, radius=2.0, fov=40.0) for k in range(7)),
]
WINDOWS = [(0, 0, SIDE, SIDE), (3, 5, 4, 6), (7, 1, 13, 6), (2, 0, 21, 9), (10, 3, 24, 24)]
SHADES = np.linspace(0, 1, 24 * 24, dtype=np.float32).reshape(24, 24)


def main(folder: Path, exact: bool) -> None:
    """What `test_views` looks at, of one Blender."""
    prepare_blender(folder)
    from synthetic.blender.passes import ByteWriter, laid_on
    from synthetic.blender.scene import BlenderScene

    passes = PASSES if exact else ()
    scene = BlenderScene(SIDE, 4, folder, 1, normals=exact, albedo=exact, passes=passes)
    scene.load(staged([square(0.0, 0.4)], [Material("red", (0.7, 0.1, 0.1))]))
    together: dict[int, RenderedView | None] = {}
    some: dict[int, RenderedView | None] = {}
    failed = ""

    def failing(number: int, view: RenderedView | None) -> None:
        raise OSError(f"no room for {number}")

    scene.render_each(VIEWS, together.__setitem__)
    answers = iter([True, True, False])
    scene.render_each(VIEWS, some.__setitem__, going_on=lambda: next(answers))
    try:
        scene.render_each(VIEWS, failing)
    except OSError as error:
        failed = str(error)
    alone = [scene.render(view) for view in VIEWS]  # works after that, too
    colors = np.dstack([SHADES, SHADES[::-1], np.zeros_like(SHADES), np.ones_like(SHADES)])
    written = ByteWriter(SIDE)
    pixels = [written.write(colors), written.write(colors * np.float32(0.5))]
    behind = np.random.default_rng(1).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    laid = [
        (laid_on(written.write(linear), background), written.picture(linear, window, background))
        for window in WINDOWS
        for linear in [within(window)]
        for background in (None, behind)
    ]
    (folder / "found").write_bytes(pickle.dumps((together, some, failed, alone, pixels, laid)))


def within(window: tuple[int, int, int, int]) -> np.ndarray:
    """Random colours, multiplied by their alpha, in a window; 0 outside."""
    left, top, right, bottom = window
    random = np.random.default_rng(bottom).random((SIDE, SIDE, 4), np.float32)
    linear = np.zeros_like(random)
    linear[top:bottom, left:right] = (random * random[..., 3:])[top:bottom, left:right]
    linear[..., 3] = np.where(linear[..., 3] > 0, random[..., 3], 0)
    return linear


@pytest.fixture(scope="module", params=[False, True], ids=["pictures", "passes"])
def found(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("views")
    subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.synthetic.blender.test_views",
            folder,
            "exact" if request.param else "",
        ],
        env=environment(folder / "scratch"),
        check=True,
        capture_output=True,
        timeout=300,
    )
    return pickle.loads((folder / "found").read_bytes())


def arrays(view: RenderedView) -> dict[str, np.ndarray]:
    named = {"color": view.color, "depth": view.z_depth, "mask": view.mask, **view.passes}
    return {
        **named,
        **{n: v for n, v in (("normals", view.normals), ("albedo", view.albedo)) if v is not None},
    }


def test_views_drawn_together_are_those_drawn_alone(found: Any) -> None:
    together, _, _, alone, *_ = found
    assert list(together) == list(range(len(VIEWS)))  # in order
    assert [view is None for view in alone] == [number == 2 for number in range(len(VIEWS))]
    for number, one in enumerate(alone):
        same = together[number]
        if one is None:
            assert same is None
            continue
        assert arrays(one).keys() == arrays(same).keys()
        for name, values in arrays(one).items():
            assert np.array_equal(values, arrays(same)[name]), (number, name)
    assert not np.array_equal(alone[0].color, alone[4].color)


def test_no_view_is_begun_when_it_is_not_to_go_on(found: Any) -> None:
    together, some, *_ = found
    assert list(some) == [0, 1]
    for number, view in some.items():
        assert np.array_equal(view.color, together[number].color)


def test_an_error_of_who_takes_views_comes_through(found: Any) -> None:
    assert found[2] == "no room for 0"


def test_bytes_are_srgb_not_multiplied_by_alpha(found: Any) -> None:
    for pixels, alpha in zip(found[4], (255, 128), strict=True):
        code = np.where(SHADES <= 0.0031308, 12.92 * SHADES, 1.055 * SHADES ** (1 / 2.4) - 0.055) * 255
        assert np.abs(pixels[..., 0] - code).max() < 0.6  # half a byte, and Blender's own approximation
        assert np.abs(pixels[..., 1] - code[::-1]).max() < 0.6
        assert (pixels[..., 2] == 0).all()
        assert (pixels[..., 3] == alpha).all()


def test_a_window_has_the_bytes_of_the_whole_picture(found: Any) -> None:
    for number, (whole, part) in enumerate(found[5]):
        assert np.array_equal(whole, part), number
    assert len({whole.tobytes() for whole, _ in found[5]}) == 2 * len(WINDOWS)


if __name__ == "__main__":
    with LeaveWithoutDestructors():
        main(Path(sys.argv[1]), bool(sys.argv[2]))
