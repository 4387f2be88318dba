"""Protocols of servers: what is sent for rows, and where the answers stand.

A protocol makes requests and reads answers; it sends nothing itself. See `Http` for who sends.
"""

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hardlabel.checks import InvalidInput, listed, shown
from hardlabel.targets.http.answers import WrongAnswer, chosen
from hardlabel.targets.http.rows import Column, columns_of, is_table, records_of, table_of, values_of

Get = Callable[[str], Any]  # The JSON behind a path of the server; None where there is none.


@dataclass(frozen=True)
class Request:
    """A request about rows.

    Attributes:
        path: Path on the server, with the query.
        body: The body.
        method: GET, POST, PUT, ...
        headers: Headers besides those of the connection.
    """

    path: str
    body: bytes
    method: str = "POST"
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})


class Speaks(Protocol):
    """A protocol, for one model on one server."""

    @property
    def name(self) -> str:
        """What tells this protocol from others in the target's identity."""
        ...

    @property
    def version(self) -> str:
        """The model's version as the server declares it; "" if it declares none."""
        ...

    @property
    def most_rows(self) -> int | None:
        """The most rows of a request, where the protocol or the model says it."""
        ...

    def met(self, get: Get) -> "Speaks":
        """The same protocol with what the server says about the model; `get` asks it about no row.

        Raises:
            InvalidInput: The server has no such model.
        """
        ...

    def request(self, rows: Any) -> Request:
        """The request about rows in the caller's terms.

        Raises:
            InvalidInput: The model takes other rows.
        """
        ...

    def values(self, payload: Any, rows: int, *, scores: bool) -> Any:
        """The answers in the JSON of an answer: one value for each row; see `answers.Reading`.

        Raises:
            WrongAnswer: There are none.
        """
        ...


def as_json(value: Any) -> bytes:
    """A body of JSON; NaN and infinity are no JSON, and `rows.values_of` lets none of them pass."""
    try:
        import orjson

        return orjson.dumps(value)  # In a tenth of the time, to the same numbers.
    except (ImportError, TypeError):  # It refuses what is no UTF-8, and whole numbers of more than 64 bits.
        pass
    return json.dumps(value, separators=(",", ":"), allow_nan=False, ensure_ascii=False).encode(errors="surrogatepass")


def problem_of(payload: Any) -> str:
    """The text of an error in JSON as servers write it; "" where there is none."""
    for _ in range(3):
        if isinstance(payload, str):
            return payload
        if isinstance(payload, list) and payload:
            payload = payload[0]
        elif isinstance(payload, Mapping):
            names = ("error", "message", "detail", "error_message", "msg", "error_code", "reason")
            payload = next((payload[name] for name in names if payload.get(name)), None)
    return payload if isinstance(payload, str) else ""


# Open Inference Protocol, version 2.

_DATATYPES: dict[str, str] = {
    "BOOL": "bool", "UINT8": "u1", "UINT16": "u2", "UINT32": "u4", "UINT64": "u8", "INT8": "i1", "INT16": "i2",
    "INT32": "i4", "INT64": "i8", "FP16": "f2", "FP32": "f4", "FP64": "f8",
}  # fmt: skip
BYTES = "BYTES"


@dataclass(frozen=True)
class Tensor2:
    """An input or output of a model, as its metadata describe it.

    Attributes:
        name: Its name.
        datatype: Its type in the protocol: "FP32", "BYTES", ...
        shape: Its shape with the rows; -1 is any number.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class OpenInference:
    """The Open Inference Protocol, version 2: KServe, MLServer, Triton, OpenVINO.

    Attributes:
        path: Path of the model: /v2/models/NAME, perhaps with /versions/VERSION.
        version: The versions that the server declares.
        inputs: The inputs that the server declares; () if it declares none.
        outputs: The outputs likewise.
    """

    path: str
    version: str = ""
    inputs: tuple[Tensor2, ...] = ()
    outputs: tuple[str, ...] = ()
    name: str = "v2"

    @classmethod
    def at(cls, path: str) -> "OpenInference":
        """The protocol for a model's path; a last part /infer counts as part of the protocol."""
        model = path.rstrip("/").removesuffix("/infer")
        if "/models/" not in model:
            raise InvalidInput(
                f"target must name a model as in https://host/v2/models/NAME, got the path {shown(path)}"
            )
        return cls(path=model)

    @property
    def most_rows(self) -> int | None:
        """The fixed size of a batch, where the model has one."""
        fixed = [tensor.shape[0] for tensor in self.inputs if tensor.shape and tensor.shape[0] > 0]
        return min(fixed) if fixed else None

    def met(self, get: Get) -> "OpenInference":
        """See `Speaks`."""
        told = get(self.path)
        if not isinstance(told, dict):
            return self
        try:
            inputs = tuple(
                Tensor2(str(each["name"]), str(each["datatype"]), tuple(int(size) for size in each["shape"]))
                for each in told.get("inputs") or ()
            )
            outputs = tuple(str(each["name"]) for each in told.get("outputs") or ())
            versions = told.get("versions") or ()
        except (TypeError, KeyError, ValueError):
            return self
        return replace(self, inputs=inputs, outputs=outputs, version=",".join(map(str, versions)))

    def request(self, rows: Any) -> Request:
        """One input for each column, or one matrix where the model has one input."""
        columns = columns_of(rows)
        body: dict[str, Any] = {"inputs": [self._input(*each) for each in self._arranged(columns)]}
        if is_table(rows) and not self.inputs:
            body["parameters"] = {"content_type": "pd"}  # MLServer makes a frame of the inputs.
        if len(self.outputs) > 1:
            body["outputs"] = [{"name": name} for name in self.outputs]
        return Request(f"{self.path}/infer", as_json(body))

    def _arranged(self, columns: list[Column]) -> list[tuple[Column, Tensor2 | None]]:
        """The columns, each with the input that takes it."""
        if not self.inputs:
            return [(Column(column.name or "input-0", column.values), None) for column in columns]
        if len(self.inputs) == 1 and (len(columns) > 1 or columns[0].name != self.inputs[0].name):
            return [(_together(columns, self.inputs[0]), self.inputs[0])]
        wanted = {tensor.name: tensor for tensor in self.inputs}
        given = {column.name for column in columns}
        if given != wanted.keys():
            missing, extra = listed(wanted.keys() - given) or "none", listed(given - wanted.keys()) or "none"
            raise InvalidInput(
                f"target must have the columns of the data as inputs: only the target has {missing}, only the data "
                f"have {extra}; --ignore COLUMN leaves a column out"
            )
        return [(column, wanted[column.name]) for column in columns]

    def _input(self, column: Column, tensor: Tensor2 | None) -> dict[str, Any]:
        values = column.values
        if tensor is None:
            shape, datatype = values.shape, _datatype(values)
        else:
            values = _shaped(values, tensor)
            datatype, shape = tensor.datatype, values.shape
            values = _cast(values, datatype, tensor.name)
        if tensor is not None and tensor.shape and len(values) < tensor.shape[0]:  # A batch of a fixed size.
            values = np.concatenate([values, np.repeat(values[-1:], tensor.shape[0] - len(values), axis=0)])
            shape = values.shape
        flat = values_of(Column(column.name, values.reshape(-1)))
        if datatype == BYTES:
            flat = [cell if cell is None or isinstance(cell, str) else str(cell) for cell in flat]
        described: dict[str, Any] = {"name": column.name, "shape": list(shape), "datatype": datatype, "data": flat}
        if datatype == BYTES and not self.inputs:
            described["parameters"] = {"content_type": "str"}  # MLServer reads bytes otherwise.
        return described

    def values(self, payload: Any, rows: int, *, scores: bool) -> Any:
        """See `Speaks`."""
        outputs = payload.get("outputs") if isinstance(payload, dict) else None
        if not isinstance(outputs, list) or not all(isinstance(each, dict) for each in outputs):
            raise WrongAnswer("answered with JSON without outputs")
        named = {str(each.get("name")): each for each in outputs}
        output = chosen(named, scores=scores)
        shape, data = output.get("shape"), output.get("data")
        if not isinstance(data, list) or not isinstance(shape, list) or not all(isinstance(n, int) for n in shape):
            raise WrongAnswer("answered with an output without shape and data")
        flat = _flat(data)
        padded = self.most_rows is not None and bool(shape) and shape[0] == self.most_rows
        if not shape or (shape[0] != rows and not padded) or math.prod(shape) != len(flat):
            raise WrongAnswer(f"answered with {len(flat)} values of shape {shown(shape)} to {rows} rows")
        width = len(flat) // shape[0] if shape[0] else 0
        return [flat[place * width : (place + 1) * width] for place in range(rows)]


def _datatype(values: NDArray[Any]) -> str:
    if values.dtype.kind == "O":
        numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values if value)
        return "FP64" if numbers and any(value is not None for value in values) else BYTES
    return next(name for name, code in _DATATYPES.items() if np.dtype(code) == values.dtype)


def _together(columns: list[Column], tensor: Tensor2) -> Column:
    """The columns as one matrix, for a model with one input."""
    if len(columns) == 1:
        return Column(tensor.name, columns[0].values)
    if any(column.is_text for column in columns) and tensor.datatype != BYTES:
        text = listed(repr(column.name) for column in columns if column.is_text)
        raise InvalidInput(f"target takes one input of type {tensor.datatype}, and columns hold text: {text}")
    return Column(tensor.name, np.stack([column.values for column in columns], 1))


def _shaped(values: NDArray[Any], tensor: Tensor2) -> NDArray[Any]:
    """The values (n, ...) in the shape of the input; only flat ones change theirs."""
    wanted, got = tensor.shape[1:], values.shape[1:]
    if not tensor.shape or _fits(got, wanted):
        return values
    if math.prod(got) == abs(math.prod(wanted)) or (math.prod(wanted) < 0 and len(wanted) == 1):
        if len(wanted) == 1 or math.prod(wanted) == 1:  # Flat rows, or a single value such as [-1, 1].
            return values.reshape(len(values), *([math.prod(got)] if len(wanted) == 1 else wanted))
        if len(got) == 1 and min(wanted) > 0:
            return values.reshape(len(values), *wanted)
    raise InvalidInput(
        f"target takes rows of shape {shown(list(wanted))} as {tensor.name!r}, the data have {shown(list(got))}"
    )


def _fits(got: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    return len(got) == len(wanted) and all(limit < 0 or size == limit for size, limit in zip(got, wanted, strict=True))


def _cast(values: NDArray[Any], datatype: str, name: str) -> NDArray[Any]:
    if datatype == BYTES:
        return values.astype(object)
    if datatype not in _DATATYPES:
        raise InvalidInput(f"target takes {name!r} as {shown(datatype)}, which is no type of the protocol")
    kind = np.dtype(_DATATYPES[datatype])
    try:
        cast: NDArray[Any] = values.astype(np.float64 if values.dtype.kind == "O" else values.dtype)
        whole = cast.astype(kind)
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"target takes {name!r} as {datatype}, the data have text there") from error
    if kind.kind in "biu" and not np.array_equal(whole.astype(np.float64), cast.astype(np.float64)):
        raise InvalidInput(f"target takes {name!r} as {datatype}, the data have fractions, missing or larger values")
    return whole


def _flat(data: list[Any]) -> list[Any]:
    """The values of nested lists, in order."""
    while data and isinstance(data[0], list):
        data = [value for values in data for value in (values if isinstance(values, list) else [values])]
    return data


# TensorFlow Serving.


@dataclass(frozen=True, kw_only=True)
class TensorFlowServing:
    """The REST interface of TensorFlow Serving: /v1/models/NAME:predict.

    Attributes:
        path: Path of the model: /v1/models/NAME, perhaps with /versions/VERSION or /labels/LABEL.
        by_columns: Whether inputs are sent in columns ("inputs"), not in rows ("instances").
        version: The version that serves.
        ranks: Of each input that the server declares, the number of its axes, the rows' axis too.
    """

    path: str
    by_columns: bool = False
    version: str = ""
    ranks: Mapping[str, int] = field(default_factory=dict)
    most_rows: int | None = None

    @classmethod
    def at(cls, path: str, *, by_columns: bool = False) -> "TensorFlowServing":
        """The protocol for a model's path; a last part :predict counts as part of the protocol."""
        model = path.rstrip("/").removesuffix(":predict")
        if "/models/" not in model:
            raise InvalidInput(f"target must be https://host/v1/models/NAME, got the path {shown(path)}")
        return cls(path=model, by_columns=by_columns)

    @property
    def name(self) -> str:
        """See `Speaks`."""
        return "tensorflow-inputs" if self.by_columns else "tensorflow"

    def met(self, get: Get) -> "TensorFlowServing":
        """See `Speaks`."""
        told = get(self.path)
        states = told.get("model_version_status") if isinstance(told, dict) else None
        if not isinstance(states, list):
            return self
        listed_states = [each for each in states if isinstance(each, dict)]
        able = [str(each.get("version")) for each in listed_states if each.get("state") == "AVAILABLE"]
        if states and not able:
            raise InvalidInput("target has no version that is available: wait until the server has loaded the model")
        return replace(self, version=",".join(able), ranks=_ranks(get(f"{self.path}/metadata")))

    def request(self, rows: Any) -> Request:
        """Rows ("instances"), or columns ("inputs")."""
        body: dict[str, Any]
        if not is_table(rows):
            body = {"inputs" if self.by_columns else "instances": values_of(columns_of(rows)[0])}
        elif len(self.ranks) == 1 and len(rows.columns) > 1:
            body = {"inputs" if self.by_columns else "instances": table_of(rows)[1]}
        elif self.by_columns:
            inputs = {column.name: values_of(column) for column in columns_of(rows)}
            body = {"inputs": {name: [self._cell(name, cell) for cell in cells] for name, cells in inputs.items()}}
        else:
            records = records_of(rows)
            body = {"instances": [{name: self._cell(name, cell) for name, cell in row.items()} for row in records]}
        return Request(f"{self.path}:predict", as_json(body))

    def _cell(self, name: str, cell: Any) -> Any:
        """Keras declares inputs (rows, 1), others (rows,)."""
        return cell if self.ranks.get(name) == 1 else [cell]

    def values(self, payload: Any, rows: int, *, scores: bool) -> Any:
        """See `Speaks`."""
        answered = payload.get("predictions", payload.get("outputs")) if isinstance(payload, dict) else None
        return _by_row(answered, rows, scores=scores)


def _ranks(told: Any) -> dict[str, int]:
    """The number of axes of each input, from the metadata of a model; {} where they are of another form."""
    try:
        inputs = told["metadata"]["signature_def"]["signature_def"]["serving_default"]["inputs"]
        return {str(name): len(each["tensor_shape"]["dim"]) for name, each in inputs.items()}
    except (TypeError, KeyError, AttributeError):
        return {}


# MLflow.


@dataclass(frozen=True, kw_only=True)
class MLflow:
    """MLflow's scoring server: /invocations, with frames as dataframe_split and arrays as instances.

    Attributes:
        path: Path of the address.
    """

    path: str
    version: str = ""
    most_rows: int | None = None
    name: str = "mlflow"

    @classmethod
    def at(cls, path: str) -> "MLflow":
        """The protocol for a path; /invocations is added where it is missing."""
        path = path.rstrip("/")
        return cls(path=path if path.endswith("/invocations") else f"{path}/invocations")

    def met(self, get: Get) -> "MLflow":
        """The server declares nothing about its model."""
        del get
        return self

    def request(self, rows: Any) -> Request:
        """See `Speaks`."""
        if is_table(rows):
            names, cells = table_of(rows)
            return Request(self.path, as_json({"dataframe_split": {"columns": names, "data": cells}}))
        return Request(self.path, as_json({"instances": values_of(columns_of(rows)[0])}))

    def values(self, payload: Any, rows: int, *, scores: bool) -> Any:
        """See `Speaks`. Answers of earlier versions are the list alone."""
        answered = payload.get("predictions") if isinstance(payload, dict) else payload
        return _by_row(answered, rows, scores=scores)


def _by_row(answered: Any, rows: int, *, scores: bool) -> Any:
    """Answers row by row: from a list of values or of outputs by name, or from outputs by name."""
    if isinstance(answered, dict):
        answered = chosen(answered, scores=scores)
    if not isinstance(answered, list):
        raise WrongAnswer("answered with JSON without predictions")
    if answered and all(isinstance(row, dict) for row in answered) and len(answered) == rows:
        named = [row for row in answered if not all(isinstance(value, int | float) for value in row.values())]
        if named or len(answered[0]) == 1:
            return [chosen(row, scores=scores) for row in answered]
    return answered


BUILT_IN: dict[str, Callable[[str], Speaks]] = {
    "v2": OpenInference.at,
    "tensorflow": TensorFlowServing.at,
    "tensorflow-inputs": lambda path: TensorFlowServing.at(path, by_columns=True),
    "mlflow": MLflow.at,
}


def fits(path: str) -> str | None:
    """The protocol that a path looks like; None if it looks like none."""
    for pattern, name in ((r"/v2/models/", "v2"), (r"/v1/models/", "tensorflow"), (r"/invocations/?$", "mlflow")):
        if re.search(pattern, path):
            return name
    return None
