"""Run directories as training and evaluation leave them, with the numbers of a small real run."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from nexus.runs.history import upgraded
from nexus.runs.schema import ProbeTable

ARMS = {
    "V-JEPA": (0.684, 0.556),
    "random init": (0.152, 0.301),
    "pixels, raw MSE": (0.731, 0.542),
    "pixels, normalised": (0.247, 0.395),
    "anti-collapse term only": (0.271, 0.412),
    "EMA only": (0.263, 0.489),
}
ROLES = {
    "random init": "untrained",
    **dict.fromkeys(("pixels, raw MSE", "pixels, normalised"), "baseline"),
    **dict.fromkeys(("anti-collapse term only", "EMA only"), "baseline"),
}
TASKS = (("direction", 0.125), ("shape", 0.25))
RECIPE = """\
recipe: small
seed: 0
model:
  encoder_dim: 96
  num_frames: 8
  ema_momentum: 0.97
  regularizer: vc
  regularizer_weight: 0.1
optim:
  lr: 0.002
  steps: 2000
"""
Builder = Callable[..., Path]


def run_info(**changes: Any) -> dict[str, Any]:
    """run.json of a finished run."""
    return {
        "format": 2,
        "status": "finished",
        "command": "nexus pretrain 'toy world/labels.csv' --recipe small --out runs/toy",
        "recipe": "small",
        "seed": 0,
        "started": "2026-11-22T10:02:11+0000",
        "ended": "2026-11-22T10:09:54+0000",
        "steps_done": 2000,
        "steps_total": 2000,
        "train_seconds": 463.2,
        "clips_seen": 64000,
        "threads": 1,
        "device": "cpu",
        "precision": "fp32",
        "error": None,
        "resumed": [],
        "health_thresholds": {
            "collapsed_spread": 0.05,
            "collapsing_spread": 0.12,
            "collapsed_rank": 1.5,
            "collapsing_rank": 4.0,
            "collapsing_rank_share": 0.03,
            "healthy_steps": 200,
            "healthy_videos": 20,
            "healthy_rank_share": 0.05,
            "healthy_readings": 5,
            "healthy_motion": 0.02,
        },
        "environment": {
            "python": "3.11.2",
            "torch": "2.13.0+cpu",
            "nexus": "0.1.0",
            "platform": "Linux-6.1.0-x86_64",
            "cpu": "Intel(R) Xeon(R) Processor @ 2.60GHz",
            "cores": 2,
            "gpu": None,
        },
        "data": {
            "source": "toy world/labels.csv",
            "videos": 2000,
            "seconds": 4000.0,
            "labels": {
                "direction": dict.fromkeys(("E", "N", "NE", "NW", "S", "SE", "SW", "W"), 250),
                "shape": {"cross": 512, "disc": 488, "square": 503, "triangle": 497},
                "speed": {f"{v / 1000:.3f}": 1 for v in range(2000)},
            },
        },
        "model": {"kind": "vjepa", "parameters": 812_416, "encoder_parameters": 352_896},
        **changes,
    }


def journal_rows(steps: int = 2000, every: int = 10, alarm: bool = True) -> list[dict[str, Any]]:
    """A run that learns; with `alarm`, one that is collapsing for a while early on."""
    noise = np.random.default_rng(3)
    rows = []
    for step in range(every, steps + 1, every):
        t = step / steps
        wobble = 1 + 0.04 * noise.standard_normal()
        spread = 0.62 * (1 - np.exp(-6 * t)) + 0.06
        sick = alarm and spread < 0.12
        rows.append({
            "step": step, "epoch": step * 32 // 2000,
            "loss": (0.95 * np.exp(-5 * t) + 0.38) * wobble,
            "prediction_loss": (0.62 * np.exp(-5 * t) + 0.29) * wobble,
            "regularizer_loss": (0.33 * np.exp(-5 * t) + 0.09) * wobble,
            "lr": 2e-3 * min(1, 10 * t) * (0.5 + 0.5 * np.cos(np.pi * t)),
            "weight_decay": 0.04 + 0.36 * t, "momentum": 0.97 + 0.0295 * t,
            "grad_norm": (1.8 * np.exp(-3 * t) + 0.35) * (1 + 0.2 * noise.random()),
            "num_frames": 8, "clips_per_second": 138 * (1 + 0.05 * noise.standard_normal()),
            "data_wait": 0.021 * (1 + noise.random()), "skipped_steps": 0,
            "health": "collapsing" if sick else "healthy",
            "health_reason": f"{spread:.0%} of the features' size depends on the clip",
            "context_std": 0.9 * spread, "target_std": 0.85 * spread,
            "context_spread": spread, "target_spread": 0.95 * spread,
            "context_rank": 2 + 41 * t, "target_rank": 2 + 38 * t, "rank_share": 0.021 + 0.4 * t,
            "error_vs_copy": 1.2 * np.exp(-4 * t) + 0.44,
            "error_vs_mean": 0.9 * np.exp(-4 * t) + 0.3,
            "motion": 0.3, "target_drift": 0.06 * np.sin(np.pi * min(1, 2 * t + 0.05)) + 0.02,
        })  # fmt: skip
    return rows


def probe_rows(arms: dict[str, tuple[float, ...]] | None = None) -> list[dict[str, Any]]:
    """Every arm on two tasks with a linear probe and kNN, three seeds."""
    rng = np.random.default_rng(5)
    rows = []
    for place, (task, chance) in enumerate(TASKS):
        for probe, less in (("linear", 0.0), ("kNN", 0.07)):
            for arm, means in (arms or ARMS).items():
                middle = max(chance, means[place] - less * (arm != "random init"))
                values = np.round(middle + 0.012 * rng.standard_normal(3), 4)
                half = 4.303 * values.std(ddof=1) / np.sqrt(3)
                rows.append({
                    "arm": arm, "role": ROLES.get(arm, "trained"), "task": task, "probe": probe,
                    "metric": "accuracy",
                    "values": values.tolist(), "seeds": [0, 1, 2], "mean": float(values.mean()),
                    "ci95": [float(values.mean() - half), float(values.mean() + half)],
                    "chance": chance, "n_train": 800, "n_validation": 200, "n_test": 400,
                    "train_seconds": None if arm == "random init" else 463.2,
                })  # fmt: skip
    return rows


def horizon_rows() -> list[dict[str, Any]]:
    """Better than copying everywhere, better than the mean only near by."""
    return [
        {"steps_ahead": k, "seconds_ahead": 0.25 * k, "error": 0.21 + 0.06 * k,
         "copy_error": 0.33 + 0.13 * k, "mean_error": 0.41}
        for k in range(1, 5)
    ]  # fmt: skip


def problems() -> list[dict[str, Any]]:
    """One of each kind, with names that a shell and a page find hard."""
    listed = [
        ("a clip cut <b>short</b>.mp4", "truncated", "31 of 120 frames can be decoded", True),
        ("empty.mp4", "empty_file", "0 bytes", True),
        ("notes & plans.mp4", "unreadable", "Invalid data found when processing input", True),
        ("sound only.mp4", "no_video_stream", "1 audio stream, no video", True),
        ("Überraschung ñ/3 frames.mp4", "too_short", "3 frames, 16 are needed", True),
        ("phone.mp4", "variable_frame_rate", "24.1 to 30.2 frames per second", False),
    ]
    return [
        {"path": path, "kind": kind, "reason": why, "fatal": fatal, "stage": "check", "count": 1}
        for path, kind, why, fatal in listed
    ] + [{"path": "late.mp4", "kind": "decode_failed", "reason": "broken packet at 3.2 s",
          "fatal": True, "stage": "train", "count": 14}]  # fmt: skip


def moving_shapes(clips: int = 4, time: int = 16, size: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """Frames of a disc over a noisy texture, and colours as a good encoder gives them."""
    rng = np.random.default_rng(1)
    y, x = np.mgrid[0:size, 0:size] / size
    frames = np.zeros((clips, time, size, size, 3), np.uint8)
    colours = np.zeros((clips, time // 2, 8, 8, 3), np.uint8)
    for clip in range(clips):
        angle, colour = rng.uniform(0, 2 * np.pi), rng.uniform(80, 255, 3)
        texture = 90 + 45 * np.sin(2 * np.pi * (x * rng.uniform(1, 4) + y * rng.uniform(1, 4)))
        for t in range(time):
            along = 0.38 * (2 * t / time - 1)
            cx, cy = 0.5 + along * np.cos(angle), 0.5 + along * np.sin(angle)
            disc = ((x - cx) ** 2 + (y - cy) ** 2 < 0.018)[..., None]
            picture = np.where(disc, colour, texture[..., None])
            noisy = picture + 20 * rng.standard_normal(picture.shape)
            frames[clip, t] = noisy.clip(0, 255).astype(np.uint8)
            if t % 2:
                bump = np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / 0.03)[4::8, 4::8]
                waves = 0.5 + 0.25 * np.stack([np.cos(3 * x), np.sin(3 * y), x - y], -1)[4::8, 4::8]
                mixed = waves * (1 - bump[..., None]) + bump[..., None] * np.array([1, 0.55, 0.1])
                colours[clip, t // 2] = (255 * mixed).clip(0, 255).astype(np.uint8)
    return frames, colours


def table_of(rows: list[dict[str, Any]], own: str | None = None) -> ProbeTable:
    """Rows as in a file, those without a role as well."""
    return ProbeTable.model_validate(upgraded({"rows": rows}, own=own))


def write_run(
    folder: Path,
    *,
    info: dict[str, Any] | None = None,
    journal: list[dict[str, Any]] | None = None,
    rows: list[dict[str, Any]] | None = None,
    bad: list[dict[str, Any]] | None = None,
    parts: tuple[str, ...] = ("recipe", "problems", "probes", "horizon", "pca"),
) -> Path:
    """Write a run directory; `parts` says which optional files it holds."""
    (folder / "results").mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps(info or run_info()))
    lines = [json.dumps(row) for row in (journal_rows() if journal is None else journal)]
    (folder / "journal.jsonl").write_text("".join(line + "\n" for line in lines))
    if "recipe" in parts:
        (folder / "recipe.yaml").write_text(RECIPE)
    if "problems" in parts:
        (folder / "problems.json").write_text(json.dumps(problems() if bad is None else bad))
    if "probes" in parts:
        table = {"rows": rows or probe_rows(), "notes": ["The weight was chosen on validation."]}
        (folder / "results/probes.json").write_text(json.dumps(table))
    if "horizon" in parts:
        table = {"rows": horizon_rows(), "unit": "mean squared error of layer-normed features"}
        (folder / "results/horizon.json").write_text(json.dumps(table))
    if "pca" in parts:
        frames, colours = moving_shapes()
        np.savez(
            folder / "results/pca.npz",
            frames=frames,
            pca=colours,
            explained=np.array([0.41, 0.19, 0.08]),
            names=np.array([f"test/clip_{i:04d}.mp4" for i in range(len(frames))]),
        )
    return folder
