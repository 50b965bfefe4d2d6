"""Arrays too large for memory in plain `.npz` files: written row by row, mapped when read.

`numpy.load` reads such a file like any other; nothing in it is compressed or pickled.
"""

import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO

import numpy as np
from numpy import ndarray

_CHUNK = 1 << 24
_LOCAL_HEADER = 30  # bytes, before the name; its last four are the lengths of name and extra field


class RowFile:
    """Rows of one array, kept in an unnamed file beside `path` until all are known."""

    def __init__(self, path: Path) -> None:
        self._file: BinaryIO = TemporaryFile(dir=path.parent)  # noqa: SIM115 - outlives this line
        self._kind: tuple[np.dtype, tuple[int, ...]] | None = None
        self.count = 0

    def add(self, rows: ndarray) -> None:
        """Append rows of the same type and shape as those before."""
        kind = rows.dtype, rows.shape[1:]
        if self._kind not in (None, kind):
            raise ValueError(f"rows of {kind} after rows of {self._kind}")
        self._kind, self.count = kind, self.count + len(rows)
        self._file.write(np.ascontiguousarray(rows).data)

    def write_npz(self, path: Path, name: str, others: Mapping[str, ndarray]) -> None:
        """Write all rows as the array `name`, and other arrays, to an `.npz` file."""
        dtype, shape = self._kind or (np.dtype(np.float32), (0,))
        description = np.lib.format.dtype_to_descr(dtype)
        header = {"descr": description, "fortran_order": False, "shape": (self.count, *shape)}
        self._file.seek(0)
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array_header_2_0(member, header)
                shutil.copyfileobj(self._file, member, _CHUNK)
            for key, value in others.items():
                with archive.open(f"{key}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, value, allow_pickle=False)

    def close(self) -> None:
        """Free the disk space."""
        self._file.close()


def map_array(path: Path, name: str) -> ndarray:
    """An array of an uncompressed `.npz` file, mapped read-only; its checksum is checked first.

    Raises:
        ValueError: the array is compressed.
        KeyError, OSError, zipfile.BadZipFile: it is not there, or the file is damaged.
    """
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo(f"{name}.npy")
        if info.compress_type != zipfile.ZIP_STORED:
            raise ValueError(f"{name} is compressed")
        with archive.open(info) as member:
            while member.read(_CHUNK):  # at the end the checksum is compared
                pass
    with path.open("rb") as file:
        file.seek(info.header_offset + _LOCAL_HEADER - 4)
        lengths = np.frombuffer(file.read(4), "<u2")
        file.seek(int(lengths.sum()), 1)
        version = np.lib.format.read_magic(file)
        read = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        shape, fortran, dtype = read(file)
        if fortran or dtype.hasobject:
            raise ValueError(f"{name} is not a plain array of rows")
        if 0 in shape:
            return np.zeros(shape, dtype)
        return np.memmap(path, dtype, "r", file.tell(), shape)
