"""Where weights lie: a path on this machine, or a repository on the Hugging Face hub."""

import re
from dataclasses import dataclass
from pathlib import Path

from nexus.checkpoints.huggingface import is_huggingface
from nexus.checkpoints.official import OFFICIAL_FILE
from nexus.checkpoints.video_processor import PROCESSOR_FILES
from nexus.errors import CheckpointError

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
HUB_MARK = "hf://"
FILE_ENDINGS = {".pt", ".pth", ".tar", ".safetensors", ".bin", ".ckpt", ".json"}
WANTED = [
    "config.json",
    "model.safetensors",
    "model.safetensors.index.json",
    "model-*.safetensors",
    *PROCESSOR_FILES,
    "README.md",
]
"""What is fetched first; `OFFICIAL_FILE` only where it would be read, see `source.read_source`."""


@dataclass(frozen=True)
class Place:
    """A file or folder on this machine and, if it came from the hub, from where."""

    path: Path
    hub_id: str | None = None
    revision: str | None = None
    """The commit that was fetched."""


def locate(
    source: str | Path, *, revision: str | None = None, cache_dir: str | Path | None = None
) -> Place:
    """Find weights; the network is used for hub ids alone.

    Args:
        source: a path, or a hub id `org/name`. A `Path` object, whatever exists, and whatever looks
            like a path is one; `hf://org/name` is always a hub id.
        revision: branch, tag or commit on the hub; default: its main branch as it is now.
        cache_dir: where the hub's files are kept; default: huggingface_hub's own cache.

    Raises:
        CheckpointError: there is nothing at that path, the hub does not answer or does not have it,
            or huggingface_hub is not installed.
    """
    name = str(source)
    if name.startswith(HUB_MARK):
        return _fetch(name.removeprefix(HUB_MARK), revision, cache_dir)
    path = Path(source).expanduser()
    if path.exists():
        if revision is not None:
            raise CheckpointError(
                f"{path} lies on this machine, where there is no revision {revision!r}; leave it "
                f"out, or write {HUB_MARK}{name} for the hub"
            )
        return Place(path)
    if isinstance(source, Path) or not _is_hub_id(name):
        raise CheckpointError(f"{path} does not exist; {_nearby(path)}")
    if Path(name).parent.is_dir():
        raise CheckpointError(
            f"{path} does not exist, though the folder {path.parent} does; {_nearby(path)}. For a "
            f"model on the hub, write {HUB_MARK}{name}"
        )
    return _fetch(name, revision, cache_dir)


def _is_hub_id(name: str) -> bool:
    return HUB_ID.fullmatch(name) is not None and Path(name).suffix not in FILE_ENDINGS


def _nearby(path: Path) -> str:
    """What to do about a path that is not there."""
    parent = path.parent
    if not parent.is_dir():
        return f"nor does {parent}; expected a file or folder with weights, or a hub id org/name"
    names = sorted(entry.name for entry in parent.iterdir() if not entry.name.startswith("."))
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return f"{parent} holds {', '.join(names[:8]) or 'nothing'}{more}"


def _fetch(hub_id: str, revision: str | None, cache_dir: str | Path | None) -> Place:
    if HUB_ID.fullmatch(hub_id) is None:
        raise CheckpointError(f"{hub_id!r} is not a hub id; expected org/name")
    try:
        import huggingface_hub
    except ImportError as error:
        raise CheckpointError(
            f"{hub_id} is not a path on this machine, and to fetch it from the Hugging Face hub "
            "huggingface_hub is needed: pip install 'nexus-vjepa[hub]'"
        ) from error
    try:
        folder = Path(
            huggingface_hub.snapshot_download(
                hub_id, revision=revision, cache_dir=cache_dir, allow_patterns=WANTED
            )
        )
        if not is_huggingface(folder):
            huggingface_hub.snapshot_download(
                hub_id, revision=folder.name, cache_dir=cache_dir, allow_patterns=OFFICIAL_FILE
            )
    except Exception as error:  # network, hub and cache each have their own kinds of errors
        raise CheckpointError(
            f"cannot fetch {hub_id}{f' at {revision}' if revision else ''} from the Hugging Face "
            f"hub: {error}\nCheck the name, the revision and the network; a file that was "
            "downloaded otherwise can be given by its path."
        ) from error
    return Place(folder, hub_id, folder.name)
