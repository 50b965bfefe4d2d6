"""What steps and clips cost is tried on real ones."""

import time
from dataclasses import replace

import torch

from nexus.data.catalog.catalog import scan
from nexus.data.clip_spec import ClipSpec
from nexus.data.loading.augment import AugmentConfig
from nexus.fitting import cost
from nexus.fitting.cost import Machine, free_memory, rehearse_loading, rehearse_step
from nexus.toy.world import ToyConfig, write_toy_world
from nexus.training.assembly import assemble
from nexus.training.recipe import load_recipe

SMALL = [
    "model.encoder_dim=16", "model.num_heads=2", "model.predictor_dim=16",
    "model.predictor_heads=2", "model.img_size=32", "training.batch_size=2",
]  # fmt: skip


def test_a_step_is_timed_and_leaves_no_trace():
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    one = rehearse_step(load_recipe("footage", [*SMALL, "training.threads=1"]))
    more = [*SMALL, "training.threads=1", "training.accumulation=20"]
    twenty = rehearse_step(load_recipe("footage", more))
    assert one is not None and twenty is not None
    assert one.threads == 1 and twenty.seconds > 2 * one.seconds > 0
    assert torch.equal(torch.get_rng_state(), before) and torch.get_num_threads() == threads


def test_a_step_that_is_far_too_slow_is_tried_once(monkeypatch):
    taken = []

    def assembled(recipe):
        parts = assemble(recipe)
        return replace(parts, take_step=lambda *_, **__: taken.append(1))

    monkeypatch.setattr(cost, "assemble", assembled)
    assert rehearse_step(load_recipe("footage", SMALL), limit=0.0) is not None
    assert len(taken) == 1
    assert rehearse_step(load_recipe("footage", SMALL)) is not None
    assert len(taken) > 3


def test_a_step_that_is_slow_with_all_threads_may_be_fast_with_one(monkeypatch):
    def assembled(recipe):
        slow_together = lambda *_, **__: time.sleep(0.2 * (torch.get_num_threads() > 1))  # noqa: E731
        return replace(assemble(recipe), take_step=slow_together)

    monkeypatch.setattr(cost, "assemble", assembled)
    torch.set_num_threads(2)
    try:
        found = rehearse_step(load_recipe("footage", SMALL), limit=0.05)
    finally:
        torch.set_num_threads(1)
    assert found is not None and found.threads == 1 and found.seconds < 0.05


def test_a_step_too_large_for_the_gpu_has_no_cost(monkeypatch):
    def full(recipe):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(cost, "assemble", full)
    assert rehearse_step(load_recipe("footage", SMALL)) is None


def test_clips_are_decoded_and_then_kept(tmp_path):
    config = ToyConfig(
        train_clips=4, validation_clips=1, test_clips=1, tasks={"speed": 1.0}, num_frames=16
    )
    write_toy_world(tmp_path, config, seed=0)
    catalog = scan(tmp_path, workers=0)
    catalog.records[0].path.write_bytes(b"broken since")
    clip = ClipSpec(num_frames=8, fps=8, size=(32, 32), short_side=32, clips_per_video=3)
    load = rehearse_loading(clip, catalog, AugmentConfig())
    assert 0 < load.kept_clip <= load.clip and load.frame > 0
    assert load.frames == 6 * 16 and load.kept_bytes == 6 * 16 * 3 * 32 * 32


def test_memory_is_what_the_container_has_left(tmp_path):
    whole = free_memory(tmp_path)
    (tmp_path / "memory.max").write_text("5000000\n")
    (tmp_path / "memory.current").write_text("1000000\n")
    assert free_memory(tmp_path) == 4_000_000 < whole
    (tmp_path / "memory.max").write_text("max\n")
    assert free_memory(tmp_path) > 4_000_000
    assert Machine.here("cpu").device == "cpu"
