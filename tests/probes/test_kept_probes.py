"""Linear and neighbour probes as heads: the same answers as scikit-learn's, and as the formula."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from feature_worlds import coarser, make_table, three_splits
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from nexus.checkpoints.probe_folder import (
    EncoderIdentity,
    ProbeCard,
    load_probe_folder,
    save_probe,
)
from nexus.data.clip_spec import ClipSpec
from nexus.errors import ConfigError
from nexus.models.heads import LinearHeadConfig, NeighbourHeadConfig
from nexus.probes.knn import KNNProbe
from nexus.probes.linear import LinearProbe

SPLITS = three_splits(18, 9, 12)


def token_table(seed: int, classes: int, dim: int, layers: int, offset: float):
    """39 clips of 6 tokens, a class to each, far from the origin."""
    generator = np.random.default_rng(seed)
    labels = np.arange(len(SPLITS)) % classes
    centres = generator.normal(size=(classes, layers * dim))
    noise = generator.normal(size=(len(SPLITS), 6, layers * dim))
    tokens = (centres[labels][:, None] + noise + offset).astype(np.float32)
    tokens[..., 0] = offset  # says nothing
    table = make_table(tokens, [f"c{label}" for label in labels], SPLITS)
    return replace(table, layers=tuple(range(layers)))


def said_by(head, table) -> np.ndarray:
    """What a head says of the test clips' tokens, layers one after the other."""
    rows = np.arange(len(SPLITS))[-12:]
    [tokens] = table.batches([rows])
    with torch.no_grad():
        return head(tokens).softmax(-1).numpy()


@pytest.mark.parametrize("kind", [LinearProbe, KNNProbe])
@given(
    seed=st.integers(0, 1000),
    classes=st.sampled_from([2, 3]),
    dim=st.sampled_from([3, 40]),
    layers=st.sampled_from([1, 2]),
    offset=st.sampled_from([0.0, 300.0]),
)
def test_a_head_says_what_was_measured(kind, seed, classes, dim, layers, offset) -> None:
    table = token_table(seed, classes, dim, layers, offset)
    pooled = coarser(table, "mean")
    fitted = kind().fit(pooled, "class")
    assert fitted.result == kind().measure(pooled, "class")[0]
    said, labels = said_by(fitted.head, table), np.arange(len(SPLITS)) % classes
    if kind is LinearProbe:
        expected = by_scikit_learn(pooled.features, labels, fitted.result.chosen["strength"])
    else:
        expected = by_votes(pooled.features, labels, classes, **fitted.result.chosen)
    # Means of float32 numbers near 300 are only known to 3e-5.
    np.testing.assert_allclose(said, expected, atol=1e-5 if offset == 0 else 3e-3)


def by_scikit_learn(features, labels, strength: float) -> np.ndarray:
    scaler = StandardScaler().fit(features[:18, 1:].astype(np.float64))
    model = LogisticRegression(C=1 / (strength * 18), max_iter=1000, tol=1e-5)
    model.fit(scaler.transform(features[:18, 1:].astype(np.float64)), labels[:18])
    return model.predict_proba(scaler.transform(features[-12:, 1:].astype(np.float64)))


def by_votes(features, labels, classes: int, neighbours: float, temperature: float) -> np.ndarray:
    train = features[:18].astype(np.float64)
    centred = train - train.mean(axis=0)
    votes = np.zeros((12, classes))
    for row, clip in enumerate(features[-12:].astype(np.float64) - train.mean(axis=0)):
        cosines = centred @ clip / np.linalg.norm(centred, axis=1) / np.linalg.norm(clip)
        for near in np.argsort(-cosines)[: int(neighbours)]:
            votes[row, labels[near]] += np.exp(cosines[near] / temperature)
    return votes / votes.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("kind", [LinearProbe, KNNProbe])
def test_a_head_comes_back_from_its_folder(kind, tmp_path) -> None:
    table = token_table(0, 3, 4, 2, 1.0)
    fitted = kind().fit(coarser(table, "mean"), "class")
    card = ProbeCard(
        task="class",
        classes=fitted.result.classes,
        head=fitted.head.config,
        encoder=EncoderIdentity(source="x", dim=4, layers=(0, 1)),
        clips=ClipSpec(),
        chosen=dict(fitted.result.chosen),
    )
    head, again = load_probe_folder(save_probe(tmp_path / "probe", fitted.head, card))
    assert again.head == card.head and again.head.pooling == "mean"
    np.testing.assert_array_equal(said_by(head, table), said_by(fitted.head, table))
    with pytest.raises(ConfigError, match="reads 2 layers side by side, its encoder gives 1"):
        card.with_changes(encoder=card.encoder.with_changes(layers=(1,)))


def test_a_head_that_cannot_be_is_refused() -> None:
    sizes = {"dim": 4, "num_classes": 2}
    with pytest.raises(ConfigError, match="5 neighbours are asked of 3 clips"):
        NeighbourHeadConfig.from_mapping(
            {**sizes, "num_clips": 3, "neighbours": 5, "temperature": 0.1}
        )
    with pytest.raises(ConfigError, match="pooling"):
        LinearHeadConfig.from_mapping({**sizes, "pooling": "max"})
