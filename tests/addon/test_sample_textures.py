"""The textures of the samples that come with the add-on have no background."""

from pathlib import Path

import numpy as np
import pytest

SAMPLES = sorted((Path(__file__).resolve().parents[2] / "blender_addon/samples").glob("*.npz"))


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_every_color_of_a_texture_is_one_of_the_surface(path):
    with np.load(path, allow_pickle=False) as sample:
        if "texture" not in sample:
            return
        texture, uv, faces = sample["texture"], sample["uv"], sample["faces"]
    height, width = texture.shape[:2]
    weights = np.random.default_rng(0).dirichlet((0.7, 0.7, 0.7), (len(faces), 300))
    u, v = np.einsum("fkc,fcd->fkd", weights, uv[faces]).reshape(-1, 2).T
    seen = texture[((1 - v) * height).astype(int), (u * width).astype(int)]
    strange = ~np.isin(_packed(texture), _packed(seen))
    assert strange.mean() < 0.01, f"{strange.mean():.0%} of the texels have a colour that no face shows"
    assert (texture.max(axis=-1) > 8).all()


def _packed(colors: np.ndarray) -> np.ndarray:
    return colors.reshape(-1, 3).astype(int) @ [65536, 256, 1]
