"""What a run is trained on: the device that is asked for, or a sentence that there is none."""

from typing import Literal

import pytest
import torch

from nexus.errors import ConfigError
from nexus.training.environment import choose_device
from nexus.training.recipe import TrainingConfig

HERE = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}


@pytest.mark.parametrize("name", HERE)
def test_a_gpu_that_is_not_there_is_named(name: Literal["cuda", "mps"]) -> None:
    asked = TrainingConfig(device=name).device
    if HERE[name]:
        assert choose_device(asked).type == name
        return
    with pytest.raises(ConfigError, match=f"device={name}, but PyTorch sees no .*device=auto"):
        choose_device(asked)


def test_auto_leaves_apples_gpu_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_device("auto").type == "cpu"
    assert choose_device("mps").type == "mps"
