"""Classification heads: what they compute, and that they can learn what they are for."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nexus.errors import ConfigError
from nexus.models.heads import AttentiveHead, AttentiveHeadConfig


class MeanHead(nn.Module):
    """Mean over the tokens, layer norm, one linear layer: no attention."""

    def __init__(self, dim: int, num_classes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, num_classes))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.layers(tokens.mean(dim=1))


def test_the_attentive_head_finds_the_token_that_matters() -> None:
    """One token of eight, at a random place, carries the class; its marker says which one it is.

    The mean over the tokens drowns the class in the other tokens' noise; attention does not.
    """
    generator = torch.Generator().manual_seed(0)

    def draw(count: int) -> tuple[torch.Tensor, torch.Tensor]:
        tokens = torch.randn(count, 8, 16, generator=generator) * 2
        tokens[..., 0] = 0
        place = torch.randint(8, (count,), generator=generator)
        label = torch.randint(2, (count,), generator=generator)
        tokens[torch.arange(count), place, 0] = 6.0
        tokens[torch.arange(count), place, 1] = label * 6.0 - 3.0
        return tokens, label

    train, test = draw(512), draw(512)
    config = AttentiveHeadConfig(dim=16, num_classes=2, num_heads=2, depth=1)
    accuracy = {}
    for name, make in [
        ("linear", lambda: MeanHead(16, 2)),
        ("attentive", lambda: AttentiveHead(config)),
    ]:
        torch.manual_seed(0)
        head = make()
        optimizer = torch.optim.AdamW(head.parameters(), lr=1e-2, weight_decay=0.01)
        for _ in range(60):
            optimizer.zero_grad()
            F.cross_entropy(head(train[0]), train[1]).backward()
            optimizer.step()
        with torch.no_grad():
            accuracy[name] = (head(test[0]).argmax(-1) == test[1]).float().mean().item()
    assert accuracy["attentive"] > 0.95
    assert accuracy["linear"] < 0.85


def test_heads_that_do_not_divide_the_width_are_a_configuration_error() -> None:
    with pytest.raises(ConfigError, match="dim 30 does not divide into num_heads 16"):
        AttentiveHeadConfig.from_mapping({"dim": 30, "num_classes": 2})


def test_the_pooled_vector_is_what_the_classes_are_read_from() -> None:
    head = AttentiveHead(AttentiveHeadConfig(dim=16, num_classes=3, num_heads=2, depth=2))
    tokens = torch.randn(2, 5, 16, generator=torch.Generator().manual_seed(0))
    pooled = head.pooled(tokens)
    assert pooled.shape == (2, 16)
    torch.testing.assert_close(head(tokens), head.linear(pooled))
