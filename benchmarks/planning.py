"""Planning with world models: seconds and GFLOP an action, beside published loops read plainly.

    python benchmarks/planning.py                  # all parts; 20 minutes on two cores
    python benchmarks/planning.py --quick          # tiny: does it run?
    python benchmarks/planning.py --parts published --candidates 12800 --device cuda
    python benchmarks/planning.py --json planning.json --markdown planning.md

published    V-JEPA 2-AC's predictor at 256-d x 6 on 64 tokens of 1408 numbers a frame, and its
             search: 800 candidates, 10 iterations, 1 and 2 steps ahead
one token    LeWM's shape: 6 AdaLN blocks, MLP 2048, one token a frame, a history of 3; 300
             candidates, 30 iterations, 5 steps ahead
deadline     a policy's own search with a model of recipe `world-joint`, 200 ms a plan, called over
             and over: is there always a valid action, and in time?

The arms judge the same candidates with the same weights (random ones; checked: equal costs) and
take turns, round after round, so that whatever else the machine does meets all alike. A round is
one iteration of the search; an action is as many rounds as the search has iterations. FLOPs are
counted while an arm runs, not by formula. `of matrix rate` is what they make a second, as a share
of what one large product reaches in the same run: where it is high, only fewer FLOPs can help.
`by processor time` holds where something else takes the cores away, with `--threads 1`: threads
that wait for one another inside a product count as work. `plain_planning.py` says what the plain
readings do.
"""

import argparse
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from machine import QUICK, describe, gemm_rate, wait
from plain_planning import PlainCost
from planning_report import report
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count
from waiting import progress

from nexus.control.goal_cost import CostConfig, GoalCost, WorldGoal
from nexus.control.model_policy import PlanningConfig, action_space
from nexus.control.pieces import InPieces, candidates_at_once
from nexus.control.threads import one_thread
from nexus.data.episodes.robot import Robot
from nexus.data.episodes.schema import Schema
from nexus.data.episodes.statistics import EpisodeStatistics, Statistics
from nexus.models.worlds.world import WorldModel
from nexus.planning import PLANNERS, Cost
from nexus.training.world_recipe import load_world_recipe

EQUAL = 1e-4
"""Costs of two arms may differ by this share of themselves."""
DEADLINE, LATE = 0.2, 0.22
"""Seconds that a plan may take, and after which it counts as late."""
PARTS = ("published", "one token", "deadline")
Row = dict[str, Any]


@dataclass(frozen=True)
class Search:
    """A model, and how it is searched with."""

    name: str
    model: dict[str, Any]
    action: int
    state: int
    candidates: int
    iterations: int
    horizons: tuple[int, ...]


def main() -> None:
    """Measure, print as it goes, write."""
    options = parse(sys.argv[1:])
    torch.set_num_threads(options.threads)
    result: dict[str, Any] = {"machine": describe(options.device), "options": vars(options)}
    how = QUICK if options.quick else {}
    result["gemm"] = gemm_rate(torch.float32, options.device, **how)
    result["rows"], result["deadline"] = [], None
    with torch.no_grad():
        for search in searches(options):
            for horizon in search.horizons if search.name in options.parts else ():
                progress(f"{search.name}, {horizon} ahead")
                result["rows"] += rows(search, horizon, options)
                write(result, options)
        if "deadline" in options.parts:
            progress("deadline")
            result["deadline"] = deadline_row(options)
    write(result, options)
    print(report(result))


def write(result: dict[str, Any], options: argparse.Namespace) -> None:
    """What there is so far: a run takes long."""
    if options.markdown:
        Path(options.markdown).write_text(report(result) + "\n")
    if options.json:
        Path(options.json).write_text(json.dumps(result, indent=2) + "\n")


def searches(options: argparse.Namespace) -> list[Search]:
    """The two published shapes; tiny ones where only running counts."""
    quick = options.quick
    width, depth, side = (24, 2, 4) if quick else (256, 6, 8)
    published = {
        "img_size": 8 * side,
        "num_frames": 3,
        "encoder": {
            "kind": "vit", "patch_size": 8, "dim": options.features, "depth": 1, "heads": 1,
        },
        "predictor": {
            "kind": "interleaved", "width": width, "depth": depth, "heads": max(1, width // 64),
            "mlp_ratio": 4.0, "window": 3,
        },
        "latent_norm": "layer",
        "frequencies": 0,
    }  # fmt: skip
    one_token = {
        "encoder": {"kind": "patches", "dim": 192},
        "predictor": {
            "kind": "adaln", "width": width, "depth": depth, "heads": max(1, width // 64),
            "mlp_ratio": 8.0, "window": 3,
        },
        "frequencies": 0,
    }  # fmt: skip
    many, few = options.candidates or (12 if quick else 800), options.candidates or 300
    return [
        Search("published", published, 7, 7, many, 2 if quick else 10, (1, 2)),
        Search("one token", one_token, 10, 0, 12 if quick else few, 2 if quick else 30, (5,)),
    ]


def rows(search: Search, horizon: int, options: argparse.Namespace) -> list[Row]:
    """One search at one horizon: all arms in turns."""
    model = random_model(search).to(options.device)
    draw = torch.Generator().manual_seed(1)
    tokens, dim = model.config.latent_shape
    now, goal = (x.to(options.device) for x in torch.randn(2, 1, tokens, dim, generator=draw))
    state = torch.randn(1, search.state, generator=draw).to(options.device)
    scale = scale_of(model.config.robots[0], options.device)
    known = state[:, None] if search.state else None
    here = model.begin(now[:, None], now.new_zeros(1, 0, search.action), known)
    config = CostConfig(distance="l1", over="end")
    cost = GoalCost(model, here, WorldGoal(goal), config, scale)
    width: int = model.predictor.config.width  # pyright: ignore
    at_once = candidates_at_once(tokens, width)
    arms: dict[str, Cost] = {"plain": PlainCost(model, now, state, goal, scale)}
    if search.name == "one token":
        arms = {
            "whole sequence again": arms["plain"],
            "window again": PlainCost(model, now, state, goal, scale, window=3),
        }
    arms["nexus"] = InPieces(cost, at_once, options.threads)
    shape = (1, search.candidates, horizon, search.action)
    actions = 2 * torch.rand(shape, generator=draw).to(options.device) - 1
    costs = {name: arm(actions) for name, arm in arms.items()}
    seconds, processor = in_turns(arms, actions, options)
    # A counter sees its own thread's operations alone.
    arms["nexus"] = InPieces(cost, at_once)
    base = costs["nexus"]
    return [
        {
            "search": search.name,
            "horizon": horizon,
            "arm": name,
            "candidates": search.candidates,
            "iterations": search.iterations,
            "seconds": [search.iterations * one for one in seconds[name]],
            "processor": [search.iterations * one for one in processor[name]],
            "flops": search.iterations * flops_of(arm, actions),
            "apart": compared(name, costs[name], base),
            "spread": float(base.std() / base.mean()),
        }
        for name, arm in arms.items()
    ]


def compared(name: str, costs: Tensor, base: Tensor) -> float | None:
    """The largest difference from nexus' costs, as a share; None for another function.

    Raises:
        SystemExit: it is too large.
    """
    if name == "window again":
        return None
    apart = float(((costs - base).abs() / base.abs()).max())
    if not apart <= EQUAL:
        raise SystemExit(f"costs of {name} and nexus differ by {apart:.1e}; at most {EQUAL:.0e}")
    return apart


def in_turns(
    arms: dict[str, Cost], actions: Tensor, options: argparse.Namespace
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Seconds of an iteration of every arm in every round, and those of the processor."""
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    processor: dict[str, list[float]] = {name: [] for name in arms}
    for number in range(options.rounds):
        for name in list(arms) if number % 2 == 0 else reversed(arms):
            progress(f"{name}, round {number + 1} of {options.rounds}")
            wait(options.device)
            start, used = time.perf_counter(), time.process_time()
            if name == "nexus":
                with one_thread():  # as a policy plans: threads have pieces, not products
                    arms[name](actions)
            else:
                arms[name](actions)
            wait(options.device)
            seconds[name].append(time.perf_counter() - start)
            processor[name].append(time.process_time() - used)
    return seconds, processor


def flops_of(cost: Cost, actions: Tensor) -> int:
    """FLOPs of judging the candidates, as they run."""
    fused = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu  # torch counts that of GPUs

    def attention(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
        return sdpa_flop_count(query, key, value)

    counter = FlopCounterMode(display=False, custom_mapping={fused: attention})
    with counter:
        cost(actions)
    return counter.get_total_flops()


def deadline_row(options: argparse.Namespace) -> Row:
    """Plans under a deadline, one after the other, each from where the last one ended."""
    recipe = load_world_recipe("world-joint").model
    settings = {**recipe.model_dump(), "robots": (robot(2, 2),)}
    model = WorldModel(settings).eval().to(options.device)
    own = model.config.robots[0]
    planning, space = PlanningConfig(), action_space(own).to(options.device)
    planner = PLANNERS.build(planning.planner)
    scale = scale_of(own, options.device)
    tokens, dim = model.config.latent_shape
    seconds, judged, valid, plan = [], [], 0, None
    for call in range(options.calls):
        draw = torch.Generator().manual_seed(call)
        now, goal = (x.to(options.device) for x in torch.randn(2, 1, tokens, dim, generator=draw))
        states = torch.randn(1, 1, 2, generator=draw).to(options.device)
        started = time.perf_counter()
        with one_thread():
            here = model.begin(now[:, None], now.new_zeros(1, 0, 2), states)
            cost = GoalCost(model, here, WorldGoal(goal), CostConfig(), scale)
            plan = planner.plan(
                InPieces(cost, candidates_at_once(tokens, 256), options.threads),
                space,
                horizon=planning.horizon,
                seeds=[call],
                start=plan and plan.after(1),
                deadline=DEADLINE,
            )
        seconds.append(time.perf_counter() - started)
        judged.append(plan.judged)
        within = (space.low <= plan.actions) & (plan.actions <= space.high)
        valid += bool(within.all() and plan.cost.isfinite().all())
    return {
        "calls": options.calls,
        "valid": valid,
        "in_time": sum(one <= LATE for one in seconds),
        "seconds": seconds,
        "judged": judged,
    }


def random_model(search: Search) -> WorldModel:
    """A model whose random weights let actions matter."""
    model = WorldModel({**search.model, "robots": (robot(search.action, search.state),)}).eval()
    model.requires_grad_(False)
    draw = torch.Generator().manual_seed(0)
    for name, parameter in model.named_parameters():
        if parameter.ndim == 2 and not name.startswith("encoder"):
            gain = 3.0 if "qkv" in name or ".action." in name else 1.0
            parameter.normal_(0, gain / parameter.shape[1] ** 0.5, generator=draw)
    return model


def robot(action: int, state: int) -> Robot:
    """Actions within -1 and 1 and states of spread 1, so many numbers of each."""

    def numbers(letter: str, width: int) -> Statistics:
        same = {"mean": 0.0, "std": 1.0, "min": -2.0, "max": 2.0}
        quantiles = {f"q{part:02d}": 0.0 for part in (1, 10, 50, 90, 99)}
        columns = {name: (value,) * width for name, value in (same | quantiles).items()}
        return Statistics(names=tuple(names(letter, width)), count=10, **columns)

    bounded = [{"name": name, "low": -1, "high": 1} for name in names("a", action)]
    return Robot(
        name="arm",
        cameras=("top",),
        action=Schema.from_mapping({"dimensions": bounded, "rate": 10}),
        state=Schema.plain(names("s", state), 10) if state else None,
        statistics=EpisodeStatistics(
            action=numbers("a", action), state=numbers("s", state) if state else None
        ),
    )


def scale_of(robot: Robot, device: str) -> tuple[Tensor, Tensor]:
    """Mean and spread of an action."""
    mean, std = (torch.from_numpy(one).float().to(device) for one in robot.action_scale())
    return mean, std


def names(letter: str, width: int) -> list[str]:
    """So many of them."""
    return [f"{letter}{number}" for number in range(width)]


def parse(arguments: list[str]) -> argparse.Namespace:
    """Command-line options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, help="turns of each arm (5)")
    parser.add_argument("--candidates", type=int, help="judged in an iteration (800 and 300)")
    parser.add_argument("--features", type=int, help="numbers of a published token (1408)")
    parser.add_argument("--calls", type=int, help="plans under the deadline (1000)")
    parser.add_argument("--quick", action="store_true", help="tiny models, one round")
    parser.add_argument("--json", metavar="PATH", help="also write every figure")
    parser.add_argument("--markdown", metavar="PATH", help="also write the tables")
    options = parser.parse_args(arguments)
    quick = options.quick
    defaults = {"rounds": 1 if quick else 5, "features": 24 if quick else 1408}
    for name, value in {**defaults, "calls": 3 if quick else 1000}.items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    return options


if __name__ == "__main__":
    main()
