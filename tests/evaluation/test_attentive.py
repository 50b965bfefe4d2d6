"""The attentive probe: what only it can read, its sweep, its seeds."""

import math

import numpy as np
import pytest
import torch
from feature_worlds import make_table, three_splits, two_gaussians

from nexus.evaluation.attentive import (
    AttentiveProbeConfig,
    attentive_probe,
    default_heads,
    schedule,
)
from nexus.evaluation.probes import linear_probe


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


def test_reads_a_marked_token_that_the_mean_hides() -> None:
    tokens, labels = marked_tokens(900)
    table = make_table(tokens, labels, three_splits(500, 200, 200))
    config = AttentiveProbeConfig(learning_rates=(3e-3, 1e-2), weight_decays=(0.01,), epochs=12)
    results = attentive_probe(table, "class", config, seeds=(0, 1))
    assert min(result.accuracy for result in results) > 0.95
    assert linear_probe(table.pooled("mean"), "class").accuracy < 0.85


def test_seeds_repeat_exactly_and_differ_from_each_other() -> None:
    features, labels = two_gaussians(200, 8, distance=1.0)
    table = make_table(features[:, None], labels, three_splits(80, 60, 60))
    config = AttentiveProbeConfig(epochs=2, learning_rates=(1e-2,), weight_decays=(0.0,))
    first = attentive_probe(table, "class", config, seeds=(0, 1, 2))
    torch.manual_seed(1234)
    assert attentive_probe(table, "class", config, seeds=(0, 1, 2)) == first
    assert [result.seed for result in first] == [0, 1, 2]
    assert len({result.confusion for result in first}) > 1


def test_the_callers_random_numbers_are_left_alone() -> None:
    features, labels = two_gaussians(60, 8, distance=1.0)
    table = make_table(features[:, None], labels, three_splits(30, 15, 15))
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    attentive_probe(table, "class", AttentiveProbeConfig(epochs=1), seeds=(0,))
    assert torch.equal(torch.rand(3), expected)


def test_training_side_by_side_equals_training_alone() -> None:
    """A candidate's result does not depend on which others are in the sweep."""
    features, labels = two_gaussians(160, 8, distance=1.0)
    table = make_table(features[:, None], labels, three_splits(80, 40, 40))

    def run(*rates: float):
        config = AttentiveProbeConfig(learning_rates=rates, weight_decays=(0.05,), epochs=3)
        return attentive_probe(table, "class", config, seeds=(0,))[0]

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


def test_an_empty_sweep_is_refused() -> None:
    features, labels = two_gaussians(30, 8, distance=1.0)
    with pytest.raises(ValueError, match="at least one learning rate"):
        attentive_probe(
            make_table(features[:, None], labels), "class", AttentiveProbeConfig(learning_rates=())
        )
