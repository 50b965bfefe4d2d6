"""Every command and every code block in README.md, CONTRIBUTING.md and docs/ is run.

A document's blocks run one after another in one folder, as a reader would run them, on a few tiny
videos and with tiny settings. What is changed for that stands in the tables below, nowhere else.
"""

import contextlib
import csv
import io
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pydantic
import pytest

from nexus.checkpoints.huggingface import save_huggingface
from nexus.checkpoints.official import save_official
from nexus.cli.main import app, run
from nexus.config import Config
from nexus.control.cloning import CloningConfig
from nexus.fitting.choice import FEWER
from nexus.fitting.movement import MOST_RECORDS
from nexus.fitting.words import FEW_CLIPS, FEW_STEPS
from nexus.jobs.fitting import BASE, MINUTES
from nexus.models.ssl import VJEPAConfig, VJEPAModel
from nexus.models.ssl.collapse import DoctorConfig
from nexus.models.worlds.action_predictor import ActionPredictor, ActionPredictorConfig
from nexus.toy.world import ToyConfig, write_toy_world
from nexus.training.recipe import Recipe, load_recipe
from nexus.training.world_recipe import WorldRecipe

pytestmark = pytest.mark.usefixtures("undrawn")
ROOT = Path(__file__).resolve().parents[1]
PAGES = (page for page in sorted(ROOT.glob("docs/*.md")) if page.name != "extending.md")
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *PAGES]
"""All but docs/extending.md, whose blocks tests/test_extending.py runs."""

TINY = [
    "training.steps=2",
    "training.batch_size=4",
    "training.threads=1",
    "data.num_workers=0",
]
"""Appended to `nexus plan-run`, `pretrain` and `adapt`; overrides of what Python calls."""

TINY_MODEL = [
    "model.encoder_dim=24",
    "model.num_heads=2",
    "model.predictor_dim=16",
    "model.predictor_heads=2",
    "model.num_spatial_layers=1",
    "model.num_temporal_layers=1",
    "model.num_predictor_layers=1",
]
"""Appended where the size would be chosen."""

CLONING = CloningConfig(steps=10, width=16)
TINY_WORLD = ToyConfig(
    train_clips=12, validation_clips=6, test_clips=6, tasks={"speed": 1.0}, size=32, num_frames=16
)

IN_PYTHON = {
    'out="runs/second")': f'out="runs/second", overrides={TINY + TINY_MODEL!r})',
    'overrides=["model.num_frames=8"]': f'overrides=["model.num_frames=8", *{TINY + TINY_MODEL!r}]',
    'overrides=["training.steps=400", "optim.lr=1e-3"]': f'overrides=["optim.lr=1e-3", *{TINY!r}]',
    "torch.randn(4, 3, 16, 224, 224)": "torch.randn(1, 3, 16, 224, 224)",
    '"encoder_dim": 768': '"encoder_dim": 48',  # tests/test_seed.py runs it in its size
    "config = ToyConfig(": "config = ToyConfig(train_clips=12, validation_clips=6, test_clips=6, ",
}
"""Changes to Python blocks; each must be of use somewhere."""

NOT_HERE = {
    "source .venv/bin/activate": "the test's own environment has nexus",
    "pip install -e .": "tests install nothing",
}
ONLY_PARSED = {
    "nexus demo": "takes minutes",
    "nexus study toy": "takes most of an hour",
    "nexus data motion": "its windows are larger than the tiny videos",
    "nexus pretrain motion/labels.csv": "the benchmark is not made here",
}
STARTS_WITH = {
    "README.md": ["weights"],
    "reading-the-report.md": ["runs/first", "runs/labelled"],
    "resume-and-checkpoints.md": ["runs/first"],
    "published-weights.md": ["runs/first", "weights"],
    "adapting.md": ["weights"],
    "probes-and-features.md": ["weights"],
}
"""Runs and weights that a document takes for granted."""


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, and the line that it starts on."""

    language: str
    text: str
    line: int


def blocks_of(document):
    text = document.read_text(encoding="utf-8")
    return [
        Block(match[1], match[2], text[: match.start()].count("\n") + 1)
        for match in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    ]


def commands_of(block):
    joined = block.text.replace("\\\n", " ")
    return [line.strip() for line in joined.splitlines() if line.strip() and line[0] != "#"]


def pretrain(*arguments):
    assert run(["pretrain", *arguments, *TINY]) == 0


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A folder with `videos/`, `list.csv` and two finished runs."""
    folder = tmp_path_factory.mktemp("reader")
    listing = write_toy_world(folder / "videos", TINY_WORLD, seed=0)
    with listing.open() as file:
        rows = [
            {"path": f"videos/{row['path']}", "split": row["split"], "action": row["speed"]}
            for row in csv.DictReader(file)
        ]
    listing.unlink()
    with (folder / "list.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    with contextlib.chdir(folder):
        pretrain("videos/", "--recipe", "small", "--out", "runs/first")
        pretrain("list.csv", "--recipe", "small", "--out", "runs/labelled", "--label", "action")
    write_published_weights(folder / "weights")
    return folder


def write_published_weights(folder):
    """Small random weights in the published layouts, for the clips that are there."""
    folder.mkdir()
    model = VJEPAModel(
        {
            "encoder_dim": 24, "num_heads": 2, "factorized": False, "num_spatial_layers": 2,
            "num_temporal_layers": 0, "positions": "rope_tiled", "img_size": 32, "num_frames": 8,
            "patch_size": 16, "predictor_dim": 12, "predictor_heads": 2, "num_mask_tokens": 10,
            "num_predictor_layers": 1, "mask": "multiblock",
        }
    )  # fmt: skip
    save_official(folder / "vitl.pt", model)
    sizes = {"in_dim": 24, "predictor_dim": 12, "depth": 1, "heads": 2, "img_size": 32}
    actions = ActionPredictor(ActionPredictorConfig.from_mapping(sizes))
    save_official(folder / "vjepa2-ac-vitg.pt", model, actions)
    (folder / "vitl-hf").mkdir()
    save_huggingface(folder / "vitl-hf", model)


@pytest.fixture
def reader(prepared, tmp_path, monkeypatch):
    """A copy of the prepared folder to work in; runs only where a document counts on them."""

    def enter(document):
        shutil.copytree(prepared / "videos", tmp_path / "videos")
        shutil.copy(prepared / "list.csv", tmp_path)
        for name in STARTS_WITH.get(document.name, []):
            shutil.copytree(prepared / name, tmp_path / name)
        monkeypatch.chdir(tmp_path)

    return enter


def fewer(words):
    """Options of `nexus world` and `nexus plan` that make small what the page leaves large."""
    if words[1] == "plan":
        names = {"--episodes": 2, "--steps": 3}
        if "--demo" not in words:  # other plans than a packed model's would need other weights
            names |= {"--validation": 1, "--set": "horizon=2"}
    else:
        names = {
            "collect": {"--episodes": 12},
            "train": {"--steps": 5},
            "report": {"--excerpts": 16, "--candidates": 8},
        }.get(words[2], {})
        if words[2] == "train" and "--resume" not in words:
            names["--set"] = "training.batch_size=4"
    given = {one: words[words.index(one) + 1] for one in names if one in words}
    large = {one for one, value in given.items() if value.isdigit() and int(value) > 100}
    return [
        word
        for one, value in names.items()
        if one not in given or one in large
        for word in (one, str(value))
    ]


def run_command(line, monkeypatch):
    if line in NOT_HERE:
        return
    words = shlex.split(line)
    if words[0] == "make":
        done = subprocess.run(["make", "-n", *words[1:]], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return
    assert words[0] == "nexus", f"no rule how to test {line!r}"
    if any(line.startswith(slow) for slow in ONLY_PARSED):
        words.append("--help")
    elif words[1] in ("plan", "world"):
        words += fewer(words)
        monkeypatch.setattr("nexus.jobs.planning.CloningConfig", lambda: CLONING)
    elif words[1] in ("plan-run", "pretrain", "adapt") and "--help" not in words:
        chosen = words[1] != "adapt" and not {"--recipe", "--resume"} & set(words)
        words += TINY + TINY_MODEL * chosen
    monkeypatch.setattr(sys, "argv", words)
    assert run(words[1:]) == 0, line


def run_python(text):
    for old, new in IN_PYTHON.items():
        text = text.replace(old, new)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(text, "block", "exec"), {"__name__": "__main__"})
    wanted = re.findall(r"^print\(.*\)  # -> (.*)$", text, re.MULTILINE)
    if wanted:
        assert printed.getvalue().splitlines() == wanted


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_block_runs(document, reader, monkeypatch):
    reader(document)
    for block in blocks_of(document):
        if block.language == "bash":
            for line in commands_of(block):
                run_command(line, monkeypatch)
        elif block.language == "python":
            run_python(block.text)
        else:
            assert block.language in ("text", "csv"), f"{document.name}:{block.line}"


def test_the_tables_above_are_of_use():
    everything = "\n".join(path.read_text(encoding="utf-8") for path in DOCUMENTS)
    for text in [*IN_PYTHON, *NOT_HERE, *ONLY_PARSED]:
        assert text in everything, text
    assert set(STARTS_WITH) <= {path.name for path in DOCUMENTS}


def test_the_seeds_snippet_stands_as_it_is():
    [block] = [b for b in blocks_of(ROOT / "README.md") if "VJEPAModel" in b.text]
    for line in (
        "from nexus.models.ssl import VJEPAModel",
        '    "ema_momentum": 0.996\n}',
        "model = VJEPAModel(config)\n"
        "video = torch.randn(4, 3, 16, 224, 224)  # (B, C, T, H, W)\n"
        "loss, metrics = model(video)\n",
    ):
        assert line in block.text


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document):
    for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text(encoding="utf-8")):
        assert (document.parent / target).exists(), target


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_named_commands_and_options_exist(document):
    text = document.read_text(encoding="utf-8")
    known = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for target in re.findall(r"`make ([\w-]+)`", text):
        assert target in known, target
    import typer.main

    commands = typer.main.get_command(app).commands  # pyright: ignore[reportAttributeAccessIssue]
    for name in re.findall(r"`nexus ([\w-]+)", text):
        assert name in commands, name
    options = {"--resume", "--help", "--debug"}
    members = [
        one for group in commands.values() for one in getattr(group, "commands", {}).values()
    ]
    for command in [*commands.values(), *members]:
        for parameter in command.params:
            options.update(parameter.opts)
    for option in re.findall(r"`(--[\w-]+)", text):
        assert option in options, option


def test_named_benchmarks_take_the_options_that_are_named(monkeypatch, capsys):
    commands = {
        command
        for document in DOCUMENTS
        for command in re.findall(
            r"`python (benchmarks/[^`]+)`", document.read_text(encoding="utf-8")
        )
    }
    assert commands
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    for command in commands:
        script, *words = shlex.split(command)
        parse = runpy.run_path(str(ROOT / script))["parse"]
        with pytest.raises(SystemExit):
            parse(["--help"])
        told = capsys.readouterr().out
        for option in (word for word in words if word.startswith("--")):
            assert re.search(rf"(?<!\S){option}\b(?!-)", told), command


def keys_of(config):
    """Dotted keys of a config class, groups included."""
    keys = set()
    for name, field in config.model_fields.items():
        keys.add(name)
        for part in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(part, type) and issubclass(part, Config):
                keys |= {f"{name}.{key}" for key in keys_of(part)}
    return keys


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_named_keys_of_the_recipe_exist(document):
    known = keys_of(Recipe) | {f"model.{key}" for key in keys_of(VJEPAConfig) | {"size"}}
    known |= keys_of(WorldRecipe)
    text = document.read_text(encoding="utf-8")
    for block in blocks_of(document):
        if block.language == "python":
            text = text.replace(block.text, "")
    for key in re.findall(r"(?<![\w./])((?:data|model|optim|training)\.[a-z_.]*[a-z_])", text):
        assert key in known, key


def test_the_defaults_that_are_named_are_the_defaults():
    base, world = load_recipe(BASE), ToyConfig.from_mapping({})
    side = base.data.clip.size[0]
    own = (ROOT / "docs/your-own-videos.md").read_text(encoding="utf-8")
    clip = f"{base.data.clip.num_frames} frames of {side} \u00d7 {side} pixels"
    assert f"`{BASE}` is what choices start from, with {clip} at {base.data.clip.fps:g} a" in own
    planning = (ROOT / "docs/planning-a-run.md").read_text(encoding="utf-8")
    for text in (
        f"`--minutes`, {MINUTES:g} unless",
        f"in up to {MOST_RECORDS} videos",
        f"fewer than {FEW_CLIPS} different clips",
        f"fewer than {FEW_STEPS} steps",
        f"{FEWER:.0%} of the steps of `{BASE}`".replace("%", " %"),
    ):
        assert text in planning, text
    toy = (ROOT / "docs/toy-world.md").read_text(encoding="utf-8")
    for text in (
        f"{world.size} \u00d7 {world.size} pixels, {world.num_frames} frames at {world.fps:g}",
        f"{world.train_clips} clips for training",
        f"{world.validation_clips} for validation",
        f"{world.test_clips} for the test",
    ):
        assert text in toy, text
    share = DoctorConfig().collapsing_spread
    report = (ROOT / "docs/reading-the-report.md").read_text(encoding="utf-8")
    assert f"under {share:.0%}".replace("%", " %") in report


def test_the_keys_are_found():
    found = keys_of(Recipe)
    assert {"data.clip.fps", "data.augment.flip", "training.steps"} <= found
    assert issubclass(Config, pydantic.BaseModel)
