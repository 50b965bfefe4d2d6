"""The train step of recipe `vjepa2` as a run takes it, at its full size: ViT-L, 256 x 256.

    python benchmarks/published_step.py --device cuda
    python benchmarks/published_step.py --quick          # tiny, anywhere: does it run?
    python benchmarks/published_step.py --device cuda --json step.json --markdown step.md

A step is what `nexus pretrain` does between two batches: pixels to floats, two mask families,
context encoder, predictor, target encoder, backward in bf16, AdamW and EMA. Eager and compiled,
with and without gradient checkpointing, at 16 and at 64 frames. Useful FLOPs are counted by formula
(`flops.py`) for the masks that were drawn; `of matrix rate` is their share of what one large
product reaches in the same run. `first step` has the compilation in it. Then a profile of a step
at the first length: what the device spends its time on, and for which share of the time it has
something to do.
"""

import argparse
import gc
import json
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from flops import train_step
from machine import QUICK, describe, gemm_rate, wait
from torch.profiler import ProfilerActivity, profile

from nexus.data.loading.batch import Batch
from nexus.models.ssl import VJEPAModel
from nexus.training.cpu import tune
from nexus.training.environment import choose_device
from nexus.training.optim import build_optimizer
from nexus.training.recipe import load_recipe
from nexus.training.step import TrainStep

ARMS = {
    "eager": (False, False),
    "compiled": (True, False),
    "checkpointing": (False, True),
    "compiled, checkpointing": (True, True),
}
"""Name: compiled, checkpointing."""
FULL = {16: 16, 64: 4}
"""Clips a step, by their length: the same number of tokens."""
TINY = (
    "model.img_size=32", "model.patch_size=8", "model.encoder_dim=24", "model.num_heads=2",
    "model.num_spatial_layers=2", "model.num_temporal_layers=0", "model.predictor_dim=24",
    "model.predictor_heads=2", "model.num_predictor_layers=1",
)  # fmt: skip
TOP = 14
"""Operations that the profile names."""


def main() -> None:
    """Measure, print as it goes, write."""
    options = parse(sys.argv[1:])
    choose_device(options.device)  # as a run does, before memory is taken
    result: dict[str, Any] = {"machine": describe(options.device), "options": vars(options)}
    result["gemm"] = gemm_rate(torch.bfloat16, options.device, **(QUICK if options.quick else {}))
    result["rows"] = []
    print(head(result), flush=True)
    for row in rows(options):
        result["rows"].append(row)
        print(line(row, result["gemm"]), flush=True)
    text = "\n".join([head(result), *(line(row, result["gemm"]) for row in result["rows"])])
    result["profiles"] = {}
    for arm in ("eager", "compiled"):
        if arm in options.arms:
            result["profiles"][arm] = profiled(arm, options)
            table = profile_table(arm, result["profiles"][arm])
            print("\n" + table, flush=True)
            text += "\n\n" + table
    if options.markdown:
        Path(options.markdown).write_text(text + "\n")
    if options.json:
        Path(options.json).write_text(json.dumps(result, indent=2, default=str) + "\n")


def parse(arguments: list[str]) -> argparse.Namespace:
    """Command-line options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--frames", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=list(ARMS))
    parser.add_argument("--steps", type=int, default=12, help="timed steps of each arm")
    parser.add_argument("--quick", action="store_true", help="tiny clips and model, two steps")
    parser.add_argument("--json", help="also write every figure to this file")
    parser.add_argument("--markdown", help="also write the tables to this file")
    options = parser.parse_args(arguments)
    if options.quick:
        options.steps, options.frames = 2, [4]
    return options


def rows(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """One row an arm; one that does not fit into memory says so, and the others go on."""
    for frames in options.frames:
        for name in options.arms:
            try:
                yield {"frames": frames, "arm": name, **Step(frames, name, options).measure()}
            except torch.OutOfMemoryError as error:
                yield {"frames": frames, "arm": name, "failed": str(error).splitlines()[0]}
            gc.collect()
            if options.device == "cuda":
                torch.cuda.empty_cache()


class Step:
    """A model, its optimizer and a batch of pixels."""

    def __init__(self, frames: int, arm: str, options: argparse.Namespace) -> None:
        compiled, checkpointing = ARMS[arm]
        small = TINY if options.quick else ()
        recipe = load_recipe("vjepa2", [f"model.num_frames={frames}", *small])
        torch.manual_seed(0)
        self.options, self.clips = options, 2 if options.quick else FULL[frames]
        with choose_device(options.device):  # fresh weights are drawn there: many, quickly
            self.model = VJEPAModel(recipe.model_settings).train()
        tune(self.model)
        self.model.enable_gradient_checkpointing(checkpointing)
        if compiled:
            self.model.compile_stacks()
        self.flops: list[float] = []
        self._count_flops()
        self.take = TrainStep(
            self.model,
            build_optimizer(self.model, recipe.optim),
            precision="bf16",
            device=torch.device(options.device),
        )
        config = self.model.config
        shape = (self.clips, 3, frames, *config.image_sides)
        self.batch = Batch(torch.randint(256, shape, dtype=torch.uint8)).to(options.device)
        self.number = 0

    def _count_flops(self) -> None:
        draw = self.model.draw_masks

        def counted(*given: Any) -> Any:
            masks = draw(*given)
            self.flops.append(train_step(self.model.config, masks).total)
            return masks

        self.model.draw_masks = counted  # masks differ in size from step to step

    def one(self) -> None:
        """A step."""
        result = self.take([self.batch], self.number, planned=self.clips)
        assert result.applied, "the loss is not finite"
        self.number += 1

    def measure(self) -> dict[str, Any]:
        """Seconds a step, useful FLOPs a second, and the most memory that was held at once."""
        device = self.options.device
        start = time.perf_counter()
        self.one()
        wait(device)
        first = time.perf_counter() - start
        for _ in range(1 if self.options.quick else 4):
            self.one()
        if device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        self.flops.clear()
        seconds = []
        for _ in range(self.options.steps):
            wait(device)
            start = time.perf_counter()
            self.one()
            wait(device)
            seconds.append(time.perf_counter() - start)
        peak = torch.cuda.max_memory_allocated() if device == "cuda" else None
        return {
            "clips": self.clips, "seconds": seconds, "flops": self.flops, "first": first,
            "peak": peak,
        }  # fmt: skip


def profiled(arm: str, options: argparse.Namespace) -> dict[str, Any]:
    """Device time of a step by operation, and as a share of the time that passes."""
    step = Step(options.frames[0], arm, options)
    for _ in range(2):
        step.one()
    cuda = options.device == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
    count = 2
    wait(options.device)
    with profile(activities=activities) as record:
        start = time.perf_counter()
        for _ in range(count):
            step.one()
        wait(options.device)
        passed = time.perf_counter() - start
    times = {
        event.key: (event.self_device_time_total if cuda else event.self_cpu_time_total) / 1e6
        for event in record.key_averages()
        if not cuda or event.device_type == torch.autograd.DeviceType.CUDA
    }
    top = sorted(times, key=lambda key: -times[key])[:TOP]
    return {
        "seconds_per_step": passed / count,
        "busy": sum(times.values()) / passed,
        "top": {key: times[key] / count for key in top},
    }


def head(result: dict[str, Any]) -> str:
    """Where this ran, and the head of the table."""
    machine = result["machine"]
    where = machine["gpu"] or machine["cpu"]
    return "\n".join(
        [
            f"{where}; torch {machine['torch']}; {machine['date']}; one bf16 product reaches "
            f"{result['gemm'] / 1e12:.3g} TFLOP/s.",
            "",
            "| frames | arm | clips a step | s a step (lowest-highest) | clips/s | useful TFLOP/s "
            "| of matrix rate | peak GiB | first step, s |",
            "|---|---|---|---|---|---|---|---|---|",
        ]
    )


def line(row: dict[str, Any], gemm: float) -> str:
    """A row of the table."""
    if "failed" in row:
        return f"| {row['frames']} | {row['arm']} | {row['failed']} |||||||"
    seconds = row["seconds"]
    rate = statistics.median(f / s for f, s in zip(row["flops"], seconds, strict=True))
    peak = "" if row["peak"] is None else f"{row['peak'] / 2**30:.1f}"
    return (
        f"| {row['frames']} | {row['arm']} | {row['clips']} | {statistics.median(seconds):.4f} "
        f"({min(seconds):.4f}-{max(seconds):.4f}) | "
        f"{row['clips'] / statistics.median(seconds):.1f} | {rate / 1e12:.3g} | {rate / gemm:.0%} "
        f"| {peak} | {row['first']:.1f} |"
    )


def profile_table(arm: str, result: dict[str, Any]) -> str:
    """What the time of a step goes to."""
    lines = [
        f"A profiled step ({arm}) takes {1e3 * result['seconds_per_step']:.1f} ms, "
        f"{result['busy']:.0%} of it spent in:",
        "",
        "| operation | ms a step |",
        "|---|---|",
    ]
    lines += [f"| `{name[:90]}` | {1e3 * time:.2f} |" for name, time in result["top"].items()]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
