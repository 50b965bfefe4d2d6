"""A training of attentive probes that is stopped goes on to the same bits."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from feature_worlds import make_table, three_splits, two_gaussians
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nexus.probes import attentive
from nexus.probes.attentive import AttentiveProbe
from nexus.probes.unfinished import Unfinished

CONFIG = AttentiveProbe(
    learning_rates=(1e-3, 1e-2), weight_decays=(0.1,), epochs=3, batch_size=8, num_heads=2
)
STEPS = 3 * 3  # 20 clips in batches of at most 8


def tokens():
    features, labels = two_gaussians(40, 8, distance=2.0)
    return make_table(np.repeat(features[:, None], 2, 1), labels, three_splits(20, 10, 10))


def make(path: Path, told: list[str] | None = None, identity: str = "x", **changes) -> Unfinished:
    return Unfinished(path, identity, (told if told is not None else []).append, **changes)


def fit(unfinished: Unfinished | None, stop_at: int | None = None):
    """Fit, with a Ctrl-C in the middle of a step; None if that stopped it."""
    real, done = attentive.train_step, []

    def step(*given):
        done.append(1)
        if stop_at is not None and len(done) == 2 * stop_at - 1:  # of the first of two heads
            os.kill(os.getpid(), signal.SIGINT)
        real(*given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attentive, "train_step", step)
        try:
            return CONFIG.fit(tokens(), "class", seed=1, unfinished=unfinished)
        except KeyboardInterrupt:
            assert stop_at is not None and len(done) == 2 * stop_at  # the step was finished
            return None


@pytest.fixture(scope="module")
def whole():
    return fit(None)


def assert_same(found, whole) -> None:
    assert found.result == whole.result and found.sweep == whole.sweep
    for name, tensor in whole.head.state_dict().items():
        assert torch.equal(tensor, found.head.state_dict()[name]), name


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=12)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=3))
def test_a_stopped_training_ends_with_the_same_bits(tmp_path_factory, whole, stops) -> None:
    path, told, left = tmp_path_factory.mktemp("stops") / "unfinished.pt", [], STEPS
    for stop in stops:
        if stop > left:
            break
        assert fit(make(path, told), stop) is None and path.exists()
        left -= stop
    found = fit(make(path, told))
    assert_same(found, whole)
    done = STEPS - left
    assert f"{done // 3} of 3 epochs and {done % 3} of 3" in told[-1] or done % 3 == 0


def test_a_crash_loses_little(tmp_path, whole, monkeypatch) -> None:
    path = tmp_path / "unfinished.pt"
    real, done = attentive.train_step, []

    def dies(*given):
        done.append(1)
        if len(done) > 10:
            raise RuntimeError("power cut")
        real(*given)

    with monkeypatch.context() as patch:
        patch.setattr(attentive, "train_step", dies)
        with pytest.raises(RuntimeError, match="power cut"):
            CONFIG.fit(tokens(), "class", seed=1, unfinished=make(path, seconds=0.0, times=0.0))
    told: list[str] = []
    assert_same(fit(make(path, told)), whole)
    assert "1 of 3 epochs and 2 of 3 batches" in told[0]


def test_a_short_training_writes_nothing(tmp_path, whole) -> None:
    assert_same(fit(make(tmp_path / "unfinished.pt")), whole)
    assert not list(tmp_path.iterdir())


def test_a_file_of_something_else_is_not_gone_on_from(tmp_path, whole) -> None:
    path, told = tmp_path / "unfinished.pt", []
    assert fit(make(path, identity="y"), 4) is None
    assert_same(fit(make(path, told)), whole)
    path.write_bytes(b"half a file")
    assert_same(fit(make(path, told)), whole)
    assert "of a training with other settings; this one starts over" in told[0]
    assert "cannot read" in told[1] and "starts over" in told[1]
    assert fit(make(path), 4) is None
    kept = torch.load(path, weights_only=True)
    torch.save({**kept, "rows": kept["rows"][1:]}, path)
    assert_same(fit(make(path, told)), whole)
    assert "with other clips" in told[2]


def test_without_room_the_training_goes_on(tmp_path, whole) -> None:
    (tmp_path / "file").touch()
    told: list[str] = []
    found = fit(make(tmp_path / "file/unfinished.pt", told, seconds=0.0, times=0.0))
    assert_same(found, whole)
    assert told and all("the training so far cannot be kept" in text for text in told)
