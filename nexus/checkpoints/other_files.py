"""What a file seems to be that is not a V-JEPA 2 file, in words for the error that refuses it."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from nexus.errors import CheckpointError

HEAD_BYTES = 512
FORBIDDEN = re.compile(r"GLOBAL ([\w.]+)")
"""Where torch names the code that a pickle asks for."""
SHOWN_KEYS = 8


def unreadable(path: Path, error: Exception) -> str:
    """What a file that `torch.load` refuses seems to be.

    Args:
        path: of the file.
        error: what torch raised; none of its words are shown but names of code.
    """
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError as closed:
        return (closed.strerror or type(closed).__name__).lower()
    if not head:
        return "it is empty"
    if head.startswith(b"version https://git-lfs"):
        return "it is a pointer of Git LFS, not the weights themselves (git lfs pull fetches them)"
    if head.lstrip()[:15].lower().startswith((b"<!doctype html", b"<html")):
        return "it is a web page: the download did not give the file"
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < path.stat().st_size:
        return "it seems to be a safetensors file; weights in that layout are given as a folder"
    if head.startswith(b"\x1f\x8b"):
        return "it seems to be a gzip archive; unpack it first"
    if code := FORBIDDEN.search(str(error)):
        return f"it is a pickle that holds code or objects of its own ({code[1]})"
    if words := _words(head):
        return f"it seems to be a text file, which begins with {words[:40]!r}"
    if head.startswith(b"PK"):
        return "it is a damaged or incomplete archive, or none of torch's"
    if head.startswith(b"\x80"):
        return "it is a damaged pickle, or one that holds code or objects of its own"
    return "it is none of the formats that torch writes"


def other_content(content: Any) -> str:
    """What the content of a `.pt` file without a V-JEPA encoder seems to be."""
    if not isinstance(content, Mapping):
        return f"it holds {type(content).__name__}"
    keys = [str(key) for key in content]
    held = f"it holds {keys[:SHOWN_KEYS]}" + (" and more" if len(keys) > SHOWN_KEYS else "")
    if "classifiers" in content:
        return (
            f"{held}: it seems to be a published probe, which stands on an encoder (nexus label "
            "PROBE DATA --encoder WEIGHTS)"
        )
    if any("patch_embed" in key or key.startswith(("blocks.", "module.")) for key in keys):
        return f"{held}: it seems to be the tensors of a single network"
    if {"state_dict", "model", "teacher", "student"} & set(keys):
        return f"{held}: it seems to be the checkpoint of another training"
    return held


def refuse_other_encoder(path: Path, part: str, encoder: Mapping[str, Tensor]) -> None:
    """Refuse an encoder of pictures, or none at all.

    Args:
        path: of the file.
        part: what the encoder is called in it.
        encoder: its tensors under Meta's names, without prefixes.

    Raises:
        CheckpointError: saying what it seems to be.
    """
    weight = encoder.get("patch_embed.proj.weight")
    if weight is None:
        names = ", ".join(list(encoder)[:4]) or "nothing"
        raise CheckpointError(
            f"{path}: `{part}` does not seem to be an encoder of V-JEPA 2: it has no "
            f"patch_embed.proj.weight but {names}"
        )
    if weight.ndim == 4:
        raise CheckpointError(
            f"{path}: `{part}` seems to be an encoder of pictures (I-JEPA, or another image ViT): "
            f"its patches are {' x '.join(map(str, weight.shape[2:]))} pixels of one frame "
            f"(patch_embed.proj.weight {tuple(weight.shape)}), V-JEPA's are tubelets of several "
            "(width, channels, frames, rows, columns). nexus reads encoders of video"
        )


def refuse_learned_positions(
    path: Path, encoders: Mapping[str, Mapping[str, Tensor]], mask_tokens: int | None
) -> None:
    """Refuse position tables that would be left aside: V-JEPA's, the predecessor of V-JEPA 2.

    Files of both have the same names. V-JEPA 2's hold a table that is not used, and a predictor of
    ten mask tokens; V-JEPA's predictor has two, or one.

    Args:
        path: of the file.
        encoders: their tensors by Meta's names.
        mask_tokens: of the file's predictor; None where there is no predictor.

    Raises:
        CheckpointError: there are such tables, and nothing shows that the model is V-JEPA 2.
    """
    tables = [part for part, encoder in encoders.items() if "pos_embed" in encoder]
    if not tables or (mask_tokens is not None and mask_tokens > 2):
        return
    seen = "no predictor" if mask_tokens is None else f"{mask_tokens} mask tokens"
    seen = seen.replace("1 mask tokens", "one mask token").replace("2 mask", "two mask")
    raise CheckpointError(
        f"{path} looks like V-JEPA, the predecessor of V-JEPA 2: `{tables[0]}` has a position "
        f"table (pos_embed), and there is {seen}. Such an encoder adds positions to its tokens, "
        "and would give wrong features with the rotary positions of V-JEPA 2. If it was trained "
        "with rotary positions, say so: config={'positions': 'rope_tiled'}, or nexus convert "
        f"{path.name} positions=rope_tiled --to nexus --out FOLDER"
    )


def unfit_predictor(predictor: Mapping[str, Tensor], encoder_dim: int) -> str:
    """Why a predictor does not belong to an encoder; empty if its width does not speak against it.

    Args:
        predictor: its tensors by our names.
        encoder_dim: width of the encoder's features.
    """
    several = predictor.get("embed.0.weight")
    weight = predictor.get("embed.weight") if several is None else several
    if weight is None or weight.ndim != 2:
        return ""
    width = weight.shape[1]
    fits = width == encoder_dim if several is None else width % encoder_dim == 0
    if fits:
        return ""
    return (
        f"its predictor is for features of width {width}, and its encoder's have {encoder_dim}: "
        "the two seem to be of different models"
    )


def _words(head: bytes) -> str:
    """The beginning of a text; empty if these bytes are none."""
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        text = head[: error.start].decode("utf-8") if error.start > len(head) - 4 else "\0"
    return " ".join(text.split()) if all(c.isprintable() or c.isspace() for c in text) else ""
