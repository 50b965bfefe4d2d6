"""The attentive probe: what only it can read, its sweep, its seeds."""

import math

import numpy as np
import pytest
import torch
from feature_worlds import coarser, make_table, three_splits, two_gaussians

from nexus.errors import NexusError
from nexus.probes import attentive
from nexus.probes.attentive import (
    PUBLISHED,
    AttentiveProbe,
    HeadTraining,
    default_heads,
    logits_of,
    make_candidates,
    schedule,
    train_step,
)
from nexus.probes.linear import LinearProbe


def marked_tokens(count: int, seed: int = 0) -> tuple[np.ndarray, list[str]]:
    """One of twelve tokens carries a mark; the class stands in the sign of its second feature.

    The other tokens' second feature is noise that swamps it in the mean.
    """
    generator = np.random.default_rng(seed)
    tokens = generator.normal(size=(count, 12, 16)) * 3
    labels = generator.integers(2, size=count)
    place = generator.integers(12, size=count)
    tokens[..., 0] = 0
    tokens[np.arange(count), place, 0] = 8
    tokens[np.arange(count), place, 1] = np.where(labels, 5, -5)
    return tokens.astype(np.float16), [f"c{label}" for label in labels]


def marked_batch(count: int) -> tuple[np.ndarray, np.ndarray]:
    """The same as float32, with the numbers of the classes."""
    tokens, labels = marked_tokens(count)
    return tokens.astype(np.float32), np.array([int(label[1]) for label in labels])


def test_reads_a_marked_token_that_the_mean_hides() -> None:
    tokens, labels = marked_tokens(900)
    table = make_table(tokens, labels, three_splits(500, 200, 200))
    config = AttentiveProbe(learning_rates=(3e-3, 1e-2), weight_decays=(0.01,), epochs=12)
    results = config.measure(table, "class", seeds=(0, 1))
    assert min(result.value for result in results) > 0.95
    assert LinearProbe().measure(coarser(table, "mean"), "class")[0].value < 0.85


def test_seeds_repeat_exactly_and_differ_from_each_other() -> None:
    features, labels = two_gaussians(200, 8, distance=1.0)
    table = make_table(features[:, None], labels, three_splits(80, 60, 60))
    config = AttentiveProbe(epochs=2, learning_rates=(1e-2,), weight_decays=(0.0,))
    first = config.measure(table, "class", seeds=(0, 1, 2))
    torch.manual_seed(1234)
    assert config.measure(table, "class", seeds=(0, 1, 2)) == first
    assert [result.seed for result in first] == [0, 1, 2]
    assert len({result.confusion for result in first}) > 1


def test_the_callers_random_numbers_are_left_alone() -> None:
    features, labels = two_gaussians(60, 8, distance=1.0)
    table = make_table(features[:, None], labels, three_splits(30, 15, 15))
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    AttentiveProbe(epochs=1).measure(table, "class", seeds=(0,))
    assert torch.equal(torch.rand(3), expected)


def test_training_side_by_side_equals_training_alone() -> None:
    """A candidate's result does not depend on which others are in the sweep."""
    features, labels = two_gaussians(160, 8, distance=1.0)
    table = make_table(features[:, None], labels, three_splits(80, 40, 40))

    def run(*rates: float):
        config = AttentiveProbe(learning_rates=rates, weight_decays=(0.05,), epochs=3)
        return config.measure(table, "class", seeds=(0,))[0]

    together = run(1e-5, 1e-2)
    assert together == run(together.chosen["learning_rate"])
    assert run(1e-2, 1e-5) == together


def test_the_learning_rate_rises_and_then_falls_as_a_cosine() -> None:
    shares = [schedule(step, 100, 0.1) for step in range(100)]
    assert shares[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert shares[55] == pytest.approx(0.5 * (1 + math.cos(math.pi / 2)))
    assert shares[99] < 0.001
    assert schedule(0, 1, 0.0) == 1.0


@pytest.mark.parametrize(
    ("dim", "heads"), [(768, 16), (192, 12), (96, 6), (64, 4), (16, 1), (7, 1)]
)
def test_default_heads(dim: int, heads: int) -> None:
    assert default_heads(dim) == heads


def test_the_head_that_is_handed_over_is_the_one_that_was_scored() -> None:
    tokens, labels = marked_tokens(120)
    table = make_table(tokens, labels, three_splits(60, 30, 30))
    config = AttentiveProbe(epochs=2, depth=2, learning_rates=(1e-5, 3e-3))
    fitted = config.fit(table, "class")
    assert fitted.result.probe == "attentive, 2 blocks" and fitted.result.classes == ("c0", "c1")
    assert [(one.learning_rate, one.weight_decay) for one in fitted.sweep] == [
        (1e-5, 0.01), (1e-5, 0.1), (3e-3, 0.01), (3e-3, 0.1),
    ]  # fmt: skip
    best = max(fitted.sweep, key=lambda one: (one.accuracy, -one.loss))
    chosen = {"learning_rate": best.learning_rate, "weight_decay": best.weight_decay}
    assert fitted.result.chosen == chosen and fitted.result.validation == best.accuracy
    with torch.no_grad():
        scores = fitted.head(torch.from_numpy(tokens[90:]).float())
    right = scores.argmax(-1).numpy() == np.array([int(label[1]) for label in labels[90:]])
    assert fitted.result.value == pytest.approx(right.mean())


def test_half_precision_learns_the_same() -> None:
    features, labels = two_gaussians(200, 16, distance=4.0)
    tokens = make_table(features[:, None], labels, three_splits(120, 40, 40))
    config = AttentiveProbe(epochs=5, precision="bf16", learning_rates=(3e-3,))
    fine, coarse = (
        config.with_changes(precision=precision).fit(tokens, "class")
        for precision in ("fp32", "bf16")
    )
    assert coarse.result.value == pytest.approx(fine.result.value, abs=0.06)
    assert coarse.sweep != fine.sweep


def test_a_head_that_diverges_is_not_chosen_and_does_not_touch_the_others() -> None:
    features, labels = two_gaussians(160, 8, distance=3.0)
    tokens = make_table(features[:, None], labels, three_splits(80, 40, 40))
    config = AttentiveProbe(epochs=2, weight_decays=(0.0,), clip_norm=None, warmup=0.0)
    alone, mixed = (
        config.with_changes(learning_rates=rates).fit(tokens, "class")
        for rates in ((1e-3,), (1e30, 1e-3))
    )
    assert mixed.sweep[0].loss is None
    assert mixed.sweep[1] == alone.sweep[0] and mixed.result == alone.result
    with pytest.raises(NexusError, match="all 1 heads of the sweep diverged"):
        config.with_changes(learning_rates=(1e30,)).fit(tokens, "class")


@pytest.mark.parametrize("clip_norm", [None, 0.1])
@pytest.mark.parametrize(("limit", "sizes"), [(40, [3, 3, 1]), (11, [1] * 7)])
def test_a_step_in_parts_is_the_step_on_the_whole_batch(
    limit: int, sizes: list[int], clip_norm: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens, labels = (torch.from_numpy(found) for found in marked_batch(7))
    config = AttentiveProbe(
        depth=3, clip_norm=clip_norm, learning_rates=(1.0,), weight_decays=(0.0,)
    )
    moved, seen = [], []
    for tokens_at_once in (12 * 7, limit):
        monkeypatch.setattr(attentive, "TOKENS_AT_ONCE", tokens_at_once)
        [candidate] = make_candidates(16, 2, config, seed=0)
        head = candidate.head
        start = torch.nn.utils.parameters_to_vector(head.parameters()).detach().clone()
        seen.clear()
        head.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
        # Plain descent at a rate of 1: the weights move by the gradient itself.
        train_step(head, torch.optim.SGD(head.parameters(), lr=1.0), tokens, labels, config)
        moved.append(start - torch.nn.utils.parameters_to_vector(head.parameters()).detach())
        assert all(parameter.grad is None for parameter in head.parameters())
    assert seen == sizes
    scale = float(moved[0].abs().max())
    np.testing.assert_allclose(moved[1], moved[0], atol=2e-6 * scale, rtol=0)
    assert scale > 1e-3
    assert clip_norm is None or float(moved[1].norm()) == pytest.approx(clip_norm, rel=1e-4)


def test_a_sweep_in_parts_scores_as_a_whole_one(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens, labels = marked_tokens(60)
    source = make_table(tokens, labels, three_splits(36, 12, 12))
    config = AttentiveProbe(epochs=2, depth=2, learning_rates=(1e-3,), batch_size=12)
    whole = config.fit(source, "class").sweep
    monkeypatch.setattr(attentive, "TOKENS_AT_ONCE", 12 * 5)
    parts = config.fit(source, "class").sweep
    assert [one.loss for one in parts] == pytest.approx([one.loss for one in whole], abs=1e-3)


def test_no_more_than_one_heads_gradients_and_a_few_tokens_are_held(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(attentive, "TOKENS_AT_ONCE", 12 * 4)
    tokens, labels = marked_batch(20)
    source = make_table(tokens.astype(np.float16), [f"c{one}" for one in labels])
    config = AttentiveProbe(epochs=1, learning_rates=(1e-3, 1e-2), batch_size=10)
    candidates = make_candidates(16, 2, config, seed=0)
    heads = [candidate.head for candidate in candidates]
    shown: list[int] = []

    def look(head: torch.nn.Module, given: tuple[torch.Tensor]) -> None:
        shown.append(len(given[0]))
        for other in heads:
            assert other is head or all(one.grad is None for one in other.parameters())

    for head in heads:
        head.register_forward_pre_hook(look)
    rows, device = np.arange(20), torch.device("cpu")
    HeadTraining(candidates, config, rows, torch.Generator(), device).run(source, labels)
    assert len(heads) == 4 and shown == [4, 4, 2] * 4 * 2
    shown.clear()
    scores = logits_of(heads, source, rows, config, device)
    assert shown == [4, 4, 2] * 4 * 2
    with torch.no_grad():
        expected = heads[3](torch.from_numpy(tokens.astype(np.float16)).float()[:4])
    np.testing.assert_allclose(scores[3][:4], expected, atol=1e-5)


@pytest.mark.parametrize(
    ("clips", "given", "epochs"), [(40, None, 300), (150, None, 100), (2000, None, 20), (40, 3, 3)]
)
def test_few_clips_are_shown_more_often(clips: int, given: int | None, epochs: int) -> None:
    """At least 300 steps, or an untrained encoder is read too low."""
    config = AttentiveProbe(epochs=given, learning_rates=(1e-3,), weight_decays=(0.1,))
    heads = make_candidates(8, 2, config, 0)
    rows, device = np.arange(clips), torch.device("cpu")
    assert HeadTraining(heads, config, rows, torch.Generator(), device).epochs == epochs


def test_few_clips_are_trained_to_the_end() -> None:
    features, labels = two_gaussians(60, 8, distance=1.0)
    table = make_table(features[:, None], labels, three_splits(20, 20, 20))
    config, told = AttentiveProbe(learning_rates=(1e-3,), weight_decays=(0.1,)), []
    config.fit(table, "class", progress=lambda *done: told.append(done))
    assert told == [(done, 300) for done in range(1, 301)]


def test_the_published_sweep() -> None:
    assert len(PUBLISHED.learning_rates) * len(PUBLISHED.weight_decays) == 20
    assert (PUBLISHED.depth, PUBLISHED.epochs, PUBLISHED.warmup) == (4, 20, 0.0)
    assert schedule(0, 100, 0.0) == 1.0


def test_an_empty_sweep_is_refused() -> None:
    features, labels = two_gaussians(30, 8, distance=1.0)
    with pytest.raises(ValueError, match="at least one learning rate"):
        AttentiveProbe(learning_rates=()).measure(make_table(features[:, None], labels), "class")
