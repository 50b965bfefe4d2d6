import pytest
import torch
from oracles.world import batch, robot, slow_rollout, world

from nexus.errors import ConfigError, VideoShapeError
from nexus.models.worlds.predictors import AdaLNPredictor
from nexus.nn.causal import Memory, attend_causally
from nexus.nn.grid import Grid

ENCODERS = {
    "patches": {"kind": "patches", "patch_size": 8, "dim": 12, "hidden": 16, "patch_dim": 8},
    "vit": {"kind": "vit", "patch_size": 8, "dim": 12, "depth": 1, "heads": 2},
    "keypoints": {"kind": "keypoints", "points": 3, "patch_size": 8, "width": 8},
}
PREDICTORS = ("adaln", "interleaved")


def predictor(kind, window=3):
    return {"kind": kind, "width": 24, "depth": 2, "heads": 2, "window": window}


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("kind", PREDICTORS)
@pytest.mark.parametrize("window", [1, 2, 6])
def test_a_rollout_that_remembers_equals_one_that_sees_everything_again(encoder, kind, window):
    model = world(encoder=ENCODERS[encoder], predictor=predictor(kind, window), context=2).eval()
    given = batch(model)
    seen = model.encode(given.frames)
    rolled, foretold = model._rollout(seen, given)
    expected, states = slow_rollout(model, seen, given.actions, given.states, context=2)
    torch.testing.assert_close(rolled, expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(foretold, states, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", PREDICTORS)
def test_candidates_share_what_is_remembered_of_the_context(kind):
    model = world(predictor=predictor(kind)).eval()
    given = batch(model, size=2)
    seen = model.encode(given.frames)
    here = model.begin(seen[:, :3], given.actions[:, :2], given.states[:, :3])
    actions = torch.randn(2, 5, 4, 2)
    state = here.spread(5)
    for step in range(4):
        state = model.step(state, actions.flatten(0, 1)[:, step])
    for row in range(2):
        for candidate in range(5):
            one = slice(row, row + 1)
            alone = model.begin(seen[one, :3], given.actions[one, :2], given.states[one, :3])
            for step in range(4):
                alone = model.step(alone, actions[row : row + 1, candidate, step])
            number = 5 * row + candidate
            torch.testing.assert_close(alone.latent[0], state.latent[number], atol=1e-5, rtol=1e-4)
            torch.testing.assert_close(alone.state[0], state.state[number], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", PREDICTORS)
def test_nothing_that_comes_later_is_seen(kind):
    model = world(predictor=predictor(kind)).eval()
    given = batch(model)
    seen = model.encode(given.frames)
    first, _ = model._step_from_seen(seen, given)
    later, actions, states = seen.clone(), given.actions.clone(), given.states.clone()
    later[:, 3:], actions[:, 3:], states[:, 3:] = 7.0, -7.0, 7.0
    changed = type(given)(given.frames, actions, states)
    second, _ = model._step_from_seen(later, changed)
    assert torch.equal(first[:, :3], second[:, :3])
    assert not torch.allclose(first[:, 3:], second[:, 3:])


def test_steps_outside_of_the_window_are_not_seen():
    model = world(predictor=predictor("adaln", window=2) | {"depth": 1}).eval()
    given = batch(model)
    seen = model.encode(given.frames)
    first, _ = model._step_from_seen(seen, given)
    other = seen.clone()
    other[:, 0] = 9.0
    second, _ = model._step_from_seen(other, given)
    assert torch.equal(first[:, 2:], second[:, 2:])
    assert not torch.allclose(first[:, 1], second[:, 1])


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {
            "teacher_weight": 0.5,
            "loss": "l1",
            "context": 2,
            "slow_dim": 4,
            "slow_weight": 0.7,
            "in_changes": True,
        },
    ],
)
def test_the_loss_is_what_it_says(settings):
    model = world(**settings).eval()
    given, config = batch(model), model.config
    loss, metrics = model(given, meters=False)
    seen = model.encode(given.frames)
    rolled, states = slow_rollout(model, seen, given.actions, given.states, config.context)
    error = torch.abs if config.loss == "l1" else torch.square
    units = torch.ones(())
    if config.in_changes:
        units = error(seen[:, 1:] - seen[:, :-1]).mean(dim=(0, 1, 2))
    expected = (error(rolled - seen[:, config.context :]) / units).mean()
    expected += config.state_weight * (states - given.states[:, config.context :]).square().mean()
    if config.teacher_weight:
        forced, _ = model._predict(seen[:, :-1], given.actions, given.states[:, :-1], 0, None)
        expected += config.teacher_weight * (error(forced - seen[:, 1:]) / units).mean()
    first = seen.flatten(0, 1).flatten(1)
    centred = first - first.mean(0)
    covariance = centred.T @ centred / (len(first) - 1)
    variance = covariance.diagonal()
    term = (1 - (variance + 1e-4).sqrt()).clamp(min=0).mean()
    term += (covariance.square().sum() - variance.square().sum()) / first.shape[1]
    expected += config.regularizer_weight * term
    slow = seen[..., : config.slow_dim]
    if config.slow_dim:
        expected += config.slow_weight * (slow[:, 1:] - slow[:, :-1]).square().mean()
    assert float(loss) == pytest.approx(float(expected), rel=1e-4)
    assert metrics["loss"] == pytest.approx(float(loss))


def test_gradients_reach_the_actions_through_all_steps():
    model = world().eval()
    given = batch(model)
    seen = model.encode(given.frames)
    state = model.begin(seen[:, :1], given.actions[:, :0], given.states[:, :1])
    actions = given.actions.clone().requires_grad_()
    for step in range(5):
        state = model.step(state, actions[:, step])
    state.latent.sum().backward()
    assert (actions.grad.abs().sum(dim=(0, 2)) > 0).all()


def test_two_robots_share_everything_but_their_own_projections():
    model = world(robots=(robot(2, 3), robot(5, 0, name="other")))
    for number in (0, 1):
        loss, _ = model(batch(model, robot=number), meters=False)
        assert torch.isfinite(loss)
    assert model.robots[0].action.weight.shape[1] == 2
    assert model.robots[1].action.weight.shape[1] == 5


def test_a_second_camera_is_seen_and_foretold():
    model = world(robots=(robot(cameras=("top", "hand")),), encoder=ENCODERS["vit"]).eval()
    given = batch(model)
    seen = model.encode(given.frames)
    assert seen.shape[2] == 2 * 4
    other = given.frames.clone()
    other[:, 1] += 1.0
    again = model.encode(other)
    assert torch.equal(seen[:, :, :4], again[:, :, :4])
    rolled, _ = model._rollout(seen, given)
    moved, _ = model._rollout(again, given)
    assert rolled.shape[2] == 8
    assert not torch.allclose(rolled[:, :, :4], moved[:, :, :4])  # each camera helps the other


def test_frames_that_do_not_fit_are_refused():
    model = world()
    with pytest.raises(VideoShapeError, match=r"the model takes \(1, 3, 16, 16\)"):
        model.encode(torch.zeros(2, 2, 3, 3, 16, 16))


def test_settings_that_do_not_fit_are_refused():
    with pytest.raises(ConfigError, match="leaves nothing to predict"):
        world(context=6)
    with pytest.raises(ConfigError, match="different numbers of cameras"):
        world(robots=(robot(), robot(cameras=("a", "b"), name="two")))
    with pytest.raises(ConfigError, match="did you mean"):
        world(rollout_wieght=1.0)


def test_a_model_comes_back_from_its_settings():
    model = world()
    again = type(model)(model.config.to_mapping())
    again.load_state_dict(model.state_dict())
    given = batch(model)
    model.eval(), again.eval()
    assert float(model(given)[0]) == float(again(given)[0])


def test_an_encoder_stays_as_it_is_after_its_steps():
    keypoints = ENCODERS["keypoints"]
    model = world(encoder=keypoints, encoder_steps=3, slow_dim=2, slow_weight=1.0).train()
    given = batch(model)
    model.update_target(0)
    model.update_target(1)
    loss, metrics = model(given)
    loss.backward()
    assert {"regularizer_loss", "slow_loss"} <= set(metrics)
    assert all(one.grad is not None for one in model.encoder.parameters())
    model.zero_grad()
    model.update_target(2)
    again = type(model)(model.config)  # as a run that goes on
    again.load_state_dict(model.state_dict())
    again.train()
    kept = {name: each.clone() for name, each in again.encoder.state_dict().items()}
    loss, metrics = again(given)
    loss.backward()
    assert all(one.grad is None for one in again.encoder.parameters())
    assert all(one.grad is not None for one in again.predictor.parameters())
    assert all(torch.equal(each, kept[name]) for name, each in again.encoder.state_dict().items())
    assert set(metrics).isdisjoint({"regularizer_loss", "slow_loss"})


@pytest.mark.parametrize("kind", PREDICTORS)
def test_what_a_search_has_kept_is_of_use_in_training_and_in_double_precision(kind):
    """Masks and rotations are kept: tensors of inference mode could not be trained through."""
    model = world(predictor=predictor(kind))
    given = batch(model)
    with torch.inference_mode():
        model.eval()(given)
    loss, _ = model.train()(given)
    loss.backward()
    assert all(p.grad is not None for p in model.predictor.blocks.parameters())
    fresh, _ = world(predictor=predictor(kind)).train()(given)
    assert torch.equal(loss, fresh)
    latents = model.encode(given.frames).double()
    told, _ = model.double()._predict(latents[:, :-1], given.actions.double(), None, 0, None)
    assert told.dtype == torch.float64
    again, _ = (
        world(predictor=predictor(kind))
        .double()
        ._predict(latents[:, :-1], given.actions.double(), None, 0, None)
    )
    assert torch.equal(told, again)


def test_a_single_token_that_sees_itself_alone_needs_no_softmax():
    model = world(predictor=predictor("adaln", window=1)).eval()
    block, tokens = model.predictor.blocks[0], torch.randn(3, 1, 24)
    qkv = block.attn.qkv(tokens)
    said = attend_causally(
        block.attn,
        qkv,
        layer=0,
        memory=Memory(1),
        tokens_per_step=1,
        allowed=None,
        rotation=None,
    )
    torch.testing.assert_close(said, block.attn(tokens))


def test_a_predictor_of_single_tokens_works_out_no_attention():
    predictor_alone = AdaLNPredictor(dim=8, grid=Grid(1, 1, 1), width=24, heads=2, window=1)
    for parameter in predictor_alone.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    block, tokens, condition = predictor_alone.blocks[0], *torch.randn(2, 3, 5, 24)
    seen = predictor_alone._seen(5, None, tokens)
    attended = block(tokens, condition, 1, 0, None, seen)
    torch.testing.assert_close(block(tokens, condition, 1, 0, None, None), attended)


def test_what_is_spread_twice_is_as_often_alike():
    model = world().eval()
    given = batch(model, size=2)
    seen = model.encode(given.frames)
    here = model.begin(seen[:, :2], given.actions[:, :1], given.states[:, :2])
    actions = torch.randn(12, 2)
    twice = model.step(here.spread(2).spread(3), actions)
    once = model.step(here.spread(6), actions)
    assert torch.equal(twice.latent, once.latent) and twice.alike == 1
