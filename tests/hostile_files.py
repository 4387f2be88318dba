"""Data files made to do harm, for tests: each is written by a function, and `SEEN` says what must be told of it."""

import io
import json
import struct
import tarfile
import zipfile
import zlib

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet


def npy(shape, descr="<f8", *, payload=b"", version=1):
    """An array file whose header promises what it likes."""
    header = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape!r}, }}\n".encode()
    length = struct.pack("<H", len(header)) if version == 1 else struct.pack("<I", len(header))
    return b"\x93NUMPY" + bytes([version, 0]) + length + header + payload


def npz(path, *, compression=zipfile.ZIP_STORED, **members):
    """An archive of array files."""
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in members.items():
            file.writestr(f"{name}.npy", content)


def honest(values):
    """An array file."""
    file = io.BytesIO()
    np.save(file, np.asarray(values))
    return file.getvalue()


LABELS = honest([0, 1])
INPUTS = honest(np.eye(2))
PACKED = zipfile.ZIP_DEFLATED


def png(width, height, *, bits=8, rows=0):
    """A grey picture whose header promises width x height, with `rows` rows of zeros in it."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    data = zlib.compress(b"\0" * (rows * (1 + width * bits // 8)), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 2 2\n%%EndComments\nshowpage\n"


def pictures(path, cells, labels=(0, 1)):
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    column = pa.array([{"bytes": cell, "path": None} for cell in cells], kind)
    pyarrow.parquet.write_table(pa.table({"img": column, "label": list(labels)}), path)


def column(path, cells, kind=None):
    """A table of two rows with an odd column."""
    table = pa.table({"a": [1.5, 2.5], "odd": pa.array(cells, kind), "y": [0, 1]})
    pyarrow.parquet.write_table(table, path)


def locked(path):
    npz(path, x=INPUTS, y=LABELS)
    content = bytearray(path.read_bytes())
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.find(mark) + offset] |= 1
    path.write_bytes(bytes(content))


def lying_size(path):
    """An array of 16 bytes of which header and archive say terabytes."""
    npz(path, x=npy((10**12, 1), payload=b"\0" * 16), y=LABELS)
    content = bytearray(path.read_bytes())
    place = content.find(b"PK\x01\x02")
    content[place + 24 : place + 28] = struct.pack("<I", 2**32 - 2)
    path.write_bytes(bytes(content))


def declared_rows(path, count):
    """Two rows, of which the metadata say that they are `count`."""
    pd.DataFrame({"a": [1.5, 2.5], "y": [0, 1]}).to_parquet(path)
    content = path.read_bytes()
    size = struct.unpack("<I", content[-8:-4])[0]
    wide, value = b"", 2 * count  # Thrift's i64: zigzag, 7 bits a byte.
    while value > 127:
        wide, value = wide + bytes([value & 127 | 128]), value >> 7
    footer = content[-8 - size : -8].replace(b"\x16\x04", b"\x16" + wide + bytes([value]))
    path.write_bytes(content[: -8 - size] + footer + struct.pack("<I", len(footer)) + b"PAR1")


def long_text_in_every_row(path):
    """A few kilobytes that decode to a hundred gigabytes: every row reads the same long text of a dictionary."""
    rows = 10**5
    text = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, dtype=np.int32)), pa.array(["a" * 10**6]))
    table = pa.table({"a": np.arange(float(rows)), "odd": text, "y": np.arange(rows) % 2})
    pyarrow.parquet.write_table(table, path, compression="zstd", store_schema=False, dictionary_pagesize_limit=2**22)


def metadata(path, text):
    """Pictures with metadata like Hugging Face's."""
    pictures(path, [png(1, 1, rows=1)] * 2)
    table = pyarrow.parquet.read_table(path).replace_schema_metadata({"huggingface": text})
    pyarrow.parquet.write_table(table, path)


def categories_by_the_thousand(path):
    """A file of which each byte encodes to many: 1,000 categories in each of 300 columns."""
    names = pa.array([f"c{place:03}" for place in range(1000)]).dictionary_encode()
    table = {f"k{place}": names for place in range(300)}
    pyarrow.parquet.write_table(pa.table({**table, "y": np.arange(1000) % 2}), path)


class _Zeros(io.RawIOBase):
    def __init__(self, size):
        self.left = size

    def read(self, size=-1):
        size = min(self.left, 2**20 if size < 0 else size)
        self.left -= size
        return b"\0" * size


def archive(path, members):
    """A packed tar archive whose members hold zeros."""
    with tarfile.open(path, "w:gz") as file:
        for name, size in members:
            info = tarfile.TarInfo(name)
            info.size = size
            file.addfile(info, _Zeros(size))


TEXT_OF_NAMES = json.dumps({"info": {"features": {"label": {"names": "ab"}}}})
MANY = ",".join(["a"] * 3_000_000) + "\n"

# Name of the file, how it is written, and what the one line must say; nothing where the data are taken.
SEEN = {
    "a header of terabytes": ("x.npz", lambda p: npz(p, x=npy((10**12, 1)), y=LABELS), "more bytes than the file"),
    "a packed header of terabytes": (
        "x.npz",
        lambda p: npz(p, compression=PACKED, x=npy((10**6, 10**6)), y=LABELS),
        "more bytes than the file",
    ),
    "a size in the archive that is not there": ("x.npz", lying_size, "more bytes than the file"),
    "labels of terabytes": ("x.npz", lambda p: npz(p, x=INPUTS, y=npy((10**12,))), "more bytes than the file"),
    "texts of no bytes": ("x.npz", lambda p: npz(p, x=INPUTS, y=npy((10**12,), "<U0")), "numbers or text, got <U0"),
    "an axis below 0": ("x.npz", lambda p: npz(p, x=npy((-1, 2)), y=LABELS), "cannot be read"),
    "Python objects": ("x.npz", lambda p: npz(p, x=npy((2, 1), "|O"), y=LABELS), "holds Python objects"),
    "an array that is no archive": ("x.npz", lambda p: p.write_bytes(INPUTS), "not a zip file"),
    "a locked archive": ("x.npz", locked, "encrypted"),
    "another packing": ("x.npz", lambda p: npz(p, compression=zipfile.ZIP_LZMA, x=INPUTS, y=LABELS), "numpy.savez"),
    "records": ("x.npz", lambda p: npz(p, x=npy((2, 1), [("a", "<f8")], payload=b"\0" * 16), y=LABELS), "be numbers"),
    "complex labels": ("x.npz", lambda p: npz(p, x=INPUTS, y=honest([1j, 2j])), "must be numbers or text"),
    "pictures of unsigned integers": (
        "x.npz",
        lambda p: np.savez(p, x=np.full((2, 1, 2, 2), 2**63, "u8"), y=[0, 1]),
        "lower must be below upper",
    ),
    "an EPS picture": ("x.parquet", lambda p: pictures(p, [EPS, EPS]), "row 0: it is none of PNG, JPEG"),
    "a picture of a billion pixels": ("x.parquet", lambda p: pictures(p, [png(2**15, 2**15)] * 2), "67,108,864 pixels"),
    "a picture of a hundred million pixels": (
        "x.parquet",
        lambda p: pictures(p, [png(10**4, 10**4)] * 2),
        "67,108,864 pixels",
    ),
    "pictures of too many pixels together": (
        "x.parquet",
        lambda p: pictures(p, [png(8192, 8192)] * 1000, np.arange(1000) % 2),
        "1,000 pictures needs 335.5 GB of memory",
    ),
    "a picture of 16 bits": ("x.parquet", lambda p: pictures(p, [png(1, 1, bits=16, rows=1)] * 2), "of 8 bits"),
    "a picture that is not there": ("x.parquet", lambda p: pictures(p, [None, None]), "row 0 has none: embed"),
    "names that are a text": ("x.parquet", lambda p: metadata(p, TEXT_OF_NAMES), ""),
    "metadata without an end": ("x.parquet", lambda p: metadata(p, "[" * 10**5), ""),
    "lists": ("x.parquet", lambda p: column(p, [[1], [2]]), r"x.parquet: column 'odd' must.*got list<.*: leave it out"),
    "structs": ("x.parquet", lambda p: column(p, [{"k": 1}, {"k": 2}]), r"x.parquet: column 'odd' must.*got struct<"),
    "maps": ("x.parquet", lambda p: column(p, [[("k", 1)]] * 2, pa.map_(pa.string(), pa.int64())), "'odd'.*got map<"),
    "bytes": ("x.parquet", lambda p: column(p, [b"1", b"2"]), "x.parquet: column 'odd' must.*got binary: leave"),
    "lists of lists": ("x.parquet", lambda p: column(p, [[[[1]]], [[[2]]]]), "x.parquet: column 'odd' must.*got list<"),
    "a trillion rows": ("x.parquet", lambda p: declared_rows(p, 10**12), "1,000,000,000,000 rows, needs 16,000.0 GB"),
    "rows that are not there": ("x.parquet", lambda p: declared_rows(p, 1000), "the 1,000 rows it promises, got 2"),
    "one long text in every row": ("x.parquet", long_text_in_every_row, "needs [0-9.]* GB of memory"),
    "millions of columns": ("x.csv", lambda p: p.write_text(MANY), "at most 65,536 columns"),
    "millions of columns after a line end in a name": (
        "x.csv",
        lambda p: p.write_text(f'"a,\n",{MANY}'),
        "at most 65,536 columns",
    ),
    "a null character": ("x.csv", lambda p: p.write_bytes(b"a,y\n1\0,2\n"), "null character, save it as text in UTF-8"),
    "another encoding": ("x.csv", lambda p: p.write_bytes("größe,y\n1,2\n".encode("latin-1")), "as text in UTF-8"),
    "UTF-16": ("x.csv", lambda p: p.write_bytes("a,y\n1,2\n".encode("utf-16")), "as text in UTF-8"),
    "half a character": ("x.csv", lambda p: p.write_bytes(b"a,y\n1,\xc3"), "as text in UTF-8"),
    "more cells than names": ("x.csv", lambda p: p.write_text("a,y\n1,2,3\n4,5,6\n"), "a name for each column"),
    "no end of a text": ("x.csv", lambda p: p.write_text('a,y\n"1,2\n'), "cannot be read"),
    "control characters": ("x.csv", lambda p: p.write_bytes(b"\x1b[2J,y\na\x1b[2J,1\n\x07,1\n"), "at least 2 classes"),
    "a long label": ("x.csv", lambda p: p.write_text(f"a,y\n1,{'b' * 10**6}\n2,c\n"), "a text of 1,000,000 characters"),
    "an empty table": ("x.csv", lambda p: p.write_bytes(b""), "cannot be read"),
    "an empty archive": ("x.npz", lambda p: p.write_bytes(b""), "cannot be read"),
    "an empty Parquet": ("x.parquet", lambda p: p.write_bytes(b""), "cannot be read"),
    "names alone": ("x.csv", lambda p: p.write_text("a,y\n"), "must have rows"),
}
