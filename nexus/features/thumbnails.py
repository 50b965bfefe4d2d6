"""Clips as small pictures: their first, middle and last frame side by side."""

import base64
from collections.abc import Iterable
from dataclasses import replace
from io import BytesIO

import numpy as np
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from nexus.data.loading.clip_source import ClipSource
from nexus.runs.predictions import ShownClip

FRAMES = 3
HEIGHT, WIDTH = 56, 112
"""Pixels of a frame at the most."""
GAP, BETWEEN = 2, (133, 146, 160)
"""Pixels and colour between frames."""
QUALITY = 75
BATCH = 16


def shown_clips(source: ClipSource, keys: Iterable[str]) -> dict[str, ShownClip]:
    """The samples of these keys, each as its central clip; files that fail are left out."""
    wanted = set(keys)
    records = tuple(record for record in source.catalog.records if record.key in wanted)
    if not records:
        return {}
    catalog = replace(source.catalog, records=records)
    chosen = replace(source, spec=source.spec.for_evaluation(1), catalog=catalog)
    shown = {}
    for loaded in chosen.batches(BATCH):
        for index, clip in zip(loaded.record_index.tolist(), loaded.batch.clips, strict=True):
            record = records[index]
            shown[record.key] = ShownClip(
                key=record.key, labels=record.label_texts, jpeg=thumbnail(clip)
            )
    return shown


def thumbnail(clip: UInt8[Tensor, "channels time height width"]) -> str:
    """A few frames of a clip as one JPEG, in base64."""
    frames = clip.expand(3, -1, -1, -1).permute(1, 2, 3, 0).cpu().numpy()
    places = np.unique(np.linspace(0, len(frames) - 1, FRAMES).astype(int))
    small = [Image.fromarray(frames[place]) for place in places]
    for picture in small:
        picture.thumbnail((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
    width, height = small[0].size
    strip = Image.new("RGB", (len(small) * (width + GAP) - GAP, height), BETWEEN)
    for place, picture in enumerate(small):
        strip.paste(picture, (place * (width + GAP), 0))
    buffer = BytesIO()
    strip.save(buffer, "JPEG", quality=QUALITY, optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()
