"""Poses after a change, against SciPy's rotations."""

import numpy as np
import torch
from oracles.world import robot
from scipy.spatial.transform import Rotation

from nexus.models.worlds.pose import PoseDynamics, angles_of, moved, rotation_of


def by_scipy(pose, change):
    """As the published planner does it, one pose."""
    angles = Rotation.from_euler("xyz", pose[3:6]).as_matrix()
    turn = Rotation.from_euler("xyz", change[3:6]).as_matrix()
    turned = Rotation.from_matrix(turn @ angles).as_euler("xyz")
    return [*(pose[:3] + change[:3]), *turned, np.clip(pose[6] + change[6], 0, 1)]


def poses(seed, count, angle):
    draw = np.random.default_rng(seed)
    place, grip = draw.normal(size=(count, 3)), draw.uniform(-0.5, 1, size=(count, 1))
    return np.concatenate([place, draw.uniform(-angle, angle, (count, 3)), grip], axis=1)


def test_a_pose_moves_as_scipy_says():
    here, change = poses(0, 200, 3.1), poses(1, 200, 0.7)
    told = moved(torch.from_numpy(here), torch.from_numpy(change)).numpy()
    expected = np.array([by_scipy(*one) for one in zip(here, change, strict=True)])
    np.testing.assert_allclose(told, expected, atol=1e-6)
    assert told[:, 6].min() == 0 and told[:, 6].max() == 1


def test_no_change_changes_nothing_and_angles_come_back():
    here = torch.from_numpy(poses(0, 50, 1.5))
    here[:, 6].clamp_(0, 1)
    torch.testing.assert_close(moved(here, torch.zeros_like(here)), here)
    torch.testing.assert_close(angles_of(rotation_of(here[:, 3:6])), here[:, 3:6])
    # Straight up, angles are not unique; what comes back is still a number, with a gradient.
    upright = torch.tensor([0.3, torch.pi / 2, 0.1], requires_grad=True)
    angles_of(rotation_of(upright)).sum().backward()
    assert upright.grad.isfinite().all()


def test_a_block_moves_step_by_step_in_scaled_numbers():
    one = robot(7, 7, block=2, mean=0.1, std=0.5)
    scaled, actions = torch.from_numpy(poses(0, 4, 1.0)), torch.from_numpy(poses(1, 8, 0.5))
    after = PoseDynamics(one).double()(scaled, actions.reshape(4, 14)).numpy()
    for row in range(4):
        pose = scaled[row].numpy() * 0.5 + 0.1
        for step in actions.reshape(4, 2, 7)[row].numpy():
            pose = np.array(by_scipy(pose, step * 0.5 + 0.1))
        np.testing.assert_allclose(after[row], (pose - 0.1) / 0.5, atol=1e-5)
