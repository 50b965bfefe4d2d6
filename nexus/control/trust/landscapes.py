"""The goal energy around the true action: is its lowest place where the action was?"""

import numpy as np
import torch

from nexus.control.dynamics import Dynamics
from nexus.control.goal_cost import CostConfig, GoalCost, WorldGoal
from nexus.control.trust.excerpts import Excerpts
from nexus.control.trust.rollouts import start_of
from nexus.data.episodes.robot import Robot
from nexus.planning import ActionSpace
from nexus.runs.world import WorldLandscape

POINTS = 21
"""Of each axis: odd, so that the middle of the bounds is one."""
WITHOUT_BOUNDS = 3.0
"""Spreads to each side of the mean, where a dimension has no bounds."""


@torch.no_grad()
def landscape(
    model: Dynamics,
    excerpts: Excerpts,
    row: int,
    robot: Robot,
    number: int,
    dimensions: tuple[int, int],
    space: ActionSpace,
) -> WorldLandscape:
    """The picture's energy one step ahead over two dimensions, between their bounds.

    In a block a dimension is moved in all control steps alike; its place is the mean over them.

    Args:
        row: of the excerpt.
        number: of the robot among the model's.
        dimensions: of the action of one control step.
    """
    one = excerpts.part(row, row + 1)
    first = one.context - 1
    true = one.actions[0, first] * space.std + space.mean
    columns = [torch.arange(d, robot.action_width, robot.action.width) for d in dimensions]
    x, y = (_axis(space, int(each[0])) for each in columns)
    here = [float(true[each].mean()) for each in columns]
    grid = true.repeat(len(y), len(x), 1)
    grid[..., columns[0]] += torch.from_numpy(x - here[0]).float()[None, :, None]
    grid[..., columns[1]] += torch.from_numpy(y - here[1]).float()[:, None, None]
    grid = torch.minimum(torch.maximum(grid, space.low), space.high)
    goal = WorldGoal(one.latents[:, one.context])
    start = start_of(model, one, number)
    cost = GoalCost(model, start, goal, CostConfig(), (space.mean, space.std))
    energy = cost.terms(grid.flatten(0, 1)[None, :, None])[0, :, 0].unflatten(0, (len(y), len(x)))
    low, column = divmod(int(energy.argmin()), len(x))
    return WorldLandscape(
        episode=int(one.episode[0]),
        frame=int(one.start[0]) + first,
        names=tuple(robot.action.names[d] for d in dimensions),  # pyright: ignore
        x=tuple(map(float, x)),
        y=tuple(map(float, y)),
        energy=tuple(tuple(map(float, line)) for line in energy),
        true=(here[0], here[1]),
        best=(float(x[column]), float(y[low])),
    )


def _axis(space: ActionSpace, column: int) -> np.ndarray:
    mean, std = float(space.mean[column]), float(space.std[column])
    low, high = float(space.low[column]), float(space.high[column])
    low = low if np.isfinite(low) else mean - WITHOUT_BOUNDS * std
    high = high if np.isfinite(high) else mean + WITHOUT_BOUNDS * std
    return np.linspace(low, high, POINTS)
