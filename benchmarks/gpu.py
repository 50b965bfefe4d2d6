"""Everything that a GPU is to be asked, in one command that needs nothing but this folder.

    make gpu                                      # tests, then every benchmark; about eight minutes
    python benchmarks/gpu.py --out build/gpu --parts step training
    python benchmarks/gpu.py --device cpu --quick # the same road on the CPU, tiny: does it run?

Each part is a process of its own with a limit of its own: one that fails or takes too long is
reported, and the others go on. What they print is printed as it comes and kept in the folder, with
tables (`.md`) and figures (`.json`) beside it.

    tests      the tests marked `cuda`
    step       the train step of recipe vjepa2 at its full size: benchmarks/published_step.py
    training   a run of recipe vjepa2 (ViT-B, 16 x 224 x 224) on H.264 files: who waits for whom
    encoder    ViT-L beside transformers: benchmarks/encoder.py
    seed       factorized against joint attention, Base: benchmarks/train_step.py
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PARTS = {"tests": 150, "step": 130, "training": 60, "encoder": 90, "seed": 100}
"""Seconds that each part may take: nine minutes at most."""


def main() -> int:
    """Run the parts; the number of those that failed."""
    options = parse(sys.argv[1:])
    out = Path(options.out).absolute()
    out.mkdir(parents=True, exist_ok=True)
    outcomes: dict[str, str] = {}
    for part in options.parts:
        start = time.perf_counter()
        print(f"\n===== {part}", flush=True)
        outcomes[part] = run(COMMANDS[part](options, out), part, out, options)
        outcomes[part] += f" after {time.perf_counter() - start:.0f} s"
        print(f"===== {part}: {outcomes[part]}", flush=True)
    print("\n" + "\n".join(f"{part:10} {outcome}" for part, outcome in outcomes.items()))
    return sum(not outcome.startswith("done") for outcome in outcomes.values())


def parse(arguments: list[str]) -> argparse.Namespace:
    """Command-line options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda", choices=["cpu", "cuda"])
    parser.add_argument("--out", default="build/gpu", help="folder for what comes out")
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=[*PARTS])
    parser.add_argument("--quick", action="store_true", help="tiny sizes: does it run?")
    parser.add_argument("--train", metavar="FOLDER", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.train:
        sys.exit(train(Path(options.train), options))
    return options


def run(command: list[str], part: str, out: Path, options: argparse.Namespace) -> str:
    """Run one part; what became of it."""
    paths = [str(HERE.parent), os.environ.get("PYTHONPATH", "")]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        "PYTHONUNBUFFERED": "1",
        "NEXUS_TEST_DEVICE": options.device,
    }
    log = out / f"{part}.log"
    with log.open("w") as file:
        process = subprocess.Popen(
            ["timeout", str(PARTS[part]), *command],
            cwd=HERE.parent,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            file.write(line)
        status = process.wait()
    return "done" if status == 0 else f"FAILED (status {status})"


def benchmark(name: str) -> Callable[[argparse.Namespace, Path], list[str]]:
    """The command of one of the other scripts."""

    def command(options: argparse.Namespace, out: Path) -> list[str]:
        script, *given = name.split()
        quick = ["--quick"] if options.quick else given
        files = ["--json", str(out / f"{script}.json"), "--markdown", str(out / f"{script}.md")]
        device = ["--device", options.device]
        return [sys.executable, str(HERE / f"{script}.py"), *device, *quick, *files]

    return command


def tests(_options: argparse.Namespace, out: Path) -> list[str]:
    """The command of the tests."""
    temporary = f"--basetemp={out / 'tests'}"
    flags = ["-q", "-m", "cuda", "-p", "no:cacheprovider", "--durations=5", temporary]
    return [sys.executable, "-m", "pytest", *flags, "tests/cuda"]


def training(options: argparse.Namespace, out: Path) -> list[str]:
    """This script again, to train."""
    flags = ["--device", options.device, *(["--quick"] if options.quick else [])]
    return [sys.executable, __file__, *flags, "--train", str(out)]


def train(out: Path, options: argparse.Namespace) -> int:
    """Write videos, train on them, say how fast it went and who waited for whom."""
    import data

    import nexus

    flags = ["--videos", "4" if options.quick else "48", "--seconds", "2" if options.quick else "6"]
    size = "96x64" if options.quick else "640x360"
    data.write_videos(out / "videos", size, data.parse(flags))
    overrides = {
        "model.size": "tiny" if options.quick else "vit_b",
        "model.img_size": 32 if options.quick else 224,
        "model.positions": "learned" if options.quick else "rope_tiled",
        "training.device": options.device,
        "training.batch_size": 2 if options.quick else 64,
        "training.accumulation": 1,
        "training.curriculum": "[]",
        "training.steps": 4 if options.quick else 60,
        "training.log_every": 1 if options.quick else 5,
        "training.checkpoint_every": 10_000,
        "training.gradient_checkpointing": False,
        "optim.warmup_steps": 2,
        "optim.cooldown_steps": 1,
    }
    given = [f"{key}={value}" for key, value in overrides.items()]
    run = out / "run"
    nexus.pretrain(out / "videos", run, recipe="vjepa2", overrides=given, report=False)
    lines = (run / "journal.jsonl").read_text().splitlines()
    rows: list[dict[str, Any]] = [json.loads(line) for line in lines]
    later = rows[len(rows) // 3 :]
    medians = {
        key: statistics.median(row[key] for row in later)
        for key in ("clips_per_second", "data_wait")
    }
    (out / "training.json").write_text(json.dumps({"rows": rows, **medians}, indent=2) + "\n")
    print(
        f"{size} H.264, {os.cpu_count()} cores: {medians['clips_per_second']:.1f} clips/s, waiting "
        f"for data {medians['data_wait']:.0%} of the time; loss {rows[0]['loss']:.4f} to "
        f"{rows[-1]['loss']:.4f}, {rows[-1]['health']}"
    )
    return 0


COMMANDS: dict[str, Callable[[argparse.Namespace, Path], list[str]]] = {
    "tests": tests,
    "step": benchmark("published_step"),
    "encoder": benchmark("encoder --precisions bf16 --rounds 3"),
    "training": training,
    "seed": benchmark("train_step --frames 16 64 --precisions bf16 --no-compile --rounds 3"),
}


if __name__ == "__main__":
    sys.exit(main())
