"""Random numbers for several environments: each has its own stream, whoever else is there."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Generator, Tensor


class Draws:
    """One stream of random numbers an environment, drawn on the CPU, the same on any device.

    Args:
        seeds: one an environment.
        device: where the numbers go.
    """

    def __init__(self, seeds: Sequence[int], device: torch.device | str = "cpu") -> None:
        self._streams = [Generator().manual_seed(seed) for seed in seeds]
        self._device = device

    def __len__(self) -> int:
        return len(self._streams)

    def normal(self, *shape: int) -> Float[Tensor, "batch ..."]:
        """Independent, of mean 0 and deviation 1."""
        drawn = [torch.randn(shape, generator=stream) for stream in self._streams]
        return torch.stack(drawn).to(self._device)

    def uniform(self, *shape: int) -> Float[Tensor, "batch ..."]:
        """Independent, between 0 and 1."""
        drawn = [torch.rand(shape, generator=stream) for stream in self._streams]
        return torch.stack(drawn).to(self._device)

    def coloured(
        self, count: int, horizon: int, width: int, exponent: float
    ) -> Float[Tensor, "batch count horizon width"]:
        """Noise whose power falls with frequency as `f ** -exponent`, of deviation 1 at each step.

        0 is white; from 2 on, neighbouring steps go the same way. Source: iCEM, arXiv 2008.06389,
        section 3.1, after Timmer and Koenig (1995).
        """
        white = self.normal(count, width, horizon)
        if exponent == 0 or horizon == 1:
            return white.transpose(-1, -2)
        frequencies = torch.fft.rfftfreq(horizon, device=white.device)
        # The mean over the horizon has no frequency; it is given the lowest there is.
        frequencies[0] = frequencies[1]
        scale = frequencies ** (-exponent / 2)
        # Each frequency but the first and, for even horizons, the last counts twice.
        twice = torch.full_like(scale, 2.0)
        twice[0] = 1.0
        if horizon % 2 == 0:
            twice[-1] = 1.0
        scale = scale * (horizon / (twice * scale**2).sum()).sqrt()
        shaped = torch.fft.irfft(torch.fft.rfft(white) * scale, n=horizon)
        return shaped.transpose(-1, -2)
