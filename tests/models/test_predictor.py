"""The predictor: what it computes, and that it knows where it is asked."""

import pytest
import torch
from oracles import attention as slow
from oracles import v_jepa_21
from oracles.tiny import stir

from nexus.errors import ConfigError
from nexus.models.encoder import EncoderConfig
from nexus.models.predictor import MaskedPredictor, PredictorConfig
from nexus.nn.grid import Grid, TokenLayout

GRID = Grid(3, 2, 2)
CONTEXT = TokenLayout(GRID, torch.tensor([[0, 1, 4], [2, 3, 7]]))
TARGET = TokenLayout(GRID, torch.tensor([[8, 9], [11, 5]]))


def published(levels: int, positions: str = "rope_interleaved", **changes) -> MaskedPredictor:
    """As in V-JEPA 2 (one level, tiled) or 2.1."""
    torch.manual_seed(0)
    sizes = {"predictor_dim": 28, "num_predictor_layers": 2, "predictor_heads": 2}
    config = PredictorConfig.from_mapping({**sizes, "num_mask_tokens": 3, **changes})
    new = positions == "rope_interleaved"
    encoder = EncoderConfig.from_mapping(
        {
            "positions": positions,
            "rope_stretch": 16 if new else None,
            "encoder_dim": 8,
            "num_heads": 1,
            "factorized": False,
            "num_spatial_layers": 4,
            "num_temporal_layers": 0,
            "modality_embedding": new,
            "image_input": new,
            "feature_levels": (0, 1, 2, 3),
            "predicted_levels": levels,
        }
    )
    return MaskedPredictor(config, encoder, out_dim=5 * levels, predicts_context=new)


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


@pytest.mark.parametrize("levels", [1, 2, 4])
@pytest.mark.parametrize("positions", ["rope_tiled", "rope_interleaved"])
@pytest.mark.parametrize("image", [False, True])
def test_the_published_predictors_are_the_formula(levels: int, positions: str, image: bool) -> None:
    """Tokens in any order; the published code sorts them by position and brings them back."""
    model = published(levels, positions)
    stir(model, scale=0.1)
    model.double()
    generator = torch.Generator().manual_seed(1)
    context = torch.randn(2, 3, 8 * levels, generator=generator, dtype=torch.float64)
    layouts = [TokenLayout(GRID, torch.tensor([[5, 0, 1], [2, 3, 7]])), TARGET]
    exact = {"rtol": 1e-10, "atol": 1e-10}
    for mask_token in (0, 2):
        got, at_context = model(context, *layouts, mask_token=mask_token, image=image)
        for clip in range(2):
            expected, expected_context = v_jepa_21.predict(
                model,
                context[clip],
                layouts[0].index[clip].tolist(),
                layouts[1].index[clip].tolist(),
                (GRID.time, GRID.height, GRID.width),
                image=image,
                mask_token=mask_token,
            )
            torch.testing.assert_close(got[clip], expected, **exact)
            assert (at_context is None) is (expected_context is None)
            if at_context is not None:
                torch.testing.assert_close(at_context[clip], expected_context, **exact)
    assert model.proj.out_features == 5 * levels


def test_one_of_several_mask_tokens_stands_in() -> None:
    """The config's unless another is asked for; the others have no part in it."""
    model = published(1, mask_token=1)
    stir(model, scale=0.3)
    context = torch.randn(2, 3, 8)
    by_token = [model(context, CONTEXT, TARGET, mask_token=token)[0] for token in range(3)]
    assert torch.equal(model(context, CONTEXT, TARGET)[0], by_token[1])
    assert not torch.allclose(by_token[0], by_token[1])
    assert not torch.allclose(by_token[2], by_token[1])
    by_token[2].square().sum().backward()
    assert (model.mask_tokens.grad[:2] == 0).all()
    assert (model.mask_tokens.grad[2] != 0).any()


def test_one_mask_token_of_many_is_as_good_as_a_single_one() -> None:
    many, one = published(1, num_mask_tokens=3), published(1, num_mask_tokens=1)
    state = many.state_dict()
    one.load_state_dict({**state, "mask_tokens": state["mask_tokens"][:1]})
    context = torch.randn(2, 3, 8)
    assert torch.equal(many(context, CONTEXT, TARGET)[0], one(context, CONTEXT, TARGET)[0])


def test_fresh_mask_tokens() -> None:
    assert (published(1, mask_token_std=0.0).mask_tokens == 0).all()
    tokens = published(1, num_mask_tokens=400, mask_token_std=0.05).mask_tokens
    assert tokens.std().item() == pytest.approx(0.05, rel=0.05)
    assert tokens.shape == (400, 28)


def test_images_and_videos_have_modality_vectors_of_their_own() -> None:
    model = published(1)
    context = torch.randn(2, 3, 8)
    for image in (False, True):
        model.zero_grad()
        model(context, CONTEXT, TARGET, image=image)[0].square().sum().backward()
        mine, theirs = model.video_modality, model.image_modality
        if image:
            mine, theirs = theirs, mine
        assert mine.grad is not None
        assert theirs.grad is None


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


def test_a_mask_token_that_is_not_there() -> None:
    with pytest.raises(ConfigError, match="mask_token 3 is not among the 3 mask tokens"):
        PredictorConfig.from_mapping({"num_mask_tokens": 3, "mask_token": 3})
