"""The README.md of converted weights: what they are, where from, trained on what, worth what."""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from nexus.checkpoints.load import LAYOUTS, Loaded
from nexus.reports.tables import markdown_table
from nexus.runs.folder import find_run
from nexus.runs.read import RunFiles, read_run
from nexus.version import nexus_version

FRONT_MATTER = re.compile(r"\A---\n(.*?)\n---\n", re.DOTALL)

HOW = {
    "hf": """```python
from transformers import AutoModel

model = AutoModel.from_pretrained("THIS FOLDER")
features = model.get_vision_features(video)  # (batch, frames, channels, rows, columns)
```""",
    "meta": """`model.pt` holds `encoder`, `target_encoder` and `predictor` under Meta's names.

```python
import nexus

model = nexus.load("THIS FOLDER/model.pt").model
```""",
    "nexus": """```python
import nexus

model = nexus.load("THIS FOLDER").model
```""",
    "onnx": """```python
import onnxruntime

session = onnxruntime.InferenceSession("THIS FOLDER/encoder.onnx")
[features] = session.run(None, {"video": video})  # float32 (batch, channels, frames, rows, columns)
```""",
    "torch-export": """```python
import torch

encoder = torch.export.load("THIS FOLDER/encoder.pt2").module()
features = encoder(video)  # float32 (batch, channels, frames, rows, columns)
```""",
}
"""How each format is opened."""

CLIPS = (
    "Pixels are values from 0 to 1, minus the ImageNet mean (0.485, 0.456, 0.406), over its "
    "standard deviation (0.229, 0.224, 0.225)."
)


@dataclass(frozen=True)
class Conversion:
    """What a card tells beside the weights themselves."""

    source: str
    to: str
    which: str
    """The encoder that was written, where the format has one."""
    clip: tuple[int, int, int] | None
    """Frames, rows and columns, where the format is for clips of one size."""
    notes: Sequence[str] = ()


def model_card(loaded: Loaded, told: Conversion) -> str:
    """The README.md, Markdown with the hub's front matter."""
    licence = licence_of(loaded.path)
    head = ["---", *([f"license: {licence}"] if licence else [])]
    head += [*(["library_name: transformers"] if told.to == "hf" else [])]
    head += ["tags:", "- video", "- v-jepa-2", "- nexus", "---"]
    parts = [
        "\n".join(head),
        f"# V-JEPA 2 weights, converted from {_code(told.source)}",
        _facts(loaded, told, licence),
        f"## Use\n\n{HOW[told.to]}\n\n{CLIPS}",
        *_training(loaded),
        "## What was loaded\n\n```text\n" + loaded.report.explain() + "\n```",
    ]
    notes = [*loaded.notes, *told.notes]
    if notes:
        parts.append("## Notes\n\n" + "\n".join(f"- {note}" for note in notes))
    return "\n\n".join(parts) + "\n"


def licence_of(folder: Path) -> str | None:
    """The licence that the README.md of a source's folder names, if there is one."""
    try:
        head = FRONT_MATTER.match((folder / "README.md").read_text(encoding="utf-8"))
        found = yaml.safe_load(head[1]) if head else None
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return None
    licence = found.get("license") if isinstance(found, dict) else None
    return licence if isinstance(licence, str) else None


def _facts(loaded: Loaded, told: Conversion, licence: str | None) -> str:
    config = loaded.model.config
    height, width = config.image_sides
    mlp = "" if config.mlp == "gelu" else f", {config.mlp} MLPs"
    rows = {
        "converted from": f"{_code(told.source)}, {LAYOUTS[loaded.kind]}",
        "commit on the hub": loaded.revision,
        "encoder": f"{config.depth} blocks of width {config.encoder_dim}, {config.num_heads} heads"
        f"{mlp}, positions {_code(config.positions)}",
        "encoder written": f"{told.which} encoder" if told.which else None,
        "tubelets": f"{config.tubelet_size} frames of {config.patch_size} x {config.patch_size} "
        f"pixels, {config.in_chans} channels",
        "clips": f"{config.num_frames} frames of {height} x {width} pixels",
        "clips of this file": "{} frames of {} x {} pixels, in batches of any size".format(
            *told.clip
        )
        if told.clip
        else None,
        "licence of the source weights": licence or f"see {_code(told.source)}",
        "written by": f"nexus {nexus_version()}, {time.strftime('%Y-%m-%d')}",
    }
    lines = [f"| {name} | {value} |" for name, value in rows.items() if value]
    return "\n".join(["| | |", "| --- | --- |", *lines])


def _training(loaded: Loaded) -> list[str]:
    """How the run that the weights come from was trained, and what its features are worth."""
    run = _run_of(loaded)
    if run is None:
        return []
    info = run.info
    source = info.data.source
    sources = (source,) if isinstance(source, str) else source or ()
    facts = {
        "data": ", ".join(map(_code, sources)) or None,
        "videos": info.data.videos,
        "steps": info.steps_done,
        "clips seen": info.clips_seen,
        "seed": info.seed,
        "command": _code(info.command) if info.command else None,
    }
    lines = [f"| {name} | {value} |" for name, value in facts.items() if value is not None]
    parts = ["\n".join(["## Training", "", "| | |", "| --- | --- |", *lines])]
    if run.recipe:
        parts.append(f"The whole recipe:\n\n```yaml\n{run.recipe.strip()}\n```")
    if run.probes and run.probes.rows:
        parts.append(f"## Metrics\n\n{markdown_table(run.probes).strip()}")
    return parts


def _run_of(loaded: Loaded) -> RunFiles | None:
    folder = find_run(loaded.path) if loaded.kind == "nexus" else None
    return read_run(folder) if folder else None


def _code(text: str) -> str:
    return f"`{text.replace('`', '').replace('|', '&#124;')}`"
