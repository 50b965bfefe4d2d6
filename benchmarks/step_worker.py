"""One configuration of the train step, measured in a process of its own.

The process builds model and optimizer, says how much memory it then holds, and runs steps whenever
it is told to. So configurations can take turns, and each has a peak of memory of its own.
"""

import gc
import multiprocessing
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import torch
from flops import train_step
from machine import resident, wait

from nexus.models.presets import preset
from nexus.models.ssl import VJEPAModel
from nexus.training.cpu import tune

TURN_SECONDS = 0.5
"""A turn holds as many steps as fit: short steps alone would be at the clock's mercy."""


@dataclass(frozen=True)
class Case:
    """What is measured."""

    frames: int
    factorized: bool
    precision: str
    checkpointing: bool
    compiled: bool
    size: str
    pixels: int
    batch: int
    device: str
    threads: int

    @property
    def dtype(self) -> torch.dtype:
        """Type of the matrix products."""
        return {"fp32": torch.float32, "bf16": torch.bfloat16}[self.precision]


class Worker:
    """The other end: starts the process and asks it for things."""

    def __init__(self, case: Case) -> None:
        self.case = case
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs, case), daemon=True)
        self.process.start()
        theirs.close()
        self.facts = self.answer()
        self.seconds: list[float] = []

    def turn(self, steps: int) -> float:
        """Run some steps; seconds a step."""
        self.pipe.send(steps)
        return self.answer()

    def finish(self) -> dict[str, Any]:
        """Peak memory; the process ends."""
        self.pipe.send(0)
        answer = self.answer()
        self.process.join()
        return answer

    def stop(self) -> None:
        """End the process, whatever it does."""
        self.process.kill()
        self.process.join()

    def answer(self) -> Any:
        """What the process says, or the error that it met."""
        try:
            answer = self.pipe.recv()
        except EOFError:
            self.process.join()
            raise RuntimeError(
                f"the process ended with status {self.process.exitcode} (out of memory?)"
            ) from None
        if isinstance(answer, Exception):
            raise answer
        return answer


def serve(pipe: Connection, case: Case) -> None:
    """The process: build, then steps as asked; 0 asks for the peak and ends."""
    try:
        measured = TrainStep(case)
        pipe.send(measured.facts())
        while steps := pipe.recv():
            pipe.send(measured.run(steps))
        pipe.send({"peak": measured.peak()})
    except (RuntimeError, MemoryError) as error:
        pipe.send(RuntimeError(f"{type(error).__name__}: {str(error).splitlines()[0]}"))


class TrainStep:
    """Forward, backward, AdamW and EMA over random clips."""

    def __init__(self, case: Case) -> None:
        torch.set_num_threads(case.threads)
        torch.manual_seed(0)
        self.case, self.step = case, 0
        config = {
            **preset(case.size),
            "img_size": case.pixels,
            "num_frames": case.frames,
            "factorized": case.factorized,
        }
        self.model = VJEPAModel(config).to(case.device)
        tune(self.model)
        self.model.enable_gradient_checkpointing(case.checkpointing)
        if case.compiled:
            self.model.compile_stacks()
        trained = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, lr=1e-4, fused=case.device == "cuda")
        shape = (case.batch, 3, case.frames, case.pixels, case.pixels)
        self.video = torch.randn(shape, device=case.device)
        for parameter in trained:  # so that the optimizer's state is there before the baseline
            parameter.grad = torch.zeros_like(parameter)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        product = torch.randn(64, 64, device=case.device, dtype=case.dtype)
        torch.mm(product, product)  # loads the matrix library
        gc.collect()
        self.baseline = self.held()

    def facts(self) -> dict[str, Any]:
        """Useful FLOPs of a step, parameters, and bytes held before the first step."""
        flops = train_step(self.model.config, self.model.draw_masks(self.video))
        encoder = sum(p.numel() for p in self.model.context_encoder.parameters())
        return {"flops": flops, "encoder_parameters": encoder, "baseline": self.baseline}

    def run(self, steps: int) -> float:
        """Seconds a step."""
        wait(self.case.device)
        start = time.perf_counter()
        for _ in range(steps):
            self.one()
        wait(self.case.device)
        seconds = (time.perf_counter() - start) / steps
        if self.case.device == "cuda":
            torch.cuda.empty_cache()  # the others need room
        return seconds

    def one(self) -> None:
        """A train step."""
        case = self.case
        with torch.autocast(case.device, torch.bfloat16, enabled=case.precision == "bf16"):
            loss, _ = self.model(self.video, meters=False)
        loss.backward()
        self.optimizer.step()
        self.model.update_target(self.step)
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1

    def held(self) -> int:
        """Bytes held now: resident memory, or what CUDA has allocated."""
        if self.case.device == "cuda":
            torch.cuda.reset_peak_memory_stats()
            return torch.cuda.memory_allocated()
        return resident()[0]

    def peak(self) -> int:
        """Most bytes held at once since then, above the baseline: gradients and activations."""
        if self.case.device == "cuda":
            return torch.cuda.max_memory_allocated() - self.baseline
        return resident()[1] - self.baseline
