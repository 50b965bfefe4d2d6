"""`attend`: the plain products that bf16 takes on a CPU agree with the fused kernel."""

import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from nexus.nn import attention


def inputs(tokens: int, seed: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    qkv = torch.randn(2, tokens, 3, 2, 8, generator=generator)
    return [part.transpose(1, 2) for part in qkv.unbind(2)]


def some_allowed(tokens: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(2, 1, tokens, tokens, generator=generator) > 0.5) | torch.eye(
        tokens, dtype=torch.bool
    )


@settings(max_examples=20, deadline=None)
@given(tokens=st.integers(1, 40), seed=st.integers(0, 99), masked=st.booleans())
def test_bf16_is_the_formula_up_to_its_rounding(tokens: int, seed: int, masked: bool) -> None:
    allowed = some_allowed(tokens, seed) if masked else None
    query, key, value = inputs(tokens, seed)
    exact = F.scaled_dot_product_attention(query, key, value, attn_mask=allowed)
    halved = [part.bfloat16() for part in (query, key, value)]
    got = attention.attend(*halved, allowed)
    assert got.dtype == torch.bfloat16
    torch.testing.assert_close(got.float(), exact, rtol=0.05, atol=0.05)


def test_gradients_agree_with_the_fused_kernels() -> None:
    found = []
    for limit in (16 * 16, 16 * 16 - 1):
        parts = [part.bfloat16().requires_grad_() for part in inputs(16, 3)]
        attention.attend(*parts, plain_scores=limit).float().square().sum().backward()
        found.append(torch.stack([part.grad.float() for part in parts]))
    assert not torch.equal(*found)  # two ways were taken
    torch.testing.assert_close(*found, rtol=0.05, atol=0.1)


def test_full_precision_takes_the_fused_kernel() -> None:
    query, key, value = inputs(12, 5)
    fused = F.scaled_dot_product_attention(query, key, value)
    assert torch.equal(attention.attend(query, key, value), fused)
