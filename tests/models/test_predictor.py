"""The predictor: what it computes, and that it knows where it is asked."""

import pytest
import torch
from oracles import attention as slow
from oracles.tiny import stir

from nexus.errors import ConfigError
from nexus.models.encoder import EncoderConfig
from nexus.models.predictor import MaskedPredictor, PredictorConfig
from nexus.nn.grid import Grid, TokenLayout

GRID = Grid(3, 2, 2)
CONTEXT = TokenLayout(GRID, torch.tensor([[0, 1, 4], [2, 3, 7]]))
TARGET = TokenLayout(GRID, torch.tensor([[8, 9], [11, 5]]))


def predictor(positions: str = "learned") -> MaskedPredictor:
    torch.manual_seed(0)
    config = PredictorConfig(predictor_dim=12, num_predictor_layers=2, predictor_heads=3)
    encoder = EncoderConfig.from_mapping(
        {
            "positions": positions,
            "encoder_dim": 7,
            "num_heads": 1,
            "img_size": GRID.height,
            "patch_size": 1,
            "num_frames": GRID.time,
            "tubelet_size": 1,
        }
    )
    model = MaskedPredictor(config, encoder, out_dim=5)
    stir(model, scale=0.1)
    return model.double()


def features() -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, 3, 7, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("positions", ["learned", "sincos"])
def test_the_predictor_is_the_formula(positions: str) -> None:
    model, context = predictor(positions), features()
    got, _ = model(context, CONTEXT, TARGET)
    table = model.positions(TokenLayout.full(GRID))[0]
    for clip in range(2):
        seen = slow.affine(model.embed, context[clip]) + table[CONTEXT.index[clip]]
        asked = model.mask_tokens[0] + table[TARGET.index[clip]]
        tokens = slow.joint(model.stack, torch.cat([seen, asked]).unsqueeze(0))[0]
        expected = slow.affine(model.proj, slow.layer_norm(model.norm, tokens[3:]))
        torch.testing.assert_close(got[clip], expected)


def test_predictions_differ_from_place_to_place_and_step_to_step() -> None:
    """Without positions on the mask tokens they would all be equal."""
    every = TokenLayout(GRID, torch.arange(4, 12).expand(2, -1))
    out = predictor()(features(), CONTEXT, every)[0]
    apart = torch.cdist(out, out) + torch.eye(8, dtype=torch.float64)
    assert apart.min() > 1e-3


def test_predictions_come_in_the_order_in_which_they_are_asked() -> None:
    model, context = predictor(), features()
    swapped = TokenLayout(GRID, TARGET.index.flip(1))
    torch.testing.assert_close(
        model(context, CONTEXT, swapped)[0], model(context, CONTEXT, TARGET)[0].flip(1)
    )


def test_predictions_depend_on_the_context_and_on_where_it_stood() -> None:
    model, context = predictor(), features()
    before, _ = model(context, CONTEXT, TARGET)
    assert not torch.allclose(before, model(context + 1, CONTEXT, TARGET)[0])
    elsewhere = TokenLayout(GRID, torch.tensor([[0, 2, 4], [1, 3, 7]]))
    assert not torch.allclose(before, model(context, elsewhere, TARGET)[0])


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ConfigError, match="predictor_dim 10 does not divide into predictor_heads"):
        PredictorConfig.from_mapping({"predictor_dim": 10, "predictor_heads": 4})
