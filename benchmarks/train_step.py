"""The whole V-JEPA train step: clips a second, share of the machine's matrix rate, peak memory.

    python benchmarks/train_step.py                    # Tiny on the CPU (192-d, 12 blocks), batch 1
    python benchmarks/train_step.py --device cuda      # Base, batch 8, with and without compilation
    python benchmarks/train_step.py --quick            # a minute: does it run?
    python benchmarks/train_step.py --json step.json --markdown step.md

A step is forward (context encoder, predictor, target encoder), backward, AdamW and EMA, with the
seed's mask. For each clip length all configurations stand ready in processes of their own and take
turns, round after round, so that whatever else the machine does meets all of them alike; medians
and spreads are over rounds, ratios are taken within each round. `GFLOPS` counts useful operations
by formula (`flops.py`); `of GEMM` is their share of what a plain large matrix product reaches in
the same type in the same run.

Peak memory is what a step needs beyond weights, EMA weights, optimizer state and the clips: on the
CPU the most resident memory that the process ever had less what it held before its first step; on
CUDA the same of PyTorch's allocations. Gradients are among it: they come and go with each step.
"""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from machine import QUICK, describe, gemm_rate
from step_report import report
from step_worker import TURN_SECONDS, Case, Worker
from waiting import progress

Row = dict[str, Any]


def main() -> None:
    """Measure, print, write."""
    options = parse(sys.argv[1:])
    torch.set_num_threads(options.threads)
    result: dict[str, Any] = {"machine": describe(options.device), "options": vars(options)}
    result |= {"gemm": {}, "rows": []}
    for frames in options.frames:
        for precision in options.precisions:
            dtype = torch.float32 if precision == "fp32" else torch.bfloat16
            rate = gemm_rate(dtype, options.device, **(QUICK if options.quick else {}))
            result["gemm"].setdefault(precision, []).append(rate)
        result["rows"] += measure(cases(frames, options), options)
    text = report(result)
    print(text)
    if options.markdown:
        Path(options.markdown).write_text(text + "\n")
    if options.json:
        Path(options.json).write_text(json.dumps(result, indent=2) + "\n")


def cases(frames: int, options: argparse.Namespace) -> list[Case]:
    """All configurations of a clip length; checkpointing in the first type only, uncompiled."""
    return [
        Case(
            frames=frames,
            factorized=stack == "factorized",
            precision=precision,
            checkpointing=checkpointing,
            compiled=compiled,
            size=options.size,
            pixels=options.pixels,
            batch=options.batch,
            device=options.device,
            threads=options.threads,
        )
        for compiled in ([False, True] if options.compile else [False])
        for precision in options.precisions
        for checkpointing in (False, True)
        for stack in ("factorized", "joint")
        if not (checkpointing and (compiled or precision != options.precisions[0]))
    ]


def measure(configurations: list[Case], options: argparse.Namespace) -> list[Row]:
    """Let the configurations take turns; one row each."""
    workers: dict[Case, Worker] = {}
    failures: dict[Case, str] = {}
    steps: dict[Case, int] = {}

    def attempt(case: Case, what: Any) -> Any:
        """A configuration that does not fit is reported, and the others go on."""
        try:
            return what()
        except RuntimeError as error:
            failures[case] = str(error)
            if case in workers:
                workers.pop(case).stop()
            return None

    try:
        for case in configurations:
            worker = attempt(case, lambda case=case: Worker(case))
            if worker is None:
                continue
            workers[case] = worker
            for _ in range(2 if case.compiled else 1):  # the first steps allocate, and compile
                seconds = attempt(case, lambda worker=worker: worker.turn(1))
                if seconds is None:
                    break
                steps[case] = max(1, round(TURN_SECONDS / seconds))
            progress(f"{case.frames} frames: {len(workers)} of {len(configurations)} ready")
        frames = configurations[0].frames
        rounds = options.rounds or max(3, 7 - frames // 16)  # long clips take a minute a round
        for number in range(rounds):
            progress(f"{frames} frames: round {number + 1} of {rounds}")
            for case, worker in list(workers.items()):
                seconds = attempt(case, lambda w=worker, n=steps[case]: w.turn(n))
                if seconds is not None:
                    worker.seconds.append(seconds)
        peaks = {case: attempt(case, worker.finish) for case, worker in list(workers.items())}
        return [row(case, workers.get(case), peaks.get(case), failures) for case in configurations]
    finally:
        for worker in workers.values():
            worker.stop()
        progress("")


def row(case: Case, worker: Worker | None, peak: Row | None, failures: dict[Case, str]) -> Row:
    """Plain values of a configuration."""
    if worker is None or peak is None:
        return {**asdict(case), "failed": failures[case]}
    flops = worker.facts["flops"]
    return {
        **asdict(case),
        "seconds": worker.seconds,
        "peak": peak["peak"],
        "baseline": worker.facts["baseline"],
        "encoder_parameters": worker.facts["encoder_parameters"],
        "flops": {**asdict(flops), "total": flops.total},
    }


def parse(arguments: list[str]) -> argparse.Namespace:
    """Command-line options; what is left open depends on the device and on `--quick`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--size", help="tiny, small, base, large or huge")
    parser.add_argument("--frames", type=int, nargs="+", help="clip lengths (16 32 64)")
    parser.add_argument("--pixels", type=int, help="side of the frames (224)")
    parser.add_argument("--batch", type=int, help="clips a step (CPU 1, CUDA 8)")
    parser.add_argument("--precisions", nargs="+", choices=["fp32", "bf16"])
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=None)
    parser.add_argument("--rounds", type=int, help="turns of each (3 to 6, by clip length)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--quick", action="store_true", help="small clips, one round")
    parser.add_argument("--json", metavar="PATH", help="also write the figures")
    parser.add_argument("--markdown", metavar="PATH", help="also write the tables")
    options = parser.parse_args(arguments)
    cuda, quick = options.device == "cuda", options.quick
    defaults = {
        "size": "base" if cuda and not quick else "tiny",
        "frames": [8, 16] if quick else [16, 32, 64],
        "pixels": 64 if quick else 224,
        "batch": 8 if cuda else 1,
        "precisions": ["bf16", "fp32"] if cuda else ["fp32", "bf16"],
        "compile": cuda and not quick,
        "rounds": 2 if quick else 0,
    }
    for name, value in defaults.items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    if min(options.batch, options.threads) < 1:
        parser.error("--batch and --threads must be at least 1")
    return options


if __name__ == "__main__":
    main()
