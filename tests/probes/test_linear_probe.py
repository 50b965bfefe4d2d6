"""Probes on worlds with a known best accuracy, and the traps that a probe must not fall into."""

import math
from dataclasses import replace

import numpy as np
import pytest
from feature_worlds import make_table, three_splits, two_gaussians
from scipy import stats

from nexus.errors import DataError
from nexus.probes.attentive import AttentiveProbe
from nexus.probes.knn import KNNProbe
from nexus.probes.linear import LinearProbe, RidgeProbe
from nexus.probes.results import ProbeResult

QUICK = AttentiveProbe(learning_rates=(1e-3, 1e-2), weight_decays=(0.01,), epochs=12)


def measured(probe, table, column: str = "class") -> ProbeResult:
    [result] = probe.measure(table, column)
    return result


def linear_probe(table, column: str) -> ProbeResult:
    return measured(LinearProbe(), table, column)


def knn_probe(table, column: str) -> ProbeResult:
    return measured(KNNProbe(), table, column)


def ridge_probe(table, column: str) -> ProbeResult:
    return measured(RidgeProbe(), table, column)


def quick_attentive(table, column: str) -> ProbeResult:
    tokens = replace(table, features=table.features[:, None, :], pooling="tokens")
    return measured(QUICK, tokens, column)


PROBES = {"linear": linear_probe, "knn": knn_probe, "attentive": quick_attentive}


@pytest.mark.parametrize("name", PROBES)
def test_reaches_the_bayes_accuracy_of_two_gaussians(name: str) -> None:
    features, labels = two_gaussians(3000, 16, distance=2.0)
    table = make_table(features, labels, three_splits(1000, 500, 1500))
    result = PROBES[name](table, "class")
    bayes = stats.norm.cdf(1.0)  # 0.841
    error = math.sqrt(bayes * (1 - bayes) / 1500)
    assert bayes - 4 * error - 0.01 < result.value < bayes + 4 * error
    assert result.ci95[0] < bayes < result.ci95[1]
    assert (result.n_train, result.n_validation, result.n_test) == (1000, 500, 1500)
    assert result.chance == 0.5
    assert sum(map(sum, result.confusion)) == 1500


@pytest.mark.parametrize("name", PROBES)
def test_noise_gives_chance(name: str) -> None:
    generator = np.random.default_rng(0)
    features = generator.normal(size=(900, 6)).astype(np.float32)
    labels = [f"c{label}" for label in generator.integers(3, size=900)]
    result = PROBES[name](make_table(features, labels, three_splits(300, 200, 400)), "class")
    assert abs(result.value - 1 / 3) < 0.1


@pytest.mark.parametrize("name", PROBES)
def test_the_test_split_cannot_influence_any_choice(name: str) -> None:
    """Poisoned test labels and features: what was chosen, and why, stays exactly the same."""
    features, labels = two_gaussians(260, 24, distance=1.5)
    splits = three_splits(100, 60, 100)
    clean = PROBES[name](make_table(features, labels, splits), "class")

    flipped = labels[:160] + [{"c0": "c1", "c1": "c0"}[label] for label in labels[160:]]
    poisoned = PROBES[name](make_table(features, flipped, splits), "class")
    assert poisoned.chosen == clean.chosen
    assert poisoned.validation == clean.validation
    assert poisoned.value == pytest.approx(1 - clean.value)  # yet it is what is scored

    wild = features.copy()
    wild[160:] = 1000 * np.random.default_rng(3).normal(size=wild[160:].shape)
    other = PROBES[name](make_table(wild, labels, splits), "class")
    assert (other.chosen, other.validation) == (clean.chosen, clean.validation)


@pytest.mark.parametrize("name", PROBES)
def test_the_validation_split_does_decide(name: str) -> None:
    """The score that chose is the chosen model's score on the validation labels."""
    features, labels = two_gaussians(260, 24, distance=2.0)
    splits = three_splits(100, 60, 100)
    clean = PROBES[name](make_table(features, labels, splits), "class")
    flipped = (
        labels[:100] + [{"c0": "c1", "c1": "c0"}[label] for label in labels[100:160]] + labels[160:]
    )
    poisoned = PROBES[name](make_table(features, flipped, splits), "class")
    assert clean.validation > 0.6 > 0.5 > poisoned.validation


def test_a_strong_penalty_is_chosen_when_features_are_many_and_samples_few() -> None:
    features, labels = two_gaussians(1040, 100, distance=2.0)
    table = make_table(features, labels, three_splits(40, 500, 500))
    free = measured(LinearProbe(strengths=(1e-5,)), table)
    chosen = linear_probe(table, "class")
    assert chosen.chosen["strength"] > 1e-3
    assert chosen.value > free.value


def test_a_fit_that_has_not_converged_is_told() -> None:
    features, labels = two_gaussians(300, 16, distance=2.0)
    table = make_table(features, labels, three_splits(100, 100, 100))
    result = measured(LinearProbe(strengths=(1e-5,), max_iterations=1), table)
    [told] = result.notes
    assert told.startswith("class: a linear probe, that with penalty 1e-05, was stopped after 1 it")


def test_the_row_space_rotation_changes_nothing() -> None:
    """More features than clips: padded with as many copies of clips the rotation is not used, and
    copies change neither means, deviations nor the mean loss."""
    features, labels = two_gaussians(160, 40, distance=1.5)
    few = make_table(features, labels, three_splits(30, 60, 70))
    index = [*range(30), *range(30), *range(30, 160)]
    many = make_table(features[index], [labels[row] for row in index], three_splits(60, 60, 70))
    probe = LinearProbe(strengths=(0.1, 0.01), max_iterations=5000)
    rotated, plain = measured(probe, few), measured(probe, many)
    assert rotated.confusion == plain.confusion
    assert rotated.validation == plain.validation


def test_a_feature_that_is_constant_in_training_is_ignored() -> None:
    features, labels = two_gaussians(300, 4, distance=4.0)
    clean = linear_probe(make_table(features, labels, three_splits(100, 100, 100)), "class")
    column = np.full((300, 1), 1e4, np.float32)
    column[100:] += np.random.default_rng(0).normal(size=(200, 1)) * 1e5
    table = make_table(np.hstack([features, column]), labels, three_splits(100, 100, 100))
    assert linear_probe(table, "class").value == clean.value


def test_clips_of_a_sample_vote() -> None:
    """Nine noisy clips a video, averaged, tell more than one; and what is counted is videos."""
    labels = ["c0", "c1"] * 150
    generator = np.random.default_rng(0)
    axis = np.array([0.6, 0.0])
    signs = np.array([1 if label == "c1" else -1 for label in labels])
    clips = np.repeat(signs[:, None] * axis, 9, axis=0) + generator.normal(size=(2700, 2))
    keys = [f"{row // 9}.mp4" for row in range(2700)]
    splits = np.repeat(three_splits(100, 100, 100), 9).tolist()
    many = make_table(clips.astype(np.float32), np.repeat(labels, 9).tolist(), splits, keys=keys)
    result = linear_probe(many, "class")
    assert result.n_test == 100
    assert result.value > 0.9  # Phi(0.6 * 3) = 0.964; a single clip: Phi(0.6) = 0.73


def test_knn_equals_a_brute_force_loop() -> None:
    features, labels = two_gaussians(150, 5, distance=1.0, seed=4)
    table = make_table(features, labels, three_splits(80, 30, 40))
    result = measured(KNNProbe(neighbours=(7,), temperatures=(0.1,)), table)

    mean = features[:80].mean(axis=0, dtype=float)
    right = 0
    for query in range(110, 150):
        similarity = []
        for row in range(80):
            a, b = features[query] - mean, features[row] - mean
            similarity.append((float(a @ b / math.sqrt((a @ a) * (b @ b))), labels[row]))
        votes = {"c0": 0.0, "c1": 0.0}
        for cosine, label in sorted(similarity, reverse=True)[:7]:
            votes[label] += math.exp(cosine / 0.1)
        right += max(votes, key=lambda label: votes[label]) == labels[query]
    assert result.value == right / 40


def test_knn_leaves_out_a_k_that_is_larger_than_the_training_split() -> None:
    features, labels = two_gaussians(30, 3, distance=3.0)
    table = make_table(features, labels, three_splits(10, 10, 10))
    assert measured(KNNProbe(neighbours=(200,)), table).chosen["neighbours"] == 10
    assert knn_probe(table, "class").chosen["neighbours"] <= 10


def test_ridge_finds_the_explained_share_of_a_noisy_line() -> None:
    generator = np.random.default_rng(0)
    features = generator.normal(size=(1500, 6)).astype(np.float32)
    signal = features @ np.array([1.0, -2.0, 0, 0, 0, 1.0])
    target = signal + generator.normal(size=1500) * math.sqrt(6) / 2  # R² = 1 / (1 + 1/4) = 0.8
    labels = [f"{value:.6f}" for value in target]
    table = make_table(features, labels, three_splits(800, 200, 500), column="speed")
    result = ridge_probe(table, "speed")
    assert result.metric == "r2" and result.chance == 0.0
    assert result.value == pytest.approx(0.8, abs=0.05)
    assert result.ci95[0] < 0.8 < result.ci95[1]

    poisoned = labels[:1000] + ["0.0", "1.0"] * 250
    other = ridge_probe(
        make_table(features, poisoned, three_splits(800, 200, 500), column="speed"), "speed"
    )
    assert (other.chosen, other.validation) == (result.chosen, result.validation)
    assert other.value < 0


def test_ridge_weights_solve_the_normal_equations() -> None:
    """Against the closed form written out: (X'X + s n I) w = X'y."""
    generator = np.random.default_rng(0)
    features = generator.normal(size=(60, 5)).astype(np.float32)
    target = features @ np.arange(5.0) + generator.normal(size=60)
    table = make_table(features, [repr(float(t)) for t in target], three_splits(30, 10, 20))
    result = measured(RidgeProbe(strengths=(0.3,)), table)
    x = features.astype(float)
    x = (x - x[:30].mean(0)) / x[:30].std(0)
    offset = target[:30].mean()
    weights = np.linalg.solve(
        x[:30].T @ x[:30] + 0.3 * 30 * np.eye(5), x[:30].T @ (target[:30] - offset)
    )
    truth, guess = target[40:], x[40:] @ weights + offset
    expected = 1 - ((truth - guess) ** 2).sum() / ((truth - truth.mean()) ** 2).sum()
    assert result.value == pytest.approx(expected)


def test_ridge_of_vectors_is_the_mean_of_its_numbers_of_one_penalty() -> None:
    generator = np.random.default_rng(0)
    features = generator.normal(size=(300, 6)).astype(np.float32)
    targets = features @ generator.normal(size=(6, 3)) + generator.normal(size=(300, 3)) * (1, 5, 9)
    splits = three_splits(150, 50, 100)
    joint = make_table(features, [tuple(target) for target in targets.tolist()], splits)
    probe = RidgeProbe(strengths=(0.3,))
    result = measured(probe, joint)
    single = [
        measured(probe, make_table(features, [repr(float(one)) for one in column], splits))
        for column in targets.T
    ]
    assert len({round(one.value, 2) for one in single}) == 3
    assert result.value == pytest.approx(np.mean([one.value for one in single]))
    assert result.validation == pytest.approx(np.mean([one.validation for one in single]))
    assert result.ci95[0] < result.value < result.ci95[1]
    numbers = make_table(features, targets[:, 0].tolist(), splits)
    assert measured(probe, numbers).value == pytest.approx(single[0].value)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["1", "fast"] * 10, "not numeric"),
        (["1", "nan"] * 10, "not finite"),
        (["2"] * 20, "does not vary in the training split"),
        ([(1.0, float(row)) for row in range(20)], "does not vary in the training split"),
        ([(1.0, 2.0), (1.0,)] * 10, "vectors of different lengths"),
    ],
)
def test_ridge_refuses_what_is_not_a_number(labels: list, message: str) -> None:
    with pytest.raises(DataError, match=message):
        ridge_probe(make_table(np.zeros((20, 2), np.float32), labels), "class")


def test_pooled_probes_refuse_tokens_and_the_attentive_probe_refuses_vectors() -> None:
    features, labels = two_gaussians(30, 4, distance=3.0)
    pooled = make_table(features, labels)
    tokens = make_table(features[:, None], labels)
    for probe in (linear_probe, knn_probe, ridge_probe):
        numeric = make_table(features[:, None], [str(i) for i in range(30)])
        with pytest.raises(ValueError, match="pool the tokens"):
            probe(numeric if probe is ridge_probe else tokens, "class")
    with pytest.raises(ValueError, match="takes tokens, got mean features"):
        QUICK.measure(pooled, "class")
