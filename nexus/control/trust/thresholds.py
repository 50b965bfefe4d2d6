"""By what numbers a world model is trusted, and why these."""

from nexus.runs.world import Measured

FEWEST_EPISODES = 3
"""Below it an interval over episodes means nothing."""

CLEARLY_BELOW = 0.95
"""A ratio of errors is taken for better if it and its interval lie below this. An error within a
twentieth of a copy's is a copy with noise."""

ACTIONS_COUNT = 0.9
"""The error in parts of that with the actions of others. A model that ignores actions has 1. One
trained with shuffled actions had 0.96: where a robot is says a little of what it can do next, and
so the other way round. What actions do to a picture can be a small share of all that changes in
it, so that much less cannot be asked for."""

GOOD_RANK, FAIR_RANK = 0.1, 0.35
"""The share of random actions that the model takes for better than the true ones; chance is 0.5. A
planner takes the best of hundreds: where a tenth of them look better than the truth it is led by
the model's errors as much as by the goal; beyond a third hardly by the goal at all. The true ones
never rank at 0 for long: some random ones lead nearly to the same place."""

READABLE = 0.5
"""R² of a number of the state, or of the action. At 0.5 its error is still 70 % of its spread."""

FLIPPED = -0.2
"""The correlation of a dimension's effect with the true one; a right one is positive, one that is
not used 0. Flipped ones lie far below, but for what the model does not know at all."""

OVERFIT = 2.0
"""The error in parts of that on training episodes. Twice as far off: learned by heart."""


def is_flipped(effect: Measured, turned: Measured) -> bool:
    """Whether a dimension of the action does the opposite of what the model thinks.

    Both have to say so, with their intervals: its effect points the other way, and the error is
    smaller with the dimension turned round.
    """
    return effect.value < FLIPPED and effect.ci95[1] < 0 and turned.ci95[1] < 1
