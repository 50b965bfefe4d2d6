"""What a world model imagines, as pictures: for each foretold latent the nearest training frame.

A latent cannot be drawn; a frame whose latent is near it can be shown.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from nexus.control.trust.excerpts import Excerpts
from nexus.control.trust.seen import SeenEpisode
from nexus.data.episodes.stretches import Stretches
from nexus.runs.world import WorldFilms


def world_films(
    excerpts: Excerpts,
    foretold: Float[Tensor, "excerpts steps tokens dim"],
    rows: Sequence[int],
    fitted: Sequence[SeenEpisode],
    training: Stretches,
    judged: Stretches,
) -> WorldFilms:
    """A film for each of some excerpts, cameras side by side."""
    latents = torch.cat([one.latents for one in fitted])
    places = [(one.index, frame) for one in fitted for frame in range(len(one))]
    real, imagined, names = [], [], []
    for row in rows:
        episode, start = int(excerpts.episode[row]), int(excerpts.start[row])
        first = start + excerpts.context - 1
        real.append(_side_by_side(judged.frames(episode, first, foretold.shape[1] + 1)))
        near = [places[number] for number in nearest(foretold[row], latents)]
        shown = [_side_by_side(training.frames(index, frame, 1))[0] for index, frame in near]
        imagined.append(np.stack(shown))
        names.append(f"episode {episode}, from frame {first}")
    return WorldFilms(np.stack(real), np.stack(imagined), tuple(names))


def nearest(
    queries: Float[Tensor, "steps tokens dim"], latents: Float[Tensor, "frames tokens dim"]
) -> Int64[np.ndarray, " steps"]:
    """The frame whose latent is nearest, for each query."""
    return torch.cdist(queries.flatten(1), latents.flatten(1)).argmin(dim=1).numpy()


def _side_by_side(
    frames: UInt8[np.ndarray, "cameras count height width 3"],
) -> UInt8[np.ndarray, "count height joined 3"]:
    return np.concatenate(list(frames), axis=2)
