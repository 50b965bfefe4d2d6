"""What transformers' and Meta's code do to a video's pictures before an encoder sees them.

Written out from `VJEPA2VideoProcessor` and `BaseVideoProcessor` of transformers 5.23 (and
torchvision's `resize` on a CPU, which takes bytes to bytes), so that torchvision is not needed.
"""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def processed(config: Mapping[str, Any], frames: Tensor) -> Tensor:
    """`pixel_values_videos` of one video, (1, time, 3, rows, columns).

    Args:
        config: what a `video_preprocessor_config.json` says.
        frames: uint8, (time, height, width, 3).
    """
    images = frames.permute(0, 3, 1, 2)
    height, width = images.shape[-2:]
    crop = config["crop_size"]["height"]
    short = config["size"]["shortest_edge"]
    if config["video_processor_type"] == "VJEPA2VideoProcessor":
        short = int(crop * 256 / 224)  # its class overrides what the file says
    if width <= height:
        size = (int(short * height / width), short)
    else:
        size = (short, int(short * width / height))
    if size != (height, width):
        images = F.interpolate(images, size, mode="bilinear", antialias=True)
    top, left = int((size[0] - crop) / 2.0), int((size[1] - crop) / 2.0)
    images = images[..., top : top + crop, left : left + crop]
    mean = torch.tensor(config["image_mean"])[:, None, None]
    std = torch.tensor(config["image_std"])[:, None, None]
    return ((images * config["rescale_factor"] - mean) / std)[None]


PUBLISHED = {
    "video_processor_type": "VJEPA2VideoProcessor",
    "do_resize": True,
    "size": {"shortest_edge": 292},
    "resample": 2,
    "do_center_crop": True,
    "crop_size": {"height": 256, "width": 256},
    "do_rescale": True,
    "rescale_factor": 0.00392156862745098,
    "do_normalize": True,
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
    "do_convert_rgb": None,
    "do_pad": None,
    "data_format": "channels_first",
}
"""The file in the published folders of 256 pixels, but for keys that say nothing."""


def published_config(crop: int) -> dict[str, Any]:
    """The same for another crop."""
    sizes = {"crop_size": {"height": crop, "width": crop}}
    return {**PUBLISHED, **sizes, "size": {"shortest_edge": int(crop * 256 / 224)}}
