"""Digests that old files hold keep their values."""

import hashlib
import json

import torch

from nexus.checkpoints.weights import tensor_digest
from nexus.digest import digest


def test_a_text_counts_as_it_is_and_other_values_as_their_json() -> None:
    assert digest("abc") == hashlib.sha256(b"abc").hexdigest()
    values = [1, "ü", None, {"a": 0.1}]
    assert digest(values) == hashlib.sha256(json.dumps(values).encode()).hexdigest()
    odd = b"caf\xe9.mp4".decode("utf-8", "surrogateescape")
    assert digest(odd) != digest("caf?.mp4")


def test_tensor_digests_are_those_of_version_0_1() -> None:
    """Worked out at commit 85a8f2f: by `tensor_digest`, and (exact) by `sha256_of`."""
    tensors = {
        "b": torch.arange(6.0).reshape(2, 3).T,
        "a.weight": torch.tensor([[0.5, -1.25]], dtype=torch.bfloat16),
        "count": torch.tensor(3),
        "none": torch.zeros(0, 2),
    }
    assert (
        tensor_digest(tensors) == "0b2d6864d38143a9730d1857f7c3106dd617927e5b328fee5bdfc411e8e9b462"
    )
    assert (
        tensor_digest(tensors, exact=True)
        == "764658a18441ef2a29cab32f15658a1b6bfac472e9335e2b6bbd87a3a93c4448"
    )
    wider = {**tensors, "a.weight": tensors["a.weight"].float()}
    assert tensor_digest(wider) == tensor_digest(tensors)
    assert tensor_digest(wider, exact=True) != tensor_digest(tensors, exact=True)
