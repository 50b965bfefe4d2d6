"""Compare compiled models with eager ones; a program, so that it runs without the import hook.

The hook wraps every function for shape checking, and the compiler cannot look through that.
"""

import os
import sys
import warnings

import torch
from oracles.tiny import clips, stir, tiny_model

from nexus.models.ssl import VJEPAModel

ARMS = {
    "factorized": {"mask_ratio": 0.5},
    "joint": {"factorized": False, "mask": "random", "regularizer": "sigreg"},
    "ragged": {"mask": "future_biased"},
    "rotary": {
        "factorized": False,
        "positions": "rope_tiled",
        "mask": "multiblock",
        "encoder_dim": 12,
        "predictor_dim": 12,
    },
}
SMALL = {"num_spatial_layers": 1, "img_size": 8}
DEVICE = os.environ.get("NEXUS_TEST_DEVICE", "cpu")


def video(frames: int = 8) -> torch.Tensor:
    return clips(2, frames=frames, height=8, width=8).to(DEVICE)


def one_step(call: torch.nn.Module, model: VJEPAModel) -> list[torch.Tensor]:
    """Loss and gradients."""
    model.zero_grad()
    torch.manual_seed(5)
    loss, metrics = call(video())
    loss.backward()
    assert abs(metrics["loss"] - loss.item()) < 1e-4
    return [loss.detach(), *(p.grad.clone() for p in model.parameters() if p.requires_grad)]


def check(arm: str, how: str, backend: str) -> None:
    """Compile the `stacks` or the whole `model`; numbers, gradients and EMA must stay."""
    torch.compiler.reset()
    model = tiny_model(**SMALL, **ARMS[arm])
    stir(model, scale=0.1)
    model.to(DEVICE)
    names, eager = list(model.state_dict()), one_step(model, model)
    call = model
    if how == "model":
        call = torch.compile(model, backend=backend)
    else:
        model.compile_stacks(backend=backend)
    for plain, compiled in zip(eager, one_step(call, model), strict=True):
        torch.testing.assert_close(compiled, plain, atol=1e-5, rtol=1e-4)
    assert list(model.state_dict()) == names
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(2):
        before = int(model.ema_step)
        optimizer.step()
        one_step(call, model)
        assert int(model.ema_step) == before + 1, "a compiled model follows the optimizer"
    for frames in (4, 12):
        loss, _ = call(video(frames))
        loss.backward()
        assert loss.isfinite(), "a compiled model takes other clip lengths"


if __name__ == "__main__":
    torch.set_num_threads(1)
    # The compiler makes no code for complex numbers: it would call the slow operators one by one.
    warnings.filterwarnings("error", message=".*complex operators")
    given_backend, *cases = sys.argv[1:]
    for case in cases:
        check(*case.split("/"), given_backend)
        print("as eager:", case, flush=True)
