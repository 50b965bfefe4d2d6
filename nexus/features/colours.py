"""Principal components of patch features as colours, to be laid over the frames they came from."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray
from sklearn.decomposition import PCA
from torch import Tensor

from nexus.features.encoding import FeatureConfig, encode, frozen
from nexus.models.contract import Encoder
from nexus.runs.colours import PatchColours

COMPONENTS = 3
PERCENTILES = (1.0, 99.0)


def patch_colours(
    encoder: Encoder,
    video: UInt8[Tensor, "clips channels time rows cols"],
    names: Sequence[str] = (),
) -> PatchColours:
    """Colour the patches of a few clips by one PCA over all of them together.

    The same colour means the same feature direction in every clip and frame. Clips go through the
    encoder one by one, in eval mode.
    """
    features = []
    with frozen(encoder):
        for clip in video:
            found, grid = encode(encoder, clip[None], FeatureConfig(pooling="tokens"))
            features.append(found)
    if not features:
        raise ValueError("there is no clip to colour")
    tokens = np.concatenate(features)
    clips, _, dim = tokens.shape
    projected, explained = principal_components(tokens.reshape(-1, dim))
    colours = to_colours(projected).reshape(clips, grid.time, grid.height, grid.width, COMPONENTS)
    frames = video.expand(-1, 3, -1, -1, -1).permute(0, 2, 3, 4, 1).cpu().numpy()
    red, green, blue = (float(share) for share in explained)
    return PatchColours(frames, colours, (red, green, blue), tuple(names))


def principal_components(
    features: Float[ndarray, "n dim"], components: int = COMPONENTS
) -> tuple[Float[ndarray, "n components"], Float[ndarray, " components"]]:
    """Coordinates along the first principal axes, and the share of the variance of each.

    An axis points the way that makes its largest entry positive (of equals the first), so that
    reruns agree. With fewer dimensions than components the last ones are zero.
    """
    # Centred here as well: scikit-learn takes the mean off the covariance, where digits are lost.
    centred = features.astype(np.float64) - features.mean(axis=0, dtype=np.float64)
    count = min(components, *features.shape)
    pca = PCA(count, svd_solver="covariance_eigh")
    projected, explained = np.zeros((len(features), components)), np.zeros(components)
    with np.errstate(invalid="ignore"):  # shares of no variance at all
        projected[:, :count] = pca.fit_transform(centred)
    explained[:count] = np.nan_to_num(pca.explained_variance_ratio_)
    return projected, explained


def to_colours(values: Float[ndarray, "n 3"]) -> UInt8[ndarray, "n 3"]:
    """Stretch each column from its 1st to its 99th percentile to 0..255; a constant one is 128."""
    low, high = np.percentile(values, PERCENTILES, axis=0)
    # Below rounding noise there is nothing to see: stretching it would paint a picture of it.
    flat = high - low <= 1e-9 * max(1e-30, float(np.abs(values).max(initial=0.0)))
    share = (values - low) / np.where(flat, 1.0, high - low)
    share[:, flat] = 128 / 255
    return np.round(share.clip(0.0, 1.0) * 255).astype(np.uint8)
