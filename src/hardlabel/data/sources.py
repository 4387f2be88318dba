"""Load data: published data sets in their published formats, and .npz, .csv and .parquet files.

Nothing is fetched. A data set that is missing is reported with its files, where they were looked for and
where the public finds them.
"""

import os
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import IO

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from hardlabel import checks
from hardlabel.checks import InvalidInput
from hardlabel.data.dataset import Dataset, coded
from hardlabel.data.domain import BinaryFeatures, Box
from hardlabel.data.files import FILE_TYPES, read_file, read_images, read_integers
from hardlabel.data.opening import member_of, read_csv, readable
from hardlabel.data.table import MixedTable

FOLDER_VARIABLE = "HARDLABEL_DATA"
_MIA_SETS = "https://github.com/privacytrustlab/datasets"

ADULT_COLUMNS = (
    "age",
    "workclass",
    "fnlwgt",
    "education",
    "education-num",
    "marital-status",
    "occupation",
    "relationship",
    "race",
    "sex",
    "capital-gain",
    "capital-loss",
    "hours-per-week",
    "native-country",
    "income",
)


@dataclass(frozen=True, kw_only=True)
class Source:
    """A data set known by name.

    Attributes:
        description: One line for the help.
        address: Where the public fetches it; empty where nothing is to be fetched.
        read: Reads it, given the name and the source's folder or None.
    """

    description: str
    address: str
    read: Callable[[str, Path | None], Dataset]


def load(
    name: str,
    *,
    folder: Path | None = None,
    label: str | None = None,
    missing: str | None = None,
    categorical: Collection[str] | None = None,
) -> Dataset:
    """Loads a named source, the folder of one, or the file at a path that ends in .npz, .csv or .parquet.

    A table whose features are all 0 or 1 becomes BinaryFeatures, any other a MixedTable fitted on all rows.
    An .npz holds `inputs` and `labels` (or x and y, X and y). Its images are (n, C, H, W), or (n, H, W, C)
    with C 1 or 3; bytes are divided by 255. Its vectors become BinaryFeatures where all 0 or 1, else a
    MixedTable, that is, standardised numbers: any between the bounds where the array is of floats, whole
    ones where it is of integers. Labels become 0 to C - 1 in sorted order.

    Args:
        name: A key of SOURCES, a path to a file, or a path to a folder that is named like a source.
        folder: Where named sources lie, in `folder/<name>` or `folder`; None takes HARDLABEL_DATA.
        label: The column of a .csv or .parquet that holds the class; image tables default to "label".
        missing: Declares missing values in a table: NaN, and cells that read so.
        categorical: Columns of a table to take as categorical although they hold numbers.

    Raises:
        InvalidInput: The source is unknown, missing or unreadable, or holds what its domain or labels forbid.
    """
    checks.path(data=name)
    path = Path(name).expanduser()
    if path.is_dir() and path.resolve().name in SOURCES and name not in SOURCES:
        return load(path.resolve().name, folder=path.resolve().parent)
    if path.suffix.lower() not in FILE_TYPES:
        checks.one_of(SOURCES, data=name)
        return _SOURCES[name].read(name, folder)
    if not path.is_file():
        found = "a folder" if path.is_dir() else "something else" if path.exists() else "none"
        raise InvalidInput(f"data {name!r} must be a file, found {found} in {path.absolute().parent}")
    return read_file(path, label=label, missing=missing, categorical=categorical)


# Named sources.


def _digits(name: str, folder: Path | None) -> Dataset:
    from sklearn.datasets import load_digits  # Slow to import, and for this source alone.

    del folder
    bunch = load_digits()
    inputs = torch.from_numpy((bunch.images[:, None] / 16).astype(np.float32))
    labels = torch.from_numpy(bunch.target.astype(np.int64))
    return coded(
        name,
        inputs,
        labels,
        class_names=[str(i) for i in range(10)],
        domain=Box((1, 8, 8)),
        origin="bundled with scikit-learn",
    )


def _images(name: str, folder: Path | None) -> Dataset:
    paths = [*_find(name, folder, "train-*.parquet"), *_find(name, folder, "test-*.parquet")]
    return read_images(name, paths, label_columns=("fine_label", "label"), origin=_SOURCES[name].address)


def _location(name: str, folder: Path | None) -> Dataset:
    return _labelled_bits(name, folder, "dataset_location.tgz", "bangkok", classes=30)


def _purchase100(name: str, folder: Path | None) -> Dataset:
    return _labelled_bits(name, folder, "dataset_purchase.tgz", "dataset_purchase", classes=100)


def _texas100(name: str, folder: Path | None) -> Dataset:
    archive, *members = "dataset_texas.tgz", "texas/100/feats", "texas/100/labels"
    with _member(name, folder, archive, members[0]) as feats:
        bits = read_integers(feats)
    with _member(name, folder, archive, members[1]) as lines:
        labels = read_integers(lines)
    if labels.shape[1] != 1 or len(labels) != len(bits):
        raise InvalidInput(
            f"data {name!r} needs one label per row of feats, got {labels.shape} labels and {len(bits)} rows"
        )
    return _from_bits(name, bits, labels[:, 0], classes=100)


def _adult(name: str, folder: Path | None) -> Dataset:
    frames = []
    for file, skipped in (("adult.data", 0), ("adult.test", 1)):  # The test file opens with a remark.
        [path] = _find(name, folder, file)
        frame = read_csv(
            path,
            header=None,
            names=list(ADULT_COLUMNS),
            skiprows=skipped,
            skipinitialspace=True,
            keep_default_na=False,
        )
        frames.append(frame)
    rows = pd.concat(frames, ignore_index=True)
    income = rows["income"].astype(str).str.rstrip(".")
    wrong = sorted(set(income) - {"<=50K", ">50K"})
    if wrong:
        raise InvalidInput(f"data {name!r} must have incomes <=50K and >50K, got {wrong[0]!r}")
    features = rows.drop(columns="income")
    table = MixedTable.fit(features, missing="?")
    labels = torch.from_numpy((income == ">50K").to_numpy(dtype=np.int64))
    return coded(
        name,
        table.encode(features),
        labels,
        class_names=["<=50K", ">50K"],
        domain=table,
        origin=_SOURCES[name].address,
    )


_SOURCES = MappingProxyType(
    {
        "adult": Source(
            description="UCI Adult: 48,842 people, 14 mixed features, income above 50K or not",
            address="https://archive.ics.uci.edu/dataset/2/adult",
            read=_adult,
        ),
        "cifar10": Source(
            description="CIFAR-10: 32x32 colour images, 10 classes (Hugging Face Parquet)",
            address="https://huggingface.co/datasets/uoft-cs/cifar10",
            read=_images,
        ),
        "cifar100": Source(
            description="CIFAR-100: 32x32 colour images, 100 fine classes (Hugging Face Parquet)",
            address="https://huggingface.co/datasets/uoft-cs/cifar100",
            read=_images,
        ),
        "digits": Source(
            description="Digits: 1,797 grey 8x8 images, 10 classes (bundled with scikit-learn)",
            address="",
            read=_digits,
        ),
        "location": Source(
            description="Location-30: Foursquare check-ins in Bangkok, 446 binary features, 30 classes",
            address=_MIA_SETS,
            read=_location,
        ),
        "mnist": Source(
            description="MNIST: 28x28 grey images, 10 classes (Hugging Face Parquet)",
            address="https://huggingface.co/datasets/ylecun/mnist",
            read=_images,
        ),
        "purchase100": Source(
            description="Purchase-100: shoppers, 600 binary features, 100 classes",
            address=_MIA_SETS,
            read=_purchase100,
        ),
        "texas100": Source(
            description="Texas-100: hospital stays, 6,169 binary features, 100 classes",
            address=_MIA_SETS,
            read=_texas100,
        ),
    }
)

SOURCES = MappingProxyType({name: source.description for name, source in _SOURCES.items()})


# Their formats.


def _labelled_bits(name: str, folder: Path | None, archive: str, member: str, *, classes: int) -> Dataset:
    with _member(name, folder, archive, member) as lines:
        rows = read_integers(lines)
    return _from_bits(name, rows[:, 1:], rows[:, 0], classes=classes)


def _from_bits(name: str, bits: NDArray[np.int8], labels: NDArray[np.int8], *, classes: int) -> Dataset:
    """Data whose labels are published as 1 to `classes`."""
    if not bits.size:
        raise InvalidInput(f"data {name!r} must have rows and features, got shape {bits.shape}")
    wrong = labels[(labels < 1) | (labels > classes)]
    if len(wrong):
        raise InvalidInput(f"data {name!r} must have labels 1 to {classes}, got {wrong[0]}")
    return coded(
        name,
        torch.from_numpy(bits).to(torch.float32),
        torch.from_numpy(labels.astype(np.int64) - 1),
        class_names=[str(i + 1) for i in range(classes)],
        domain=BinaryFeatures(bits.shape[1]),
        origin=_SOURCES[name].address,
    )


# Finding and opening.


def _find(name: str, folder: Path | None, *patterns: str) -> list[Path]:
    """The files that fit the first pattern which any file fits, in `folder/<name>` or else `folder`, sorted."""
    wanted, address = " or ".join(patterns), _SOURCES[name].address
    chosen = folder if folder is not None else os.environ.get(FOLDER_VARIABLE)
    if not chosen:
        raise InvalidInput(
            f"data {name!r} needs a folder: give one or set {FOLDER_VARIABLE}; fetch {wanted} from {address}"
        )
    places = [Path(chosen).expanduser() / name, Path(chosen).expanduser()]
    for place in places:
        for pattern in patterns:
            found = sorted(path for path in place.glob(pattern) if path.is_file())
            if found:
                return found
    raise InvalidInput(f"data {name!r} is missing: no {wanted} in {places[0]} or {places[1]}; fetch it from {address}")


@contextmanager
def _member(name: str, folder: Path | None, archive: str, member: str) -> Iterator[IO[bytes]]:
    """A file of a published archive, or the same file unpacked."""
    [path] = _find(name, folder, member, archive)
    if path.name == archive:
        with member_of(path, member) as opened:
            yield opened
        return
    with readable(path), path.open("rb") as file:
        yield file
