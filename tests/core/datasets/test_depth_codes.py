"""The 16-bit depth of a data set: what `synthetic` writes is what `gp3d_core` reads, and conversions are exact."""

import numpy as np
import pytest
import torch

from gp3d_core.datasets import depth_codes
from synthetic import dataset as written

NEAR, FAR = 1.45, 2.55
CODES = np.arange(depth_codes.STEPS, dtype=np.uint16)


def test_ends_and_middle_are_where_the_format_says():
    unit = np.array([-np.inf, -0.1, 0.0, 0.5, 1.0, 1.7, np.inf])
    assert depth_codes.encode(unit).tolist() == [0, 0, 0, 32768, 65535, 65535, 65535]
    assert depth_codes.encode(unit, most=depth_codes.BACKGROUND - 1).tolist()[-3:] == [65534] * 3
    assert depth_codes.encode(unit).dtype == np.uint16


def test_both_packages_mean_the_same_by_a_code():
    distances = depth_codes.to_distance(depth_codes.to_unit(CODES), NEAR, FAR)
    np.testing.assert_array_equal(distances, NEAR + CODES / 65536 * (FAR - NEAR))
    rng = np.random.default_rng(0)
    seen = np.concatenate([rng.uniform(NEAR - 0.1, FAR + 0.1, 10000), distances, [np.inf]])
    codes = depth_codes.encode((seen - NEAR) / (FAR - NEAR))
    np.testing.assert_array_equal(codes, written.encode_depth(seen, NEAR, FAR))


@pytest.mark.parametrize("codes", [CODES, CODES.astype(np.float32), torch.from_numpy(CODES.astype(np.int32))])
def test_conversions_are_exact_in_single_precision_too(codes):
    unit, normalised = depth_codes.to_unit(codes), depth_codes.to_normalised(codes)
    exact = CODES.astype(np.float64) / 65536
    np.testing.assert_array_equal(np.asarray(unit, dtype=np.float64), exact)
    np.testing.assert_array_equal(np.asarray(normalised, dtype=np.float64), 2 * exact - 1)
    np.testing.assert_array_equal(np.asarray(depth_codes.unit_of(normalised)), np.asarray(unit))
    np.testing.assert_array_equal(depth_codes.encode(np.asarray(unit)), CODES)
