"""V-JEPA 2's encoder and train step: nexus beside transformers, and beside the floor.

    python benchmarks/encoder.py                         # on the CPU
    python benchmarks/encoder.py --device cuda           # ViT-L, 16 and 64 frames, and compiled
    python benchmarks/encoder.py --quick                 # does it run?
    python benchmarks/encoder.py --json encoder.json --markdown encoder.md

Both models hold the same weights (checked: equal features) and take turns, round after round, so
that whatever else the machine does meets both alike; ratios are taken within each round, their
medians and spreads are printed.

- inference: features of whole clips;
- training: forward and backward of the encoder over whole clips, the way transformers can;
- floor: only the matrix products and the attention calls of the same pass, on the same kernels,
  nothing else between them.
- step: the whole train step of recipe `vjepa2` (two mask families, predictor, target encoder,
  AdamW, EMA) in useful FLOPs a second, beside the machine's plain matrix rate. transformers has no
  such step: it encodes the whole clip and masks afterwards.

Types: `bf16` is autocast over fp32 weights, as training uses it, in every arm.
"""

import argparse
import copy
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from flops import train_step
from machine import QUICK, describe, gemm_rate, wait
from torch import nn

from nexus.models.ssl import VJEPAModel
from nexus.nn.attention import attend
from nexus.training.cpu import tune

TURN_SECONDS = 0.4
Arm = Callable[[], Any]


@dataclass(frozen=True)
class Shape:
    """A model and its clips."""

    dim: int
    heads: int
    layers: int
    frames: int
    pixels: int
    batch: int

    def __str__(self) -> str:
        clip = f"{self.frames}x{self.pixels}x{self.pixels}"
        return f"{self.dim}-d, {self.layers} layers, {self.batch} x {clip}"


CPU_SHAPES = [
    Shape(192, 3, 12, 16, 128, 4),
    Shape(384, 6, 12, 16, 128, 2),
    Shape(1024, 16, 4, 16, 128, 1),
]
CUDA_SHAPES = [Shape(1024, 16, 24, 16, 256, 8), Shape(1024, 16, 24, 64, 256, 2)]
ROUNDING = {"cpu": 1e-5, "cuda": 1e-4}
"""Largest difference between the two in fp32, as a share of the largest feature."""
STEP = {
    "predictor_dim": 96, "predictor_heads": 3, "num_predictor_layers": 6, "mask": "multiblock",
    "loss": "l1", "target_norm": "layer", "ema_momentum": 0.99925, "ema_schedule": "constant",
    "num_mask_tokens": 10, "mask_token_std": 0.0,
}  # fmt: skip


def main() -> None:
    """Measure, print, write."""
    options = parse(sys.argv[1:])
    torch.set_num_threads(options.threads)
    result: dict[str, Any] = {"machine": describe(options.device), "options": vars(options)}
    result["gemm"] = {
        precision: gemm_rate(
            dtype_of(precision), options.device, **(QUICK if options.quick else {})
        )
        for precision in options.precisions
    }
    result["rows"] = []
    for shape in shapes(options):
        for precision in options.precisions:
            result["rows"] += encoder_rows(shape, precision, options)
    result["steps"] = [
        step_row(shapes(options)[0], precision, options) for precision in options.precisions
    ]
    text = report(result)
    print(text)
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
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--precisions", nargs="+", default=["fp32", "bf16"])
    parser.add_argument("--quick", action="store_true", help="tiny shapes, one round")
    parser.add_argument("--json", help="also write every figure to this file")
    parser.add_argument("--markdown", help="also write the tables to this file")
    options = parser.parse_args(arguments)
    if options.quick:
        options.rounds = 1
    return options


def shapes(options: argparse.Namespace) -> list[Shape]:
    """What is measured on this device."""
    if options.quick:
        return [Shape(48, 2, 2, 4, 32, 2)]
    return CUDA_SHAPES if options.device == "cuda" else CPU_SHAPES


def dtype_of(precision: str) -> torch.dtype:
    """The type of the matrix products."""
    return {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]


def config_of(shape: Shape) -> dict[str, Any]:
    """V-JEPA 2's architecture in this shape."""
    return {
        "encoder_dim": shape.dim, "num_heads": shape.heads, "factorized": False,
        "num_spatial_layers": shape.layers, "num_temporal_layers": 0, "img_size": shape.pixels,
        "num_frames": shape.frames, "positions": "rope_tiled", **STEP,
    }  # fmt: skip


def encoder_rows(shape: Shape, precision: str, options: argparse.Namespace) -> list[dict]:
    """Inference and training of the encoder: ours, theirs, and the floor, in turns."""
    torch.manual_seed(0)
    ours = VJEPAModel(config_of(shape)).context_encoder.to(options.device)
    theirs = transformers_twin(ours, shape).to(options.device)
    clip_shape = (shape.batch, 3, shape.frames, shape.pixels, shape.pixels)
    video = torch.randn(clip_shape, device=options.device)
    turned = video.transpose(1, 2)
    floor = Floor(shape).to(options.device)
    tune(ours)
    tune(floor)
    with torch.no_grad():
        mine, other = ours(video), theirs(turned).last_hidden_state
    apart = float((mine - other).abs().max() / other.abs().max())
    assert apart < ROUNDING[options.device], f"the two models differ by {apart}"
    arms: dict[str, Callable[[], torch.Tensor]] = {
        "nexus": lambda: ours(video),
        "transformers": lambda: theirs(turned).last_hidden_state,
        "floor": lambda: floor(video),
    }
    if options.device == "cuda":
        compiled, compiled_theirs = copy.deepcopy(ours), copy.deepcopy(theirs)
        compiled.compile_stacks()
        for layer in compiled_theirs.layer:  # block by block as well
            layer.compile(dynamic=True)
        arms["nexus, compiled"] = lambda: compiled(video)
        arms["transformers, compiled"] = lambda: compiled_theirs(turned).last_hidden_state
    rows = []
    for mode in ("inference", "training"):
        run = {name: runner(arm, mode, precision, options.device) for name, arm in arms.items()}
        seconds = in_turns(run, options)
        rows.append(
            {
                "shape": str(shape), "precision": precision, "mode": mode, "difference": apart,
                "clips": shape.batch, "seconds": seconds,
            }
        )  # fmt: skip
    return rows


def runner(arm: Callable[[], torch.Tensor], mode: str, precision: str, device: str) -> Arm:
    """One pass of an arm: forward, or forward and backward."""

    def infer() -> None:
        with torch.inference_mode(), autocast(precision, device):
            arm()

    def train() -> None:
        with autocast(precision, device):
            out = arm()
        out.float().square().mean().backward()

    return infer if mode == "inference" else train


def autocast(precision: str, device: str) -> torch.autocast:
    """bf16 autocast, or none."""
    return torch.autocast(device, torch.bfloat16, enabled=precision == "bf16")


def in_turns(arms: dict[str, Arm], options: argparse.Namespace) -> dict[str, list[float]]:
    """Seconds a pass of every arm in every round."""
    repeats = {}
    for name, arm in arms.items():
        for _ in range(1 if options.quick else 3):
            arm()
        once = timed(arm, 1, options.device)
        repeats[name] = 1 if options.quick else max(1, round(TURN_SECONDS / once))
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    for number in range(options.rounds):
        order = list(arms) if number % 2 == 0 else list(arms)[::-1]
        for name in order:
            seconds[name].append(timed(arms[name], repeats[name], options.device))
    return seconds


def timed(arm: Arm, repeats: int, device: str) -> float:
    """Seconds a pass."""
    wait(device)
    start = time.perf_counter()
    for _ in range(repeats):
        arm()
    wait(device)
    return (time.perf_counter() - start) / repeats


class Floor(nn.Module):
    """The same matrix products and attention calls, and as little as can be between them."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        dim = shape.dim
        self.shape = shape
        self.tokens = (shape.frames // 2) * (shape.pixels // 16) ** 2
        self.embed = nn.Linear(3 * 2 * 16 * 16, dim)
        self.layers = nn.ModuleList(
            nn.ModuleList(
                nn.Linear(*sides)
                for sides in ((dim, 3 * dim), (dim, dim), (dim, 4 * dim), (4 * dim, dim))
            )
            for _ in range(shape.layers)
        )

    def forward(self, video: torch.Tensor) -> torch.Tensor:
        """Products of the right shapes; the numbers mean nothing."""
        shape = self.shape
        x = self.embed(video.reshape(shape.batch, self.tokens, -1))
        head_dim = shape.dim // shape.heads
        for qkv, proj, fc1, fc2 in self.layers:  # pyright: ignore
            parts = qkv(x).view(shape.batch, self.tokens, 3, shape.heads, head_dim)
            query, key, value = parts.permute(2, 0, 3, 1, 4).unbind(0)
            x = attend(query, key, value)
            x = proj(x.transpose(1, 2).reshape(shape.batch, self.tokens, shape.dim))
            x = fc2(fc1(x))
        return x


def transformers_twin(encoder: nn.Module, shape: Shape) -> nn.Module:
    """transformers' encoder with the same weights."""
    from transformers import VJEPA2Config, VJEPA2Model

    config = VJEPA2Config(
        patch_size=16, crop_size=shape.pixels, frames_per_clip=shape.frames, tubelet_size=2,
        hidden_size=shape.dim, num_attention_heads=shape.heads, num_hidden_layers=shape.layers,
        mlp_ratio=4.0, pred_hidden_size=24, pred_num_attention_heads=4, pred_num_hidden_layers=1,
    )  # fmt: skip
    twin = VJEPA2Model(config).encoder
    state = encoder.state_dict()
    named: dict[str, torch.Tensor] = {}
    for name in ("weight", "bias"):
        named[f"embeddings.patch_embeddings.proj.{name}"] = state[f"embed.proj.{name}"]
        named[f"layernorm.{name}"] = state[f"norm.{name}"]
        for block in range(shape.layers):
            mine, other = f"stack.blocks.{block}", f"layer.{block}"
            split = state[f"{mine}.attn.qkv.{name}"].chunk(3)
            for part, tensor in zip(("query", "key", "value"), split, strict=True):
                named[f"{other}.attention.{part}.{name}"] = tensor
            named[f"{other}.attention.proj.{name}"] = state[f"{mine}.attn.proj.{name}"]
            for part in ("norm1", "norm2", "mlp.fc1", "mlp.fc2"):
                named[f"{other}.{part}.{name}"] = state[f"{mine}.{part}.{name}"]
    twin.load_state_dict(named)
    return twin


def step_row(shape: Shape, precision: str, options: argparse.Namespace) -> dict[str, Any]:
    """The whole train step of recipe `vjepa2`."""
    torch.manual_seed(0)
    model = VJEPAModel(config_of(shape)).to(options.device).train()
    tune(model)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4, weight_decay=0.04, fused=True)
    clip_shape = (shape.batch, 3, shape.frames, shape.pixels, shape.pixels)
    video = torch.randn(clip_shape, device=options.device)
    useful: list[float] = []

    def step() -> None:
        with autocast(precision, options.device):
            loss, _ = model(video, meters=False)
        loss.backward()
        optimizer.step()
        model.update_target()
        optimizer.zero_grad(set_to_none=True)

    draw = model.draw_masks

    # Masks differ in size from step to step: the FLOPs of each step's own are counted.
    def counted(*args: Any) -> Any:
        masks = draw(*args)
        useful.append(train_step(model.config, masks).total)
        return masks

    model.draw_masks = counted
    for _ in range(1 if options.quick else 5):
        step()
    rates = []
    for _ in range(options.rounds):
        useful.clear()
        wait(options.device)
        start = time.perf_counter()
        for _ in range(1 if options.quick else 4):
            step()
        wait(options.device)
        rates.append(sum(useful) / (time.perf_counter() - start))
    return {
        "shape": str(shape), "precision": precision, "flops_per_second": rates,
        "flops_per_step": statistics.mean(useful),
    }  # fmt: skip


def report(result: dict[str, Any]) -> str:
    """The tables as Markdown."""
    machine, gemm = result["machine"], result["gemm"]
    where = machine["gpu"] or f"{machine['cpu']}, {machine['threads']} threads"
    rates = ", ".join(f"{name} {rate / 1e9:.0f}" for name, rate in gemm.items())
    lines = [
        f"{where}; torch {machine['torch']}; {machine['date']}; load before "
        f"{machine['load_before']}. GEMM rate in GFLOPS: {rates}.",
        "",
        "| encoder | type | pass | arm | clips/s "
        "| times transformers (lowest-highest) | floor / arm |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in result["rows"]:
        for name, seconds in row["seconds"].items():
            if name == "floor":
                continue
            lines.append(
                f"| {row['shape']} | {row['precision']} | {row['mode']} | {name} | "
                f"{row['clips'] / statistics.median(seconds):.2f} | "
                f"{spread(row['seconds']['transformers'], seconds)} | "
                f"{ratio(row['seconds']['floor'], seconds):.0%} |"
            )
    lines += [
        "",
        "| whole `vjepa2` train step | type | GFLOPS (lowest-highest) | of GEMM | GFLOP a step |",
        "|---|---|---|---|---|",
    ]
    for row in result["steps"]:
        rates = [rate / 1e9 for rate in row["flops_per_second"]]
        lines.append(
            f"| {row['shape']} | {row['precision']} | {statistics.median(rates):.0f} "
            f"({min(rates):.0f}-{max(rates):.0f}) | "
            f"{1e9 * statistics.median(rates) / gemm[row['precision']]:.0%} | "
            f"{row['flops_per_step'] / 1e9:.1f} |"
        )
    return "\n".join(lines)


def ratio(base: list[float], other: list[float]) -> float:
    """The median of the rounds' ratios."""
    return statistics.median(a / b for a, b in zip(base, other, strict=True))


def spread(base: list[float], other: list[float]) -> str:
    """The same with its extremes."""
    ratios = [a / b for a, b in zip(base, other, strict=True)]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"


if __name__ == "__main__":
    main()
