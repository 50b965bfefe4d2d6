"""An encoder as a graph that runs without nexus: torch.export's `.pt2`, or ONNX.

Both take normalised float32 clips `(batch, channels, frames, rows, cols)` of one size, in batches
of any size, and give features `(batch, tokens, dim)`, time-major. What was written is read again
and run; its numbers must be the encoder's.
"""

import importlib
import io
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nexus.atomic import atomic_path
from nexus.errors import CheckpointError
from nexus.models.encoder import VideoEncoder, check_video_shape

TOLERANCE = 1e-4
"""Largest difference from the encoder's features, as a share of the largest feature."""
NEEDED_FOR_ONNX = ("onnx", "onnxscript", "onnxruntime")


def export_program(
    encoder: VideoEncoder,
    path: str | Path,
    clip: tuple[int, int, int],
    *,
    tolerance: float = TOLERANCE,
) -> float:
    """Write an encoder as a `.pt2` file; `torch.export.load(path).module()` runs it.

    Args:
        encoder: on the CPU, in float32.
        path: the file; it appears, or is replaced, once its numbers have been checked.
        clip: frames, rows and columns of the clips.
        tolerance: largest difference that is allowed, as a share of the largest feature.

    Returns:
        The largest difference found, as a share of the largest feature.

    Raises:
        VideoShapeError: the encoder does not take such clips.
        CheckpointError: the graph's numbers are not the encoder's.
    """
    example, batch = _example(encoder, clip)
    with _quiet(encoder):
        program = torch.export.export(encoder, (example,), dynamic_shapes={"video": {0: batch}})
    with _apart(path) as written:
        with _quiet(encoder):
            # Not straight to the file: torch ends the whole process where the disk is full.
            held = io.BytesIO()
            torch.export.save(program, held)
            written.write_bytes(held.getbuffer())
            again = torch.export.load(written).module()
        return _checked(encoder, again, clip, path, tolerance)


def export_onnx(
    encoder: VideoEncoder,
    path: str | Path,
    clip: tuple[int, int, int],
    *,
    tolerance: float = TOLERANCE,
) -> float:
    """Write an encoder as an ONNX file; input `video`, output `features`.

    Weights of more than about 2 GB go to a second file beside it, `NAME.data`.

    Args, returns and raises as `export_program`; besides:

    Raises:
        CheckpointError: onnx, onnxscript or onnxruntime is not installed.
    """
    runtime = _onnx_parts()
    example, batch = _example(encoder, clip)
    with _quiet(encoder):
        program = torch.onnx.export(
            encoder,
            (example,),
            dynamo=True,
            dynamic_shapes={"video": {0: batch}},
            input_names=["video"],
            output_names=["features"],
            verbose=False,
        )
    assert program is not None  # with dynamo=True it never is
    with _apart(path) as written:
        with _quiet(encoder):
            program.save(str(written))
        session = runtime.InferenceSession(str(written), providers=["CPUExecutionProvider"])

        def run(video: Tensor) -> Tensor:
            return torch.from_numpy(session.run(["features"], {"video": video.numpy()})[0])

        return _checked(encoder, run, clip, path, tolerance)


@contextmanager
def _apart(path: str | Path) -> Iterator[Path]:
    """A path of the same name in a folder of its own; on success its files go to `path`'s folder.

    A graph knows the file with its weights by name; the graph itself comes last.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        written = Path(folder) / path.name
        yield written
        for file in (*(f for f in Path(folder).iterdir() if f != written), written):
            with atomic_path(path.with_name(file.name)) as temporary:
                file.rename(temporary)


def _onnx_parts() -> Any:
    try:
        return [importlib.import_module(name) for name in NEEDED_FOR_ONNX][-1]
    except ImportError as error:
        raise CheckpointError(
            f"ONNX export needs {', '.join(NEEDED_FOR_ONNX)}, and {error.name} is not installed: "
            "pip install 'nexus-vjepa[export]'"
        ) from error


def _example(encoder: VideoEncoder, clip: tuple[int, int, int]) -> tuple[Tensor, Any]:
    """Clips to trace with (two: one would fix the batch size), and the free dimension."""
    video = torch.zeros(2, encoder.config.in_chans, *clip)
    check_video_shape(video, encoder.config)
    return video, torch.export.Dim("batch", min=1)


@contextmanager
def _quiet(encoder: VideoEncoder) -> Iterator[None]:
    """In eval mode, without what the exporters have to say about their own innards."""
    training, logger = encoder.training, logging.getLogger("torch.onnx")
    level = logger.level
    encoder.eval()
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
        encoder.train(training)


def _checked(
    encoder: VideoEncoder,
    exported: Callable[[Tensor], Tensor],
    clip: tuple[int, int, int],
    path: str | Path,
    tolerance: float,
) -> float:
    """How far the exported graph's features are from the encoder's, on a single clip of noise."""
    generator = torch.Generator().manual_seed(0)
    video = torch.randn(1, encoder.config.in_chans, *clip, generator=generator)
    with _quiet(encoder):
        wanted, found = encoder(video), exported(video)
    apart = float((found - wanted).abs().max() / wanted.abs().max())
    if not apart <= tolerance:
        raise CheckpointError(
            f"{path} gives other features than the encoder: {apart:.1e} of the largest apart, "
            f"{tolerance:.0e} allowed; this is a fault of the exporter, please report it"
        )
    return apart
