"""How much of bare decoding's speed does the loader keep? Both measured in one run.

    python benchmarks/data.py
    python benchmarks/data.py --sizes 1280x720 --seconds 8 --workers 4 --json data.json

For each size it writes a folder of H.264 files, then lets these take turns, for several rounds:

- bare decoding: as many processes as the loader has workers do nothing but decode the very clips
  that the loader would, and throw the frames away, with PyAV as one writes it by hand: seek to the
  keyframe, decode forward, turn the frames of the clip into RGB arrays;
- nexus' decoder: the same clips through `Decoder.frames`, which checks every timestamp and leaves
  frames undecoded that neither the clip nor another frame needs;
- the loader: nexus' decoder, crop, resize, batches delivered to this process;
- the loader with the memory cache and with the disk cache, after the first epoch.

In each round all of them see the same clips, in an order that shifts from round to round, and all
processes stay alive from round to round. Prints clips a second over all rounds, and processor time
a clip (of all processes), which stays meaningful on a machine that is not idle; then the lowest
and highest share that a single round gives. The smaller the videos, the larger the part of a
clip's time that goes into its crop and its way to this process: there the caches pay most.
"""

import argparse
import json
import math
import multiprocessing
import os
import platform
import statistics
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from itertools import count, islice
from multiprocessing.pool import Pool
from pathlib import Path

import av
import numpy as np
import psutil
import torch
from av.video.reformatter import VideoReformatter

from nexus.data.catalog.catalog import Catalog, scan
from nexus.data.clip_spec import ClipSpec
from nexus.data.loading.augment import AugmentConfig
from nexus.data.loading.cache import CacheConfig
from nexus.data.loading.dataset import ClipDataset
from nexus.data.loading.loader import ClipLoader
from nexus.data.pictures import PictureView, collect
from nexus.data.protocol import Decoder
from nexus.data.videos.pyav import PyAVDecoder
from nexus.training.cpu import cpu_name

TARGET = 0.9
FEWEST_ROUNDS = 4
HELD = 3  # batches that the loader lends out beside those made ahead
Job = list[tuple[Path, np.ndarray]]


def main() -> None:
    """Measure and print."""
    options = parse(sys.argv[1:])
    torch.set_num_threads(1)
    result = {"machine": machine(), "options": vars(options), "rows": []}
    show_machine(result)
    for size in options.sizes:
        with tempfile.TemporaryDirectory() as folder:
            write_videos(Path(folder) / "videos", size, options)
            catalog = scan(Path(folder) / "videos", workers=0)
            rows = measure(catalog, Path(folder), options)
        show(size, rows)
        result["rows"] += [{"size": size, **row} for row in rows]
    print(f"\ntarget: the loader keeps {TARGET:.0%} of bare decoding")
    if options.json:
        Path(options.json).write_text(json.dumps(result, indent=2) + "\n")


def parse(arguments: list[str]) -> argparse.Namespace:
    """Command-line options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--videos", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=6.0, help="length of each video")
    parser.add_argument("--fps", type=int, default=30)
    parser.add_argument(
        "--sizes",
        nargs="+",
        default=["320x240", "640x360", "1280x720"],
        metavar="WIDTHxHEIGHT",
        help="of the videos",
    )
    parser.add_argument("--gop", type=int, default=60, help="frames from keyframe to keyframe")
    parser.add_argument("--img-size", type=int, default=224, help="of the clips")
    parser.add_argument("--frames", type=int, default=16, help="per clip")
    parser.add_argument("--stride", type=int, default=4)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--batches", type=int, default=4, help="per turn")
    parser.add_argument("--minutes", type=float, default=3, help="for each size, about")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", help="also write the figures to this file")
    options = parser.parse_args(arguments)
    if options.workers < 1:
        parser.error("--workers: at least 1, or there is nothing to compare")
    if options.minutes <= 0:
        parser.error("--minutes: more than 0")
    return options


def write_videos(folder: Path, size: str, options: argparse.Namespace) -> None:
    """Textures that drift over one another, with a little sensor noise: neither flat nor chaos."""
    folder.mkdir()
    with multiprocessing.get_context("fork").Pool() as pool:
        pool.map(partial(write_video, folder, size, options), range(options.videos))


def write_video(folder: Path, size: str, options: argparse.Namespace, number: int) -> None:
    """One of them."""
    width, height = (int(part) for part in size.split("x"))
    rng = np.random.default_rng(number)
    texture = rng.normal(size=(height // 8 + 2, width // 8 + 2, 3))
    large = torch.nn.functional.interpolate(
        torch.from_numpy(texture).permute(2, 0, 1)[None].float(),
        (2 * height, 2 * width),
        mode="bicubic",
    )
    ground = (128 + 40 * large[0].permute(1, 2, 0)).numpy()
    with av.open(str(folder / f"{number:04}.mp4"), "w") as container:
        settings = {"g": str(options.gop), "preset": "veryfast"}
        stream = container.add_stream("libx264", rate=options.fps, options=settings)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for index in range(round(options.seconds * options.fps)):
            top, left = (index * (number % 3)) % height, (2 * index) % width
            picture = ground[top : top + height, left : left + width]
            noise = rng.normal(scale=3, size=(height, width, 1))
            pixels = np.clip(picture + noise, 0, 255).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, options.fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def measure(catalog: Catalog, folder: Path, options: argparse.Namespace) -> list[dict]:
    """Clips a second of every arm over all rounds, and their shares of the first one's."""
    decoder = PyAVDecoder()
    for record in catalog.records:
        decoder.timestamps(record.path)  # known to all processes from the start, on both sides
    caches = {
        "loader": CacheConfig(),
        "loader, memory cache": CacheConfig(kind="memory", max_gigabytes=64),
        "loader, disk cache": CacheConfig(kind="disk", folder=folder, max_gigabytes=64),
    }
    loaders = {n: make_loader(catalog, decoder, cache, options) for n, cache in caches.items()}
    jobs = Jobs(catalog, options)
    with ExitStack() as stack:
        arms: dict[str, Callable[[int], Turn]] = {}
        for name, function in {"bare decoding": decode_by_hand, "nexus' decoder": decode}.items():
            pool = multiprocessing.get_context("fork").Pool(
                options.workers, initializer=start_decoding, initargs=(decoder,)
            )
            arms[name] = partial(pool_turn, stack.enter_context(pool), function, jobs, options)
        for name, loader in loaders.items():
            stack.enter_context(loader)
            if "cache" in name:
                fill(loader)
            arms[name] = partial(loader_turn, loader, options)
        turns: dict[str, list[Turn]] = {name: [] for name in arms}
        end = time.monotonic() + 60 * options.minutes
        for number in count():
            if number >= FEWEST_ROUNDS and time.monotonic() > end:
                break
            names = list(arms)
            shift = number % len(names)
            for name in names[shift:] + names[:shift]:
                turns[name].append(arms[name](number))
    return [summary(name, turns[name], turns["bare decoding"], options) for name in turns]


@dataclass(frozen=True)
class Turn:
    """What one arm took for its clips of one round: seconds, on the clock and of processors."""

    wall: float
    busy: float


def summary(name: str, turns: list[Turn], bare: list[Turn], options: argparse.Namespace) -> dict:
    """One arm's rate over all rounds, and its share of bare decoding's."""
    clips = len(turns) * options.batches * options.batch
    wall, busy = sum(turn.wall for turn in turns), sum(turn.busy for turn in turns)
    return {
        "arm": name,
        "clips_per_second": clips / wall,
        "cpu_ms_per_clip": 1000 * busy / clips,
        "share": sum(turn.wall for turn in bare) / wall,
        # The system counts processor time in ticks: very short runs may take none.
        "share_by_cpu": sum(turn.busy for turn in bare) / busy if busy else math.nan,
        "rounds": len(turns),
        "share_by_round": [b.wall / t.wall for b, t in zip(bare, turns, strict=True)],
    }


def make_loader(
    catalog: Catalog,
    decoder: Decoder,
    cache: CacheConfig,
    options: argparse.Namespace,
    workers: int | None = None,
) -> ClipLoader:
    """The loader as training uses it."""
    workers = options.workers if workers is None else workers
    clip = ClipSpec(num_frames=options.frames, stride=options.stride, size=options.img_size)
    dataset = ClipDataset(clip, catalog, AugmentConfig(), decoder, cache)
    return ClipLoader(dataset, batch_size=options.batch, seed=0, num_workers=workers)


class Recorder:
    """A decoder that notes what it is asked for and gives black frames."""

    def __init__(self, decoder: Decoder) -> None:
        self.decoder, self.name, self.job = decoder, decoder.name, []

    def __getattr__(self, name: str):
        return getattr(self.decoder, name)

    def frames(self, path, indices: np.ndarray, view: PictureView | None = None) -> np.ndarray:
        """Note the request."""
        self.job.append((path, indices))
        black = [np.zeros((8, 8, 3), np.uint8)] * len(indices)
        return collect(black, np.arange(len(indices)), view)


class Jobs:
    """What the loader asks its decoder for, batch by batch, worked out as far as it is needed."""

    def __init__(self, catalog: Catalog, options: argparse.Namespace) -> None:
        self._recorder = Recorder(PyAVDecoder())
        self._loader = make_loader(catalog, self._recorder, CacheConfig(), options, workers=0)
        self._known: list[Job] = []

    def __getitem__(self, batches: slice) -> list[Job]:
        while len(self._known) < batches.stop:
            self._recorder.job = []
            next(self._loader)
            self._known.append(self._recorder.job)
        return self._known[batches]


def start_decoding(decoder: Decoder) -> None:
    """Give a fresh process its decoder."""
    global _decoder
    _decoder = decoder
    torch.set_num_threads(1)


def decode(job: Job) -> None:
    """Decode a batch's clips and throw them away."""
    for path, indices in job:
        _decoder.frames(path, indices)


def decode_by_hand(job: Job) -> None:
    """The same with PyAV alone."""
    reformatter = VideoReformatter()  # `frame.to_ndarray(format=...)` makes one for each frame
    for path, indices in job:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1
            frame_ticks = 1 / (stream.average_rate * stream.time_base)
            wanted = {
                (stream.start_time or 0) + round(int(index) * frame_ticks) for index in indices
            }
            container.seek(min(wanted), stream=stream)
            clip = {}
            for frame in container.decode(stream):
                if frame.pts in wanted:
                    rgb = reformatter.reformat(frame, format="rgb24", threads=1)
                    clip[frame.pts] = rgb.to_ndarray()
                if frame.pts >= max(wanted):
                    break
            assert len(clip) == len(wanted)


def fill(loader: ClipLoader) -> None:
    """Run the first epoch: every video is decoded and kept."""
    for batch in islice(loader, loader.order.size // loader.order.batch_size + 1):
        assert not batch.failures, batch.failures[0]
    loader.load_state_dict({**loader.state_dict(), "next": 0})


def pool_turn(
    pool: Pool,
    function: Callable[[Job], None],
    jobs: Jobs,
    options: argparse.Namespace,
    number: int,
) -> Turn:
    """A round's clips, decoded by a pool that has something to do before and after."""
    first = beginning(options) + number * (warm_up(options) + options.batches)
    last = first + warm_up(options) + options.batches + ahead(options)
    steps = pool.imap(function, jobs[first:last])
    turn = timed(steps, options)
    deque(steps, maxlen=0)
    return turn


def loader_turn(loader: ClipLoader, options: argparse.Namespace, number: int) -> Turn:
    """A round's clips from a loader; ends when its workers have made what they make ahead."""
    if number == 0:
        deque(islice(loader, beginning(options)), maxlen=0)
    turn = timed(loader, options)
    busy = -1.0
    while busy < (busy := processor_seconds()):
        time.sleep(0.1)
    return turn


def timed(steps: Iterator, options: argparse.Namespace) -> Turn:
    """Seconds for the batches of one turn, after some that are not counted."""
    deque(islice(steps, warm_up(options)), maxlen=0)
    busy, start = processor_seconds(), time.perf_counter()
    deque(islice(steps, options.batches), maxlen=0)
    return Turn(time.perf_counter() - start, processor_seconds() - busy)


def ahead(options: argparse.Namespace) -> int:
    """Batches that are made before they are asked for."""
    return 2 * options.workers


def beginning(options: argparse.Namespace) -> int:
    """Batches before the first round: until each worker has used all of the shared memory."""
    return options.workers * (ahead(options) + HELD)


def warm_up(options: argparse.Namespace) -> int:
    """Batches before the clock starts: those made ahead while others had their turn, and more."""
    return ahead(options) + options.workers


def processor_seconds() -> float:
    """Processor time of this process and its workers so far."""
    here = psutil.Process()
    times = [process.cpu_times() for process in (here, *here.children())]
    return sum(time.user + time.system for time in times)


def machine() -> dict:
    """Where and with what this was measured."""
    return {
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "load_average": os.getloadavg()[0],
        "platform": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "av": av.__version__,
        "numpy": np.__version__,
        "date": time.strftime("%Y-%m-%d"),
    }


def show_machine(result: dict) -> None:
    """Print where this runs."""
    for name, value in result["machine"].items():
        print(f"{name:>14}  {value}")
    print(" ".join(f"{name}={value}" for name, value in result["options"].items()))


def show(size: str, rows: list[dict]) -> None:
    """Print the table of one size."""
    print(
        f"\n{size:22}{'clips/s':>9}{'share':>8}{'CPU ms/clip':>13}{'share':>8}"
        f"   shares of {rows[0]['rounds']} rounds"
    )
    for row in rows:
        rounds = row["share_by_round"]
        print(
            f"{row['arm']:22}{row['clips_per_second']:>9.1f}{row['share']:>8.0%}"
            f"{row['cpu_ms_per_clip']:>13.1f}{row['share_by_cpu']:>8.0%}"
            f"   {min(rounds):.0%} to {max(rounds):.0%}, median {statistics.median(rounds):.0%}",
            flush=True,
        )


if __name__ == "__main__":
    main()
