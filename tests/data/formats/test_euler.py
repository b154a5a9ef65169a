"""Euler angles: the fast way is scipy's, for every order of axes."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from data.formats.euler import euler_matrices


@pytest.mark.parametrize("order", ["XYZ", "ZXY", "ZYX", "YXZ", "XZ", "Y", "ZXZ"])
def test_every_order_is_scipys(order):
    angles = np.random.default_rng(0).uniform(-200, 200, (3, 7, len(order)))
    expected = Rotation.from_euler(order, angles.reshape(21, -1), degrees=True).as_matrix()
    np.testing.assert_allclose(euler_matrices(order, angles), expected.reshape(3, 7, 3, 3), atol=1e-12)


def test_no_axes_are_no_rotation():
    np.testing.assert_array_equal(euler_matrices("", np.zeros((2, 0))), np.broadcast_to(np.eye(3), (2, 3, 3)))
