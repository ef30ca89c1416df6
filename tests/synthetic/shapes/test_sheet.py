"""The sheet of procedural models: upright, turned as asked, written whole."""

import numpy as np
from PIL import Image

from synthetic.shapes import sheet
from tests.synthetic.family_models import models


def picture(name: str, yaw: float = 0.0, elevation: float = 0.0) -> np.ndarray:
    return sheet.model_picture(models(name)[0], 48, yaw, elevation)


def centre(mask: np.ndarray) -> np.ndarray:
    """Mean (row, column) of the pixels where mask holds."""
    assert mask.any()
    return np.argwhere(mask).mean(axis=0)


def test_sheet_shows_models_upright_with_their_front_and_x_on_the_left() -> None:
    lights = picture("traffic light")
    red = (lights[..., 0] > 0.6) & (lights[..., 1] < 0.3)
    green = (lights[..., 1] > 0.45) & (lights[..., 0] < 0.3)
    assert centre(red)[0] < centre(green)[0] - 5
    mug = picture("coffee mug").min(axis=2) < 0.97
    assert centre(mug)[1] > 24.5  # its handle, at +X, reaches out to the left of the body
    np.testing.assert_allclose(lights[0], 1.0, atol=1e-9)


def test_sheet_camera_goes_where_its_angles_say() -> None:
    side = picture("mailbox", 1.2), picture("mailbox", -1.2)
    flags = [(p[..., 0] > 0.45) & (p[..., 1] < 0.25) & (p[..., 2] < 0.3) for p in side]
    assert flags[0].sum() > 3 * flags[1].sum()  # the flag is at +X, where yaw > 0 stands
    above, below = picture("drum", 0.0, 0.5), picture("drum", 0.0, -0.5)
    assert np.abs(above - below).mean() > 0.05


def test_sheet_is_written_whole_and_bad_input_is_one_line(tmp_path, capsys) -> None:
    out = tmp_path / "sheet.png"
    assert sheet.main([str(out), "--classes", "vase,mug", "--models", "2", "--tile", "24"]) == 0
    image = np.asarray(Image.open(out).convert("RGB"))
    assert image.shape == (42, 3 * 60, 3)
    assert [(image[18:, x : x + 24] < 240).any() for x in (0, 24, 60, 84, 120)] == [True] * 4 + [False]
    assert [path.name for path in tmp_path.iterdir()] == ["sheet.png"]
    for wrong in (["--tile", "3"], ["--classes", "xyzzy"]):
        assert sheet.main([str(out), *wrong]) == 2
        assert capsys.readouterr().err.count("\n") == 1
