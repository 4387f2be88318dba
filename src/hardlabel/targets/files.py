"""Load models from files, without running code that lies in them unless the caller says so."""

import hashlib
import importlib.util
import inspect
import os
import pickle
import re
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from hardlabel import checks
from hardlabel.checks import InvalidInput, listed
from hardlabel.data import limits
from hardlabel.reading import Unreadable, content, json_value, opened
from hardlabel.targets import archives
from hardlabel.targets.frameworks.base import package, reason
from hardlabel.targets.frameworks.table import plain

MOST_BYTES = 2**36  # Of a model file, or of a folder with a model.
MOST_FILES = 10_000  # In a folder.
MOST_JSON = 2**24  # Bytes of a configuration.
BLOCK = 2**22  # Bytes read at a time.
TRIAL_SECONDS = 120  # Loading a booster in a process of its own.
HEAD = 4096  # Bytes that tell what a file holds.

# What is tried in a process of its own: to load a booster, and to ask it about three rows.
_LIGHTGBM = """
import sys, lightgbm, numpy
booster = lightgbm.Booster(model_file=sys.argv[1])
booster.predict(numpy.zeros((3, booster.num_feature())))
"""
_XGBOOST = """
import sys, xgboost, numpy
booster = xgboost.Booster(model_file=bytearray(open(sys.argv[1], "rb").read()))
rows = numpy.zeros((3, booster.num_features()))
booster.predict(xgboost.DMatrix(rows, feature_names=booster.feature_names, feature_types=booster.feature_types))
"""
_FUNCTION = re.compile(r"(?P<file>.+\.py):(?P<name>[^:/\\]*)")


def load_target(path: Path | str, *, trust_pickle: bool = False, trust_types: Sequence[str] = ()) -> object:
    """The model in a file, in a folder, or from a function, as `plain` gives it.

    | name | what it is |
    |---|---|
    | .joblib, .pkl, .pickle | a pickle, only with `trust_pickle` |
    | .skops | a scikit-learn model |
    | .onnx | an ONNX model |
    | .pt, .pth | TorchScript; with `trust_pickle` also a pickled module |
    | .pt2 | a program of torch.export |
    | .ubj, .json, .txt, .bin | a booster of XGBoost or LightGBM |
    | .keras | a Keras 3 model |
    | a folder with config.json | a classifier of transformers; with a tokenizer, it is asked about texts |
    | FILE.py:function | what the function returns |

    Links to files are followed.

    Args:
        path: Where the model is.
        trust_pickle: Whether code in a pickle may run.
        trust_types: Types that a .skops file may hold in addition to those that skops trusts.

    Raises:
        InvalidInput: There is no such model, it is damaged, its package is not installed, it would run code that is not
            trusted, or it is not a classifier with one label for each row.

    Example:
        >>> from hardlabel.targets.files import load_target
        >>> load_target("model.joblib")
        Traceback (most recent call last):
        hardlabel.checks.InvalidInput: target is a pickle: loading it runs its code; add --trust-pickle or convert ...
    """
    checks.path(target=path)
    function = _FUNCTION.fullmatch(str(path))
    if function is not None:
        return _from_function(Path(function["file"]), function["name"])
    path = Path(path)
    if os.path.isdir(path):
        return _folder(path)
    suffix = path.suffix.lower()
    if suffix in PICKLES and not trust_pickle:
        raise InvalidInput("target is a pickle: loading it runs its code; add --trust-pickle or convert it to .skops")
    if suffix == ".py":
        raise InvalidInput(f"target {path.name} must be followed by the name of a function: {path.name}:load")
    if suffix not in LOADERS:
        raise InvalidInput(
            f"target must be {', '.join(LOADERS)}, a folder with config.json or FILE.py:function, got {path.name!r}"
        )
    _check_file(path)
    return LOADERS[suffix](path, trust_pickle, trust_types)


def target_hash(path: Path | str) -> str:
    """A hash of a model's file, or of all files in its folder with their names: 64 hexadecimal digits.

    Answers are kept under it. An ONNX model's weights in other files count too.

    Raises:
        InvalidInput: The file cannot be read; or the target is FILE.py:function, whose model can change while the file
            stays the same.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from hardlabel.targets.files import target_hash
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = (Path(folder) / "model.onnx").write_bytes(b"")
        ...     target_hash(Path(folder) / "model.onnx")[:8]
        'e3b0c442'
    """
    checks.path(target=path)
    if _FUNCTION.fullmatch(str(path)) is not None:
        raise InvalidInput(f"target {Path(path).name} is code: its content does not identify the model, give it a name")
    path = Path(path)
    if os.path.isdir(path):
        digest = hashlib.sha256()
        for file in _files(path):
            digest.update(f"{file.relative_to(path).as_posix()}\0".encode(errors="surrogateescape"))
            digest.update(_file_hash(file, name=path.name))
        return digest.hexdigest()
    content_hash = _file_hash(path, name=path.name)
    beside = _beside(path)
    if not beside:
        return content_hash.hex()
    return hashlib.sha256(b"".join([content_hash, *(_file_hash(file, name=file.name) for file in beside)])).hexdigest()


# Functions and folders.


def load_function(place: str, *, role: str) -> Callable[..., object]:
    """The function that FILE.py:FUNCTION names; the file is imported, which runs it.

    Args:
        place: The file and the function's name.
        role: What errors call it.

    Raises:
        InvalidInput: There is no such file or function, or the file cannot be imported.
    """
    named = _FUNCTION.fullmatch(place)
    if named is None:
        raise InvalidInput(f"{role} must be FILE.py:FUNCTION, got {place!r}")
    path, name = Path(named["file"]), named["name"]
    _check_file(path)
    module = _imported(path)
    function = getattr(module, name, None) if name else None
    if not callable(function):
        known = sorted(key for key, value in vars(module).items() if inspect.isfunction(value))
        raise InvalidInput(
            f"{role} {path.name}:{name} must be a function of that file, whose functions are {listed(known)}"
        )
    loaded: Callable[..., object] = function
    return loaded


def _from_function(path: Path, name: str) -> object:
    """What the function `name` of the Python file returns."""
    place = f"{path.name}:{name}"
    function = load_function(f"{path}:{name}", role="target")
    try:
        needed = [
            parameter.name
            for parameter in inspect.signature(function).parameters.values()
            if parameter.default is parameter.empty
            and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        ]
    except (TypeError, ValueError):  # A function without a signature, of C.
        needed = []
    if needed:
        raise InvalidInput(f"target {place} must take no arguments, it asks for {listed(needed)}: give them defaults")
    try:
        model = function()
    except (Exception, SystemExit) as error:
        raise InvalidInput(f"target {place} raised {type(error).__name__}: {reason(error)}") from error
    if model is None:
        raise InvalidInput(f"target {place} must return a model or an oracle, got None: is there a return?")
    return plain(model, role=f"target {place}")


def _imported(path: Path) -> ModuleType:
    """The Python file as a module. Its folder goes to the end of `sys.path`, so that it can import its neighbours."""
    path = path.resolve()
    folder = str(path.parent)
    if folder not in sys.path:
        sys.path.append(folder)
    # A name of its own, which stands for no other module.
    name = f"hardlabel_target_{hashlib.sha256(str(path).encode()).hexdigest()[:16]}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None, "it ends with .py"
    assert spec.loader is not None, "it ends with .py"
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        place = f" in line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        raise InvalidInput(
            f"target {path.name} cannot be imported: {type(error).__name__}{place}: {reason(error)}"
        ) from error
    import cloudpickle

    cloudpickle.register_pickle_by_value(module)  # Other processes cannot import it.
    return module


def _folder(path: Path) -> object:
    """A classifier of transformers; safetensors only, and no code beside it."""
    files = {file.relative_to(path).as_posix() for file in _files(path)}
    if "config.json" not in files:
        raise InvalidInput(f"target {path.name} must be a folder with config.json, as save_pretrained writes it")
    config = _config(path / "config.json")
    if "adapter_config.json" in files:
        raise InvalidInput(f"target {path.name} holds an adapter without its network: merge them and save the result")
    if not any(file.endswith(".safetensors") for file in files):
        raise InvalidInput(
            f"target {path.name} must hold its weights as .safetensors: model.save_pretrained(folder) writes them"
        )
    transformers = package("transformers", "huggingface")
    heads = [str(head) for head in config.get("architectures") or []]
    kinds = {
        "ForSequenceClassification": "AutoModelForSequenceClassification",
        "ForImageClassification": "AutoModelForImageClassification",
        "ForAudioClassification": "AutoModelForAudioClassification",
    }
    loader = next((loader for head, loader in kinds.items() if any(head in name for name in heads)), None)
    if loader is None:
        raise InvalidInput(
            f"target {path.name} must be a classifier ({listed(kinds)}), got {listed(heads) or 'no architecture'}"
        )
    local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    with _quiet(path, "transformers"), _no_progress(transformers.utils.logging):
        model, loading = getattr(transformers, loader).from_pretrained(
            path, use_safetensors=True, output_loading_info=True, **local
        )
    lacking = sorted(map(str, loading.get("missing_keys", ())))
    if lacking:
        raise InvalidInput(
            f"target {path.name} lacks weights of its network ({listed(lacking)}): save it again after training"
        )
    model.eval()
    from hardlabel.targets.frameworks import huggingface

    huggingface.check_classifier(model, "target")
    if model.main_input_name == "input_ids" and files & {"tokenizer.json", "tokenizer_config.json"}:
        with _quiet(path, "transformers"):
            tokenizer = transformers.AutoTokenizer.from_pretrained(path, **local)
        return huggingface.TextRows(model, tokenizer)
    if model.main_input_name == "pixel_values" and "preprocessor_config.json" in files:
        return huggingface.PixelNetwork(model, processing=_config(path / "preprocessor_config.json"))
    return plain(model)


# Files, by the end of their names.


def _pickle(path: Path, trust_pickle: bool, trust_types: Sequence[str]) -> object:
    del trust_pickle, trust_types  # The caller has checked that it is trusted.
    import joblib

    with _readable(path):
        model = joblib.load(path)
    return plain(model)


def _skops(path: Path, trust_pickle: bool, trust_types: Sequence[str]) -> object:
    del trust_pickle
    archives.members(path, times=limits.MOST_UNPACKED)
    io = package("skops.io", "skops")
    with _readable(path):
        unknown = sorted(io.get_untrusted_types(file=path))
    distrusted = [name for name in unknown if name not in trust_types]
    if distrusted:
        offered = " ".join(f"--trust-type {name}" for name in distrusted[:5])
        raise InvalidInput(f"skops file holds types that are not trusted: {listed(distrusted)}; {offered}")
    with _readable(path):
        model = io.load(path, trusted=unknown)
    return plain(model)


def _onnx(path: Path, trust_pickle: bool, trust_types: Sequence[str]) -> object:
    del trust_pickle, trust_types
    _beside(path)  # Weights in other files are regular files too.
    return plain(path)


def _torch(path: Path, trust_pickle: bool, trust_types: Sequence[str]) -> object:
    """TorchScript, else what torch.save wrote: weights only, or with `trust_pickle` a whole module."""
    import torch

    files: dict[str, Any] = {}
    if zipfile.is_zipfile(path):
        files = archives.inside(archives.members(path, times=archives.STORED))
        if "archive_format" in files:
            return _program(path, trust_pickle, trust_types)
    if "constants.pkl" in files:
        with _readable(path):
            return plain(torch.jit.load(path, map_location="cpu"))  # type: ignore[no-untyped-call]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return plain(torch.load(path, map_location="cpu", weights_only=not trust_pickle))
    except pickle.UnpicklingError as error:
        if trust_pickle or not re.search(r"Unsupported (global|class|operand)|GLOBAL", str(error)):
            raise _damaged(path, error) from error
        raise InvalidInput(
            "target is a pickled module: loading it runs its code; add --trust-pickle, or save it with "
            "torch.jit.script(model).save(...) or torch.export.save(...)"
        ) from error
    except InvalidInput:
        raise
    except Exception as error:  # Damaged files raise much that is not documented.
        raise _damaged(path, error) from error


def _program(path: Path, trust_pickle: bool, trust_types: Sequence[str]) -> object:
    del trust_pickle, trust_types
    import torch

    archives.check_program(path)
    with _readable(path), _quiet(path, "torch.export"):
        program = torch.export.load(path)
    return plain(program)


def _booster(path: Path, trust_pickle: bool, trust_types: Sequence[str]) -> object:
    """XGBoost or LightGBM, told apart by content."""
    del trust_pickle, trust_types
    with opened(path) as file:
        head = file.read(HEAD)
    if head.startswith(b"tree") and b"version=" in head:
        lightgbm = package("lightgbm", "boosters")
        _check_trees(path)
        _try_to_load(path, _LIGHTGBM)
        with _readable(path):
            return plain(lightgbm.Booster(model_file=str(path)))
    if head[:1] == b"{" and (b"learner" in head or b"version" in head):
        xgboost = package("xgboost", "boosters")
        _try_to_load(path, _XGBOOST)
        with _readable(path):
            return plain(xgboost.Booster(model_file=bytearray(path.read_bytes())))
    if head[:2] == b"PK" or head[:1] == b"\x80":
        raise InvalidInput(f"target {path.name} is a file of torch or a pickle: name it .pt or .pkl")
    raise InvalidInput(
        f"target {path.name} must be a model of XGBoost (.ubj, .json) or LightGBM (.txt), got other content"
    )


def _keras(path: Path, trust_pickle: bool, trust_types: Sequence[str]) -> object:
    del trust_pickle, trust_types
    config = archives.check_keras(path)
    if "keras" not in sys.modules:
        os.environ.setdefault("KERAS_BACKEND", "torch")
    keras = package("keras", "keras")
    with _readable(path):
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    compiled = config.get("compile_config")
    loss = compiled.get("loss") if isinstance(compiled, dict) else None
    if isinstance(loss, dict):
        inner = loss.get("config")
        loss = (inner.get("name") if isinstance(inner, dict) else inner) or loss.get("class_name")
    from hardlabel.targets.frameworks.keras import plain_keras

    return plain_keras(model, "target", loss=loss if isinstance(loss, str) else None)


PICKLES = (".joblib", ".pkl", ".pickle")
LOADERS: dict[str, Callable[[Path, bool, Sequence[str]], object]] = {
    **dict.fromkeys(PICKLES, _pickle),
    ".skops": _skops,
    ".onnx": _onnx,
    ".pt": _torch,
    ".pth": _torch,
    ".pt2": _program,
    **dict.fromkeys((".ubj", ".json", ".txt", ".bin"), _booster),
    ".keras": _keras,
}


# Checks before anything is loaded.


def _check_file(path: Path) -> None:
    """Refuses what is no regular file, is larger than MOST_BYTES, or larger than the memory.

    Raises:
        InvalidInput: It is.
    """
    try:
        with opened(path) as file:
            size = os.fstat(file.fileno()).st_size
    except Unreadable as error:
        raise InvalidInput(f"target {path.name} cannot be read: {error}") from error
    if not size:
        raise InvalidInput(f"target {path.name} cannot be read: it is empty")
    if size > MOST_BYTES:
        raise InvalidInput(f"target {path.name} must have at most {MOST_BYTES:,} bytes, got {size:,}")
    limits.afford(size, f"target {path.name}")


def _files(folder: Path) -> list[Path]:
    """The files of a folder and the folders in it, in the order of their names; hidden ones are left out.

    Raises:
        InvalidInput: There are more than MOST_FILES, or one is no regular file.
    """
    every: list[Path] = []
    for place, folders, names in os.walk(folder, onerror=None):
        folders[:] = [name for name in folders if not name.startswith(".")]
        every += [Path(place) / name for name in names if not name.startswith(".")]
        if len(every) > MOST_FILES:
            raise InvalidInput(f"target {folder.name} must hold at most {MOST_FILES:,} files, got more")
    total = 0
    for file in every:
        try:
            with opened(file) as stream:
                total += os.fstat(stream.fileno()).st_size
        except Unreadable as error:
            raise InvalidInput(f"target {folder.name}: {file.name} cannot be read: {error}") from error
    if total > MOST_BYTES:
        raise InvalidInput(f"target {folder.name} must have at most {MOST_BYTES:,} bytes, got {total:,}")
    limits.afford(total, f"target {folder.name}")
    return sorted(every, key=lambda file: file.relative_to(folder).as_posix())


def _config(path: Path) -> dict[str, Any]:
    try:
        config = json_value(content(path, most=MOST_JSON))
    except Unreadable as error:
        raise InvalidInput(f"target: {path.name} cannot be read: {error}") from error
    if not isinstance(config, dict):
        raise InvalidInput(f"target: {path.name} must map names to values, got {type(config).__name__}")
    return config


def _beside(path: Path) -> list[Path]:
    """The files beside an ONNX model in which it keeps weights.

    Raises:
        InvalidInput: One is outside the model's folder, or no regular file.
    """
    if path.suffix.lower() != ".onnx" or not path.stat().st_size:
        return []
    onnx = package("onnx", "onnx")
    with _readable(path):
        graph = onnx.load(path, load_external_data=False).graph
    places = {
        entry.value
        for tensor in graph.initializer
        if tensor.data_location == onnx.TensorProto.EXTERNAL
        for entry in tensor.external_data
        if entry.key == "location"
    }
    files = []
    for place in sorted(places):
        file = path.parent / place
        if Path(place).is_absolute() or ".." in Path(place).parts:
            raise InvalidInput(f"target {path.name} must keep its weights in its own folder, got {place!r}")
        _check_file(file)
        files.append(file)
    return files


def _check_trees(path: Path) -> None:
    """Refuses a LightGBM model that is cut off. LightGBM itself would read some of them without a warning.

    Raises:
        InvalidInput: The trees are not as long as the model says, or what follows them is missing.
    """
    with _readable(path):
        payload = content(path, most=path.stat().st_size)
    sizes = re.search(rb"^tree_sizes=([0-9 ]+)$", payload, re.MULTILINE)
    start = payload.find(b"Tree=0\n")
    if sizes is not None and start >= 0:
        place = start
        for number, size in enumerate(map(int, sizes[1].split())):
            if not payload.startswith(b"Tree=%d\n" % number, place):
                break
            place += size
        else:
            if payload.startswith(b"end of trees", place) and b"\nend of parameters" in payload[place:]:
                return
    raise InvalidInput(f"target {path.name} cannot be read: it is damaged or cut off")


def _try_to_load(path: Path, code: str) -> None:
    """Loads a file in a process of its own first, since a damaged one may end the process.

    Raises:
        InvalidInput: It does.
    """
    command = [sys.executable, "-c", code, str(path)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=TRIAL_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise InvalidInput(
            f"target {path.name} cannot be read within {TRIAL_SECONDS} seconds: is it damaged?"
        ) from error
    if done.returncode:
        raise InvalidInput(f"target {path.name} cannot be read: it is damaged or cut off")


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turns whatever a reader raises into one line; only reading belongs inside."""
    try:
        yield
    except InvalidInput:
        raise
    except ModuleNotFoundError as error:
        raise InvalidInput(f"target {path.name} needs the module {error.name}, which is not installed here") from error
    except Exception as error:  # Readers raise much that they do not document.
        raise _damaged(path, error) from error


@contextmanager
def _quiet(path: Path, logger: str) -> Iterator[None]:
    """The same, and what the library logs about the file is dropped: the error tells it."""
    import logging

    names = [name for name in logging.root.manager.loggerDict if name.startswith(logger)]
    loggers = [logging.getLogger(name) for name in {logger, *names}]
    levels = [each.level for each in loggers]
    for each in loggers:
        each.setLevel(logging.CRITICAL)
    try:
        with _readable(path), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for each, level in zip(loggers, levels, strict=True):
            each.setLevel(level)


@contextmanager
def _no_progress(logging: Any) -> Iterator[None]:
    """No progress bars of transformers, which would run into those of an audit."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _damaged(path: Path, error: BaseException) -> InvalidInput:
    if isinstance(error, MemoryError):
        return InvalidInput(f"target {path.name} cannot be read: it needs more memory than there is")
    return InvalidInput(f"target {path.name} cannot be read: {reason(error)}")


def _file_hash(path: Path, *, name: str) -> bytes:
    digest = hashlib.sha256()
    try:
        with opened(path) as file:
            while block := file.read(BLOCK):
                digest.update(block)
    except (Unreadable, OSError) as error:
        raise InvalidInput(f"target {name} cannot be read: {error}") from error
    return digest.digest()
