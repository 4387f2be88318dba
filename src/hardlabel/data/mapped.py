"""Decoded data kept as an Arrow file, which every process on a machine maps into its memory and none copies."""

import hashlib
import os
import pickle
import warnings
from collections.abc import Collection
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from hardlabel.data import sources
from hardlabel.data.dataset import Dataset
from hardlabel.data.samples import Samples
from hardlabel.store import DAMAGED, DamagedPiece, Spec, Store, digest

FORMAT = 1  # Raised when the same files come to mean other samples.
FOLDER = "data"  # Of a store.
WORTH_KEEPING = 2**24  # Bytes of decoded inputs below which decoding again is quicker done than told.
MOST_VALUES = 2**31 - 1  # That an Arrow array of fixed-size lists can hold.


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

    Found again by the names, sizes and times of the files and by the settings; a checksum is compared.

    Raises:
        InvalidInput: See `sources.load`.
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
    if path.exists():
        found = read(path)
        if found is not None:
            return found
        warnings.warn(f"{path} {DAMAGED}", DamagedPiece, stacklevel=2)
    data = sources.load(name, **settings)  # type: ignore[arg-type]
    values = data.samples.inputs.numel()
    if 4 * values >= WORTH_KEEPING and values <= MOST_VALUES:
        write(data, path)
        return read(path) or data
    return data


def write(data: Dataset, path: Path) -> None:
    """Keeps a data set as one Arrow file, whole or not at all."""
    samples = data.samples
    inputs = np.ascontiguousarray(samples.inputs.numpy())
    facts = (data.name, data.classes, data.class_names, data.origin, samples.domain, tuple(inputs.shape[1:]))
    columns = {
        "ids": pa.array(samples.ids.numpy()),
        "labels": pa.array(samples.labels.numpy()),
        "inputs": pa.FixedSizeListArray.from_arrays(pa.array(inputs.reshape(-1)), int(np.prod(inputs.shape[1:]))),
    }
    checksum = _checksum(inputs, samples.labels.numpy(), samples.ids.numpy())
    # Domains are objects of ours: a store is trusted like code.
    metadata = {"facts": pickle.dumps(facts), "checksum": checksum}
    batch = pa.record_batch(columns).replace_schema_metadata(metadata)
    path.parent.mkdir(exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with pa.OSFile(str(draft), "wb") as file, pa.ipc.new_file(file, batch.schema) as writer:
            writer.write_batch(batch)
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def read(path: Path) -> Dataset | None:
    """The data set of such a file, mapped and read-only; None where the file is damaged."""
    try:
        batch = pa.ipc.open_file(pa.memory_map(str(path))).get_batch(0)
        ids, labels = (batch.column(name).to_numpy() for name in ("ids", "labels"))
        name, classes, class_names, origin, domain, shape = pickle.loads(batch.schema.metadata[b"facts"])
        inputs = batch.column("inputs").flatten().to_numpy().reshape(-1, *shape)
        if batch.schema.metadata[b"checksum"] != _checksum(inputs, labels, ids):
            return None
    except (OSError, ValueError, KeyError, pickle.UnpicklingError, pa.ArrowException):
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # That the memory is read-only: data are never written to.
        tensors = (torch.from_numpy(array) for array in (ids, inputs, labels))
        samples = Samples(**dict(zip(("ids", "inputs", "labels"), tensors, strict=True)), domain=domain)
    return Dataset(name=name, samples=samples, classes=classes, class_names=class_names, origin=origin)


def _checksum(*arrays: NDArray[np.generic]) -> bytes:
    found = hashlib.sha256()
    for array in arrays:
        found.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return found.hexdigest().encode()


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
