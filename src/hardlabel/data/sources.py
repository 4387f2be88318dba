"""Load data: published data sets in their published formats, and .npz, .csv and .parquet files.

Nothing is fetched. A data set that is missing is reported with its files, where they were looked for and
where the public finds them.
"""

import io
import json
import os
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import IO

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute
import pyarrow.csv
import pyarrow.parquet
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from hardlabel import checks
from hardlabel.checks import InvalidInput
from hardlabel.data.domain import BinaryFeatures, Box, Domain
from hardlabel.data.samples import Samples
from hardlabel.data.table import Categorical, MixedTable

FOLDER_VARIABLE = "HARDLABEL_DATA"
FILE_TYPES = (".npz", ".csv", ".parquet")
ARRAY_NAMES = (("inputs", "labels"), ("x", "y"), ("X", "y"))
IMAGE_COLUMNS = ("img", "image")  # What Hugging Face calls them.
CSV_BLOCK = 2**25  # Bytes parsed at a time.
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


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """Loaded data.

    Attributes:
        name: What it was asked for by: a named source, or a file's name.
        samples: All rows; ids are row numbers in the source's order, train rows before test rows.
        classes: Number of classes.
        class_names: What label i was called in the source, (classes,).
        origin: Where it comes from, in one line.
    """

    name: str
    samples: Samples
    classes: int
    class_names: tuple[str, ...]
    origin: str


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
    """Loads a named source, or the file at a path that ends in .npz, .csv or .parquet.

    A table whose features are all 0 or 1 becomes BinaryFeatures, any other a MixedTable fitted on all rows.
    An .npz holds `inputs` and `labels` (or x and y, X and y). Its images are (n, C, H, W), or (n, H, W, C)
    with C 1 or 3; bytes are divided by 255. Its vectors become BinaryFeatures where all 0 or 1, else a
    MixedTable, that is, standardised numbers: any between the bounds where the array is of floats, whole
    ones where it is of integers. Labels become 0 to C - 1 in sorted order.

    Args:
        name: A key of SOURCES, or a path.
        folder: Where named sources lie, in `folder/<name>` or `folder`; None takes HARDLABEL_DATA.
        label: The column of a .csv or .parquet that holds the class; image tables default to "label".
        missing: Declares missing values in a table: NaN, and cells that read so.
        categorical: Columns of a table to take as categorical although they hold numbers.

    Raises:
        InvalidInput: The source is unknown, missing or unreadable, or holds what its domain or labels forbid.
    """
    path = Path(name).expanduser()
    if path.suffix.lower() not in FILE_TYPES:
        checks.one_of(SOURCES, data=name)
        return _SOURCES[name].read(name, folder)
    if not path.is_file():
        raise InvalidInput(f"data {name!r} must be a file, found none in {path.absolute().parent}")
    with _readable(path):
        if path.suffix.lower() == ".npz":
            return _read_arrays(path)
        if path.suffix.lower() == ".csv":
            return _from_frame(path, pd.read_csv(path, skipinitialspace=True), label, missing, categorical)
        if set(IMAGE_COLUMNS) & set(pyarrow.parquet.read_schema(path).names):
            return _read_images(path.name, [path], label_columns=(label or "label",), origin=str(path))
        return _from_frame(path, pd.read_parquet(path), label, missing, categorical)


def infer_domain(inputs: Tensor) -> Domain:
    """The domain that `inputs` seem to come from.

    Images (n, C, H, W): the first of the boxes [0, 1], [-1, 1], [0, 255] that holds every value, else the
    least box with whole bounds. Vectors (n, d): BinaryFeatures where all values are 0 or 1, else the least
    box with whole bounds.

    Raises:
        InvalidInput: Another number of axes, no rows or no features, NaN or infinity.
    """
    if inputs.ndim not in (2, 4) or not inputs.numel():
        raise InvalidInput(
            f"inputs must be images (n, C, H, W) or vectors (n, d), none of them empty, got {tuple(inputs.shape)}"
        )
    if not bool(torch.isfinite(inputs).all()):
        raise InvalidInput("inputs must be finite, got NaN or infinity; a missing value must be declared")
    shape = tuple(inputs.shape[1:])
    if inputs.ndim == 2 and bool(((inputs == 0) | (inputs == 1)).all()):
        return BinaryFeatures(shape[0])
    lower, upper = float(inputs.min()), float(inputs.max())
    if inputs.ndim == 4:
        for low, high in ((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0)):
            if low <= lower and upper <= high:
                return Box(shape, low, high)
    low, high = float(np.floor(lower)), float(np.ceil(upper))
    return Box(shape, low, high if high > low else low + 1.0)


# Named sources.


def _digits(name: str, folder: Path | None) -> Dataset:
    from sklearn.datasets import load_digits  # Slow to import, and for this source alone.

    del folder
    bunch = load_digits()
    inputs = torch.from_numpy((bunch.images[:, None] / 16).astype(np.float32))
    labels = torch.from_numpy(bunch.target.astype(np.int64))
    return _dataset(name, inputs, labels, [str(i) for i in range(10)], Box((1, 8, 8)), "bundled with scikit-learn")


def _images(name: str, folder: Path | None) -> Dataset:
    paths = [*_find(name, folder, "train-*.parquet"), *_find(name, folder, "test-*.parquet")]
    return _read_images(name, paths, label_columns=("fine_label", "label"), origin=_SOURCES[name].address)


def _location(name: str, folder: Path | None) -> Dataset:
    return _labelled_bits(name, folder, "dataset_location.tgz", "bangkok", classes=30)


def _purchase100(name: str, folder: Path | None) -> Dataset:
    return _labelled_bits(name, folder, "dataset_purchase.tgz", "dataset_purchase", classes=100)


def _texas100(name: str, folder: Path | None) -> Dataset:
    archive, *members = "dataset_texas.tgz", "texas/100/feats", "texas/100/labels"
    with _member(name, folder, archive, members[0]) as feats:
        bits = _integers(feats)
    with _member(name, folder, archive, members[1]) as lines:
        labels = _integers(lines)
    if labels.shape[1] != 1 or len(labels) != len(bits):
        raise InvalidInput(
            f"data {name!r} needs one label per row of feats, got {labels.shape} labels and {len(bits)} rows"
        )
    return _from_bits(name, bits, labels[:, 0], classes=100)


def _adult(name: str, folder: Path | None) -> Dataset:
    frames = []
    for file, skipped in (("adult.data", 0), ("adult.test", 1)):  # The test file opens with a remark.
        [path] = _find(name, folder, file)
        with _readable(path):
            frame = pd.read_csv(
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
    return _dataset(name, table.encode(features), labels, ["<=50K", ">50K"], table, _SOURCES[name].address)


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


def _read_images(name: str, paths: list[Path], *, label_columns: tuple[str, ...], origin: str) -> Dataset:
    """Tables with a column of encoded pictures and one of labels, all pictures of one size."""
    cells: list[bytes] = []
    labels: list[object] = []
    names: list[str] | None = None
    for path in paths:
        with _readable(path):
            table = pyarrow.parquet.read_table(path)
            picture = _present(table, IMAGE_COLUMNS, path)
            column = _present(table, label_columns, path)
            if not pa.types.is_struct(table.schema.field(picture).type):
                raise InvalidInput(f"{path.name}: column {picture!r} must be a struct with the picture's bytes")
            cells += pyarrow.compute.struct_field(table[picture], "bytes").to_pylist()
            labels += table[column].to_pylist()
            names = names or _declared_names(table, column)
    inputs = _scaled(_decoded(name, cells))
    return _labelled(name, inputs, np.array(labels), Box(tuple(inputs.shape[1:])), origin, names)


def _present(table: pa.Table, columns: tuple[str, ...], path: Path) -> str:
    for column in columns:
        if column in table.column_names:
            return column
    raise InvalidInput(
        f"{path.name} must have a column {' or '.join(map(repr, columns))}, got {', '.join(table.column_names)}"
    )


def _declared_names(table: pa.Table, column: str) -> list[str] | None:
    """Names of the classes in Hugging Face's metadata, where it is there."""
    try:
        names = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"][column]["names"]
    except (KeyError, TypeError, ValueError):
        return None
    return [str(name) for name in names]


def _decoded(name: str, cells: list[bytes]) -> NDArray[np.uint8]:
    """Pixels (n, H, W, C); C is 1 where the first picture is grey, else 3."""
    pixels: NDArray[np.uint8] | None = None
    mode, size = "", (0, 0)
    for row, cell in enumerate(cells):
        try:
            with Image.open(io.BytesIO(cell)) as image:
                if pixels is None:
                    mode, size = "L" if image.mode in ("1", "L") else "RGB", image.size
                    pixels = np.empty((len(cells), size[1], size[0], len(mode)), dtype=np.uint8)
                if image.size != size:
                    raise InvalidInput(
                        f"data {name!r} must have pictures of size {size}, got {image.size} in row {row}"
                    )
                pixels[row] = np.asarray(image.convert(mode)).reshape(pixels.shape[1:])
        except (OSError, TypeError, SyntaxError, UnidentifiedImageError) as error:
            raise InvalidInput(f"data {name!r} must hold readable pictures, row {row}: {error}") from error
    if pixels is None:
        raise InvalidInput(f"data {name!r} must have rows, got none")
    return pixels


def _scaled(pixels: NDArray[np.uint8]) -> Tensor:
    """Pixels (n, H, W, C) as float32 (n, C, H, W) in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))).to(torch.float32).div_(255)


def _labelled_bits(name: str, folder: Path | None, archive: str, member: str, *, classes: int) -> Dataset:
    with _member(name, folder, archive, member) as lines:
        rows = _integers(lines)
    return _from_bits(name, rows[:, 1:], rows[:, 0], classes=classes)


def _from_bits(name: str, bits: NDArray[np.int8], labels: NDArray[np.int8], *, classes: int) -> Dataset:
    """Data whose labels are published as 1 to `classes`."""
    if not bits.size:
        raise InvalidInput(f"data {name!r} must have rows and features, got shape {bits.shape}")
    wrong = labels[(labels < 1) | (labels > classes)]
    if len(wrong):
        raise InvalidInput(f"data {name!r} must have labels 1 to {classes}, got {wrong[0]}")
    return _dataset(
        name,
        torch.from_numpy(bits).to(torch.float32),
        torch.from_numpy(labels.astype(np.int64) - 1),
        [str(i + 1) for i in range(classes)],
        BinaryFeatures(bits.shape[1]),
        _SOURCES[name].address,
    )


def _integers(lines: IO[bytes]) -> NDArray[np.int8]:
    """A headerless CSV of small integers, (rows, columns), read in blocks: Texas-100 has 415 million."""
    read = pyarrow.csv.ReadOptions(autogenerate_column_names=True, block_size=CSV_BLOCK)
    with pyarrow.csv.open_csv(lines, read_options=read) as reader:
        blocks = [_block(batch) for batch in reader]
    return np.concatenate(blocks)


def _block(batch: pa.RecordBatch) -> NDArray[np.int8]:
    if any(column.null_count for column in batch.columns):
        raise InvalidInput("a cell of integers must not be empty, got an empty one")
    return np.column_stack([column.cast(pa.int8()).to_numpy() for column in batch.columns])


# Files of any origin.


def _read_arrays(path: Path) -> Dataset:
    with np.load(path, allow_pickle=False) as file:
        pair = next((pair for pair in ARRAY_NAMES if set(pair) <= set(file.files)), None)
        if pair is None:
            raise InvalidInput(f"{path.name} must hold arrays inputs and labels, or x and y, got {file.files}")
        values, labels = file[pair[0]], file[pair[1]]
    if not (values.dtype == bool or np.issubdtype(values.dtype, np.number)) or np.iscomplexobj(values):
        raise InvalidInput(f"{path.name}: {pair[0]} must be numbers, got {values.dtype}")
    if values.ndim not in (2, 4) or not values.size:
        raise InvalidInput(
            f"{path.name}: {pair[0]} must be images (n, C, H, W) or vectors (n, d), none empty, got {values.shape}"
        )
    if not np.isfinite(values).all():
        raise InvalidInput(f"{path.name}: {pair[0]} must be finite, got NaN or infinity")
    if values.ndim == 4:
        if values.shape[3] in (1, 3) and values.shape[1] not in (1, 3):
            values = values.transpose(0, 3, 1, 2)
        inputs = torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
        return _labelled(path.name, inputs.div_(255) if values.dtype == np.uint8 else inputs, labels, None, str(path))
    if np.isin(values, (0, 1)).all():
        return _labelled(path.name, torch.from_numpy(values.astype(np.float32)), labels, None, str(path))
    frame = pd.DataFrame(values, columns=[f"feature {i}" for i in range(values.shape[1])])
    table = MixedTable.fit(frame)
    if np.issubdtype(values.dtype, np.floating):
        # Whole floats may be chance; a float array promises that every value between is legal.
        table = MixedTable(tuple(c if isinstance(c, Categorical) else replace(c, integer=False) for c in table.columns))
    return _labelled(path.name, table.encode(frame), labels, table, str(path))


def _from_frame(
    path: Path, frame: pd.DataFrame, label: str | None, missing: str | None, categorical: Collection[str] | None
) -> Dataset:
    frame.columns = pd.Index([str(column) for column in frame.columns])
    if label is None:
        raise InvalidInput(f"label must name the column of {path.name} with the class: {', '.join(frame.columns)}")
    checks.one_of(frame.columns, label=label)
    features = frame.drop(columns=label)
    table = MixedTable.fit(features, missing=missing, categorical=categorical)
    if not categorical and all(pd.api.types.is_numeric_dtype(kind) for kind in features.dtypes):
        values = features.to_numpy(dtype=np.float32, na_value=np.nan)
        if np.isin(values, (0, 1)).all():
            return _labelled(path.name, torch.from_numpy(values), frame[label].to_numpy(), None, str(path))
    return _labelled(path.name, table.encode(features), frame[label].to_numpy(), table, str(path))


def _labelled(
    name: str,
    inputs: Tensor,
    labels: NDArray[np.generic],
    domain: Domain | None,
    origin: str,
    names: list[str] | None = None,
) -> Dataset:
    """A data set whose labels, of any type, become 0 to C - 1; `names` are those of labels that are so already."""
    labels = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
    if labels.ndim != 1 or len(labels) != len(inputs):
        raise InvalidInput(f"labels must be one per input, got shape {labels.shape} for {len(inputs)} inputs")
    codes, values = pd.factorize(labels)
    if (codes < 0).any():
        raise InvalidInput(f"labels must not be missing, got {labels[codes < 0][0]} in row {int((codes < 0).argmax())}")
    if any(isinstance(value, float | np.floating) and not float(value).is_integer() for value in values):
        raise InvalidInput("labels must name classes, got numbers that are not whole")
    try:
        order = sorted(range(len(values)), key=lambda place: values[place])
    except TypeError as error:
        raise InvalidInput(f"labels must be of one type, got {error}") from error
    if len(order) < 2:
        raise InvalidInput(f"labels must name at least 2 classes, got {len(order)}")
    if names is not None and all(isinstance(v, int | np.integer) and 0 <= v < len(names) for v in values):
        return _dataset(name, inputs, torch.from_numpy(labels.astype(np.int64)), names, domain, origin)
    place_of = np.empty(len(order), dtype=np.int64)
    place_of[order] = np.arange(len(order))
    called = [values[place] for place in order]
    texts = [str(int(v)) if isinstance(v, float | np.floating) else str(v) for v in called]
    return _dataset(name, inputs, torch.from_numpy(place_of[codes]), texts, domain, origin)


def _dataset(
    name: str, inputs: Tensor, labels: Tensor, class_names: list[str], domain: Domain | None, origin: str
) -> Dataset:
    samples = Samples(
        ids=torch.arange(len(inputs)), inputs=inputs, labels=labels, domain=domain or infer_domain(inputs)
    )
    return Dataset(name=name, samples=samples, classes=len(class_names), class_names=tuple(class_names), origin=origin)


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
    with _readable(path):
        if path.name != archive:
            with path.open("rb") as file:
                yield file
            return
        with tarfile.open(path) as files:
            inside = next((info for info in files if info.isfile() and f"/{info.name}".endswith(f"/{member}")), None)
            opened = files.extractfile(inside) if inside is not None else None
            if opened is None:
                raise InvalidInput(f"{path} must hold {member}, and does not")
            with opened:
                yield opened


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turns what readers raise at a damaged or foreign file into one line."""
    try:
        yield
    except InvalidInput:
        raise
    except (
        OSError,
        EOFError,
        ValueError,
        zlib.error,
        tarfile.TarError,
        zipfile.BadZipFile,
        pa.ArrowException,
    ) as error:
        told = str(error).splitlines()
        raise InvalidInput(f"{path} cannot be read: {told[0] if told else type(error).__name__}") from error
