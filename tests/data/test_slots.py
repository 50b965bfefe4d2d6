"""Shared memory that is used again: never while anything still looks at it."""

import gc
import multiprocessing

import pytest
import torch

from nexus.data.loading.slots import SharedSlots

SHAPE = (2, 3, 4)


def test_a_slot_comes_back_when_the_last_view_is_gone():
    slots = SharedSlots(count=1, nbytes=24)
    slot = slots.take(24)
    assert slot == 0 and slots.take(24) is None
    lent = slots.lend(slot, SHAPE)
    view, as_numpy = lent[1:].permute(2, 1, 0), lent.numpy()
    del lent
    gc.collect()
    assert slots.take(24) is None
    del view
    gc.collect()
    assert slots.take(24) is None
    del as_numpy
    gc.collect()
    assert slots.take(24) == 0


def test_what_does_not_fit_gets_no_slot():
    slots = SharedSlots(count=2, nbytes=24)
    assert slots.take(slots.nbytes + 1) is None
    assert slots.take(slots.nbytes) is not None


def test_lent_pixels_outlive_the_slots():
    slots = SharedSlots(count=2, nbytes=24)
    lent = slots.lend(1, SHAPE)
    slots.pixels(1, SHAPE).fill_(7)
    del slots
    gc.collect()
    assert torch.equal(lent, torch.full(SHAPE, 7, dtype=torch.uint8))


@pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="slots are for forked workers"
)
def test_another_process_writes_what_this_one_reads():
    slots = SharedSlots(count=3, nbytes=24)
    context = multiprocessing.get_context("fork")
    workers = [
        context.Process(target=lambda slot=slot: slots.pixels(slot, SHAPE).fill_(slot + 1))
        for slot in range(3)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for slot in range(3):
        assert torch.equal(slots.lend(slot, SHAPE), torch.full(SHAPE, slot + 1, dtype=torch.uint8))
