import io
import random

import numpy as np
import torch

from nexus.training.rng import kept_rng, rng_state, seed_everything, set_rng_state


def draw():
    return random.gauss(0, 1), np.random.standard_normal(3).tolist(), torch.randn(3).tolist()


def test_generators_go_on_from_a_state_that_went_through_a_file():
    seed_everything(3)
    draw()
    file = io.BytesIO()
    torch.save(rng_state(), file)
    expected = draw()
    draw()
    file.seek(0)
    set_rng_state(torch.load(file, weights_only=True))
    assert draw() == expected


def test_a_seed_decides_everything():
    seed_everything(2**40 + 1)
    one = draw()
    seed_everything(2**40 + 1)
    assert draw() == one
    seed_everything(2)
    assert draw() != one


def test_what_is_drawn_inside_leaves_no_trace():
    seed_everything(1)
    expected = draw()
    seed_everything(1)
    with kept_rng():
        draw()
    assert draw() == expected
