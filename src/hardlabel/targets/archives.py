"""Model files that are zip archives, looked through before anything of them is loaded."""

import io
import re
import zipfile
from pathlib import Path
from typing import Any, NoReturn

import torch

from hardlabel.checks import InvalidInput, shown
from hardlabel.data import limits
from hardlabel.reading import json_value

MOST_MEMBERS = 200_000
MOST_JSON = 2**28  # Bytes of the description of a network.
STORED = 2  # Times its size that an archive which does not compress may unpack to.
# What expressions of sizes are made of, as sympy writes them. They are evaluated. No powers: these can be endless.
_SIZES = re.compile(
    r"(?:Symbol\('\w+'(?:, \w+=(?:True|False))*\)|(?:Integer|Add|Mul|Max|Min|Mod|PythonMod|FloorDiv|CeilDiv|CleanDiv|"
    r"ModularIndexing|Eq|Ne|Ge|Gt|Le|Lt|Equality|Unequality|GreaterThan|StrictGreaterThan|LessThan|StrictLessThan|"
    r"And|Or|Not|true|false|True|False|int_oo|oo|[su]\d+|\d{1,19})(?!\w)|\*(?!\*)|[-+/%(),<>=&|~ ])*"
)
_OPERATION = re.compile(r"torch\.ops\.(?:aten|prims|prim|higher_order)\.\w+(?:\.\w+)?|_operator\.\w+|math\.\w+")
_NAME = re.compile(r"[\w.]*")


def members(path: Path, *, times: float) -> dict[str, zipfile.ZipInfo]:
    """The files in the archive at `path`, by their names.

    Raises:
        InvalidInput: It is no archive, is damaged, or unpacks to more than `times` its size or more than the memory.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise InvalidInput(f"target {path.name} cannot be read: it is damaged or cut off") from error
    total = sum(info.file_size for info in infos)
    if len(infos) > MOST_MEMBERS or total > times * path.stat().st_size + 2**20:
        raise InvalidInput(f"target {path.name} cannot be read: it promises {total:,} bytes in {len(infos):,} files")
    limits.afford(total, f"target {path.name}")
    return {info.filename: info for info in infos}


def inside(files: dict[str, zipfile.ZipInfo]) -> dict[str, zipfile.ZipInfo]:
    """The same without the folder that torch puts all files of an archive into."""
    return {name.partition("/")[2]: info for name, info in files.items()}


def check_program(path: Path) -> None:
    """Refuses an archive of torch.export that would run code when it is loaded.

    `torch.export.load` unpickles some members, and evaluates expressions. Only archives are let through in which
    weights are plain numbers, sample inputs load as weights, and expressions are arithmetic of sizes.

    Raises:
        InvalidInput: The archive is damaged, or holds something else.
    """
    files = inside(members(path, times=STORED))
    if "archive_format" not in files or "models/model.json" not in files:
        raise InvalidInput(f"target {path.name} is no program of this version of torch.export: export it again")
    for name in files:
        known = name.startswith((".data/", ".format", "archive_", "byteorder", "version", "extra/")) or name in (
            "models/model.json",
            "data/sample_inputs/model.pt",
            "data/weights/model_weights_config.json",
            "data/constants/model_constants_config.json",
        )
        if not known and not re.fullmatch(r"data/weights/weight_\d+|data/constants/tensor_\d+", name):
            _refuse(path, f"the file {shown(name)}")
    with zipfile.ZipFile(path) as archive:
        for kind in ("weights", "constants"):
            config = _json(archive, files.get(f"data/{kind}/model_{kind}_config.json"))
            for name, entry in (config.get("config") or {}).items():
                plain = isinstance(entry, dict) and entry.get("use_pickle") is False
                if not plain or not re.fullmatch(r"(weight|tensor)_\d+", str(entry.get("path_name"))):
                    _refuse(path, f"the pickled weight {shown(name)}")
        if "data/sample_inputs/model.pt" in files:
            try:
                torch.load(io.BytesIO(archive.read(files["data/sample_inputs/model.pt"])), weights_only=True)
            except Exception:  # Of many kinds.
                _refuse(path, "sample inputs that are no plain tensors")
        _check_graph(path, _json(archive, files["models/model.json"]))


def check_keras(path: Path) -> dict[str, Any]:
    """The description of the network in a .keras file, in which all classes are Keras's own.

    Raises:
        InvalidInput: The file is damaged, or names a class of other code.
    """
    files = members(path, times=limits.MOST_UNPACKED)
    if "config.json" not in files:
        raise InvalidInput(f"target {path.name} is no Keras 3 model: save it with model.save('name.keras')")
    with zipfile.ZipFile(path) as archive:
        config = _json(archive, files["config.json"])
    for part in _mappings(config):
        module = part.get("module")
        if isinstance(module, str) and module.partition(".")[0] not in ("keras", "builtins"):
            raise InvalidInput(
                f"target {path.name} holds the class {shown(part.get('class_name'))} of {shown(module)}, which is not "
                "Keras's own: load it in a function of your own, --target FILE.py:function"
            )
        if part.get("class_name") in ("__lambda__", "Lambda", "TorchModuleWrapper"):
            raise InvalidInput(f"target {path.name} holds code ({part['class_name']}), which is not loaded")
    return config


def _check_graph(path: Path, graph: dict[str, Any]) -> None:
    for part in _mappings(graph):
        for key, value in part.items():
            if key == "guards_code" and value:
                _refuse(path, "guards")
            if not isinstance(value, str):
                continue
            if key == "expr_str" and not _SIZES.fullmatch(value):
                _refuse(path, f"the expression {shown(value)}")
            if key == "target" and "inputs" in part and not _OPERATION.fullmatch(value):
                _refuse(path, f"the operation {shown(value)}")
            if key in ("name", "as_name", "fqn", "parameter_name", "buffer_name") and not _NAME.fullmatch(value):
                _refuse(path, f"the name {shown(value)}")


def _refuse(path: Path, what: str) -> NoReturn:
    raise InvalidInput(
        f"target {path.name} holds {what}, which may run code when it is loaded: export the network again, or load it "
        "in a function of your own, --target FILE.py:function"
    )


def _json(archive: zipfile.ZipFile, info: zipfile.ZipInfo | None) -> dict[str, Any]:
    if info is None:
        return {}
    if info.file_size > MOST_JSON:
        raise InvalidInput(f"target must describe its network in at most {MOST_JSON:,} bytes, got {info.file_size:,}")
    try:
        value = json_value(archive.read(info))
    except Exception as error:  # Damaged members raise errors of zlib and others.
        raise InvalidInput("target cannot be read: its description is damaged") from error
    if not isinstance(value, dict):
        raise InvalidInput(f"target cannot be read: its description must map names, got {type(value).__name__}")
    return value


def _mappings(value: Any) -> list[dict[str, Any]]:
    """All mappings in a JSON value, the outermost first."""
    waiting, every = [value], []
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            every.append(part)
            waiting += part.values()
        elif isinstance(part, list):
            waiting += part
    return every
