"""Decoded data kept as an Arrow file, which every process on a machine maps into its memory and none copies.

The last CHECKSUM_BYTES of a file are the checksum of all bytes before them and of the file's name. It is compared
before anything is parsed. A file holds numbers and JSON, no pickle.
"""

import contextlib
import hashlib
import json
import math
import mmap
import os
import uuid
import warnings
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from hardlabel import reading
from hardlabel.checks import InvalidInput
from hardlabel.data import sources
from hardlabel.data.columns import Categorical, Missing, Numeric
from hardlabel.data.dataset import Dataset
from hardlabel.data.domain import BinaryFeatures, Box, Domain
from hardlabel.data.samples import Samples
from hardlabel.data.table import MixedTable
from hardlabel.reading import Unreadable
from hardlabel.store import DATA, Spec, Store, digest

FORMAT = 2  # Raised when the same files come to mean other samples. Files of format 1 held a pickle; none is read.
FOLDER = DATA
CHECKSUM_BYTES = 64  # As hexadecimal digits.
WORTH_KEEPING = 2**24  # Bytes of decoded inputs below which decoding again is quicker done than told.
MOST_VALUES = 2**31 - 1  # That an Arrow array of fixed-size lists can hold.
FACTS = b"facts"  # The key of names, origin and domain in a file's metadata.


def load(
    name: str,
    *,
    folder: Path | None = None,
    label: str | None = None,
    missing: str | None = None,
    categorical: Collection[str] | None = None,
    store: Store | None = None,
) -> Dataset:
    """What `sources.load` gives; large data are decoded once, kept in the store and mapped from there.

    Found again by the names, sizes and times of the files and by the settings. A checksum of the whole file is compared
    first; a damaged file is told (see `Store.damaged`) and made again.

    Raises:
        InvalidInput: See `sources.load`.

    Example:
        >>> from hardlabel.data import mapped
        >>> tuple(mapped.load("digits").samples.inputs.shape)
        (1797, 1, 8, 8)
    """
    files = _files(name, folder)
    settings: dict[str, object] = {"folder": folder, "label": label, "missing": missing, "categorical": categorical}
    if store is None or not files:
        return sources.load(name, **settings)  # type: ignore[arg-type]
    spec: Spec = {
        "kind": "data",
        "format": FORMAT,
        "name": name,
        "files": files,
        "label": label,
        "missing": missing,
        "categorical": None if categorical is None else sorted(categorical),
    }
    path = store.root / FOLDER / f"{digest(spec)}.arrow"
    if os.path.lexists(path):
        found = read(path)
        if found is not None:
            store.uses_data(path)
            return found
        store.damaged(path)
    data = sources.load(name, **settings)  # type: ignore[arg-type]
    values = data.samples.inputs.numel()
    if 4 * values >= WORTH_KEEPING and values <= MOST_VALUES:
        with contextlib.suppress(IsADirectoryError):  # Somebody made a folder of this name: the data are not kept.
            write(data, path)
        store.uses_data(path)
        return read(path) or data
    return data


def write(data: Dataset, path: Path) -> None:
    """Keeps a data set as one Arrow file, whole or not at all.

    Raises:
        OSError: The disk is full or broken.
    """
    samples = data.samples
    inputs = np.ascontiguousarray(samples.inputs.numpy())
    facts = {
        "name": data.name,
        "classes": data.classes,
        "class_names": list(data.class_names),
        "origin": data.origin,
        "domain": _told(samples.domain),
        "shape": list(inputs.shape[1:]),
    }
    columns = {
        "ids": pa.array(samples.ids.numpy()),
        "labels": pa.array(samples.labels.numpy()),
        "inputs": pa.FixedSizeListArray.from_arrays(pa.array(inputs.reshape(-1)), math.prod(inputs.shape[1:])),
    }
    batch = pa.record_batch(columns).replace_schema_metadata({FACTS: json.dumps(facts)})
    path.parent.mkdir(exist_ok=True)
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with pa.OSFile(str(draft), "wb") as file, pa.ipc.new_file(file, batch.schema) as writer:
            writer.write_batch(batch)
        with draft.open("rb+") as file:
            checksum = hashlib.sha256(path.name.encode())
            while block := file.read(2**24):
                checksum.update(block)
            file.write(checksum.hexdigest().encode())
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def read(path: Path) -> Dataset | None:
    """The data set of such a file, mapped and read-only; None where the file is damaged."""
    try:
        with reading.opened(path) as file:
            whole = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        end = max(len(whole) - CHECKSUM_BYTES, 0)
        checksum = hashlib.sha256(path.name.encode())
        with memoryview(whole) as view:
            checksum.update(view[:end])
        if whole[end:] != checksum.hexdigest().encode():
            return None
        return _parsed(pa.py_buffer(whole).slice(0, end))
    # ValueError: of an empty file, Unreadable, InvalidInput and what Arrow finds.
    except (OSError, ValueError, LookupError, TypeError, AttributeError, OverflowError, pa.ArrowException):
        return None


def _parsed(content: pa.Buffer) -> Dataset:
    batch = pa.ipc.open_file(content).get_batch(0)
    batch.validate(full=True)
    facts = reading.json_value(batch.schema.metadata[FACTS])
    shape = tuple(map(int, facts["shape"]))
    wanted = {"ids": pa.int64(), "labels": pa.int64(), "inputs": pa.list_(pa.float32(), math.prod(shape))}
    if {name: batch.schema.field(name).type for name in batch.schema.names} != wanted:
        raise Unreadable(f"it must have the columns {wanted}, got {batch.schema}")
    arrays = {
        "ids": batch.column("ids").to_numpy(),
        "inputs": batch.column("inputs").flatten().to_numpy().reshape(-1, *shape),
        "labels": batch.column("labels").to_numpy(),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # That the memory is read-only: data are never written to.
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    return Dataset(
        name=str(facts["name"]),
        samples=Samples(**tensors, domain=_domain(facts["domain"])),
        classes=int(facts["classes"]),
        class_names=tuple(map(str, facts["class_names"])),
        origin=str(facts["origin"]),
    )


def _told(domain: Domain) -> dict[str, Any]:
    """The domain as JSON. Numbers come back with their type, since keys of the store hold the domain's `repr`."""
    if isinstance(domain, Box):
        return {"kind": "box", **vars(domain)}
    if isinstance(domain, BinaryFeatures):
        return {"kind": "binary", **vars(domain)}
    assert isinstance(domain, MixedTable), "sources load no other domains"
    return {"kind": "table", "columns": [_told_column(column) for column in domain.columns], "missing": domain.missing}


def _told_column(column: Numeric | Categorical) -> dict[str, Any]:
    """The column as JSON; what older files do not hold stands there only where it has not its default."""
    told = dict(vars(column))
    for name in ("real", "levels", "values", "dtype"):
        if not told.get(name):
            told.pop(name, None)
    if "values" in told:
        told["values"] = [{"missing": v.value} if isinstance(v, Missing) else v for v in told["values"]]
    return told


def _domain(told: Mapping[str, Any]) -> Domain:
    """The domain that `_told` wrote.

    Raises:
        InvalidInput: It is none.
    """
    given = {name: value for name, value in told.items() if name != "kind"}
    match told["kind"]:
        case "box":
            return Box(**{**given, "shape": tuple(given["shape"])})
        case "binary":
            return BinaryFeatures(**given)
        case "table":
            return MixedTable(tuple(map(_column, given["columns"])), given["missing"])
    raise InvalidInput(f"domain must be a box, binary features or a table, got {told['kind']!r}")


def _column(told: Mapping[str, Any]) -> Numeric | Categorical:
    if "categories" in told:
        values = told.get("values")
        cells = None if values is None else tuple(Missing(v["missing"]) if isinstance(v, dict) else v for v in values)
        return Categorical(told["name"], tuple(told["categories"]), cells, told.get("dtype"))
    return Numeric(**{**told, "levels": tuple(told["levels"])} if "levels" in told else told)


def _files(name: str, folder: Path | None) -> list[list[str | int]]:
    """Every file the data may be read from, with size and time; none for data that need none."""
    path = Path(name).expanduser()
    if path.is_file():
        places = [path]
    else:
        root = Path(folder or os.environ.get(sources.FOLDER_VARIABLE) or path).expanduser()
        place = next((one for one in (path, root / name, root) if one.is_dir()), None)
        places = [] if name == "digits" or place is None else sorted(one for one in place.iterdir() if one.is_file())
    return [[str(one.absolute()), one.stat().st_size, one.stat().st_mtime_ns] for one in places]
