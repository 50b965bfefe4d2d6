import math

import pytest
import torch
from torch.nn import functional as F

from nexus.models.worlds.keypoints import KeypointEncoder


def encoder(**settings):
    torch.manual_seed(0)
    return KeypointEncoder(img_size=(24, 32), in_chans=3, **settings).eval()


def test_places_are_the_mean_of_a_softmax_over_each_map():
    model = encoder(points=2, patch_size=8, width=5, depth=2)
    frames = torch.randn(3, 3, 24, 32)
    features = model.embed(frames)
    for layer in model.mix:
        features = layer(F.gelu(features))
    maps = model.maps(F.gelu(features)).detach()
    for batch in range(3):
        for point in range(2):
            total, column, row = 0.0, 0.0, 0.0
            for i in range(3):
                for j in range(4):
                    share = math.exp(maps[batch, point, i, j])
                    total += share
                    column += share * (-1 + 2 * j / 3)
                    row += share * (-1 + 2 * i / 2)
            place = model.places(frames)[batch, point]
            assert place.tolist() == pytest.approx([column / total, row / total], abs=1e-5)


def test_a_point_follows_what_its_map_answers_to():
    model = encoder(points=1, patch_size=4, width=4, depth=1)
    with torch.no_grad():
        for layer in (model.embed, model.mix[0], model.maps):
            layer.weight.zero_()
            layer.bias.zero_()
        model.embed.weight[0, 0] = 1.0
        model.mix[0].weight[0, 0, 1, 1] = 1.0
        model.maps.weight[0, 0] = 5.0
    frames = torch.zeros(2, 3, 24, 32)
    frames[0, 0, 20:24, 4:8] = 1.0
    frames[1, 0, :4, 28:] = 1.0
    places = model.places(frames)[:, 0]
    expected = torch.tensor([[-1 + 2 / 7, 1.0], [1.0, -1.0]])
    torch.testing.assert_close(places, expected, atol=1e-4, rtol=0)


def test_frames_that_do_not_divide_into_cells_are_refused():
    with pytest.raises(ValueError, match="24 x 32 pixels do not divide into patches of 7"):
        encoder(patch_size=7)
