"""Arrays in .npz files. Their headers are read and believed only as far as the file can hold what they promise."""

import math
import warnings
import zipfile
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from hardlabel.checks import InvalidInput, listed
from hardlabel.data import limits
from hardlabel.data.opening import readable

ARRAY_NAMES = (("inputs", "labels"), ("x", "y"), ("X", "y"))
NUMBERS = "biuf"  # Kinds of NumPy's types.
HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def read_pair(path: Path) -> tuple[str, NDArray[np.generic], NDArray[np.generic]]:
    """The name of the inputs in an .npz file, the inputs and the labels, of this machine's byte order.

    Raises:
        InvalidInput: The file is damaged; lacks a pair of ARRAY_NAMES; holds objects, or inputs that are no numbers;
            promises more than it holds or than memory has.
    """
    with readable(path), zipfile.ZipFile(path) as file:
        names = [name.removesuffix(".npy") for name in file.namelist()]
        pair = next((pair for pair in ARRAY_NAMES if set(pair) <= set(names)), None)
        if pair is None:
            raise InvalidInput(f"{path.name} must hold arrays inputs and labels, or x and y, got {listed(names)}")
        # Both headers before any array.
        for name, kinds in zip(pair, (NUMBERS, NUMBERS + "US"), strict=True):
            _check_header(path, file, name, kinds)
        inputs, labels = (_array(file, name) for name in pair)
    return pair[0], inputs, labels


def _check_header(path: Path, file: zipfile.ZipFile, name: str, kinds: str) -> None:
    info = _member(file, name)
    if info.flag_bits & 1:
        raise InvalidInput(f"{path.name}: {name} cannot be read: it is encrypted")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise InvalidInput(f"{path.name}: {name} cannot be read: write it by numpy.savez or savez_compressed")
    packed = info.compress_size * (limits.DEFLATED if info.compress_type == zipfile.ZIP_DEFLATED else 1)
    if info.compress_size > path.stat().st_size or info.file_size > packed:
        raise InvalidInput(f"{path.name}: {name} cannot be read: it promises more bytes than the file holds")
    with file.open(info) as stream:
        shape, dtype = _header(stream)
        held = info.file_size - stream.tell()
    if dtype.hasobject:
        raise InvalidInput(f"{path.name}: {name} cannot be read: it holds Python objects, save numbers or text instead")
    if dtype.kind not in kinds or not dtype.itemsize or dtype.shape:
        raise InvalidInput(f"{path.name}: {name} must be numbers{' or text' * ('U' in kinds)}, got {dtype}")
    count = math.prod(shape)
    if min(shape, default=0) < 0 or count * dtype.itemsize > held:
        raise InvalidInput(f"{path.name}: {name} cannot be read: shape {shape} needs more bytes than the file holds")
    limits.afford(count * (dtype.itemsize + 12), f"{path.name}: {name}")  # Also as float32, and in a table.


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[np.generic]]:
    version = np.lib.format.read_magic(stream)
    if version not in HEADERS:
        raise InvalidInput(f"the .npy format must be 1.0 or 2.0, got {version[0]}.{version[1]}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Of headers written by Python 2.
        shape, _, dtype = HEADERS[version](stream)
    return shape, dtype


def _array(file: zipfile.ZipFile, name: str) -> NDArray[np.generic]:
    with file.open(_member(file, name)) as stream, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        array: NDArray[np.generic] = np.lib.format.read_array(stream, allow_pickle=False)
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        return array.astype(np.float64)  # PyTorch knows no wider type.
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _member(file: zipfile.ZipFile, name: str) -> zipfile.ZipInfo:
    names = file.namelist()
    return file.getinfo(f"{name}.npy" if f"{name}.npy" in names else name)
