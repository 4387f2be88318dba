"""Templates: a YAML file says how a server that speaks no known protocol is asked, and where its answers stand."""

import base64
import hashlib
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from hardlabel import checks, reading
from hardlabel.checks import InvalidInput, shown
from hardlabel.reading import Unreadable
from hardlabel.targets.http.answers import WrongAnswer
from hardlabel.targets.http.protocols import Get, Request, as_json
from hardlabel.targets.http.rows import columns_of, is_table, records_of, table_of, values_of

ROWS, ROW = "$rows", "$row"  # In `body`: all rows of the request; its only row.
VALUES, RECORD, TEXT, IMAGE = "$values", "$record", "$text", "$image"  # In `row`.
COLUMN = "$column "  # In `row`, before the name of a column.
COUNT = "$count"  # In `body`: the number of rows.
EVERY = "*"  # In a path: every item of a list.
_SECRET_HEADERS = ("authorization", "proxy-authorization", "cookie", "x-api-key", "api-key")


@dataclass(frozen=True, kw_only=True)
class TemplateSettings:
    """What a template says. In the file, settings with a dot stand under the word before it.

    Attributes:
        method: Of the request: POST, PUT or PATCH.
        path: What follows the address of the target, "" for nothing.
        headers: Headers without secrets; those come by --header-env.
        most_rows: The most rows of a request; 1 for a server that is asked about one row at a time.
        body: The JSON of a request, in which "$rows" stands for a list of the rows, "$row" for the only row and
            "$count" for their number.
        row: What stands for a row: "$values" (a list), "$record" (a mapping by column), "$text", "$image", or JSON in
            which these and "$column NAME" stand.
        image_format: How an image becomes base64 (`image.format`): png keeps every pixel, jpeg does not.
        image_quality: Of jpeg, 1 to 100 (`image.quality`).
        image_prefix: What stands before the base64 (`image.prefix`), such as "data:image/png;base64,".
        answer_label: Path of the labels (`answer.label`). "*" stands for every item of a list: "results.*.label".
        answer_scores: Path of the scores (`answer.scores`): for each row a list of numbers, a mapping from labels to
            numbers, or a list of mappings with `label` and `score`.
        error: Path of an error's text. Where it leads to something, the answer is an error, whatever its status.
    """

    method: str = "POST"
    path: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    most_rows: int | None = None
    body: Any = ROWS
    row: Any = VALUES
    image_format: str = "png"
    image_quality: int = 95
    image_prefix: str = ""
    answer_label: str | None = None
    answer_scores: str | None = None
    error: str | None = None

    def __post_init__(self) -> None:
        for name in ("method", "path", "image_format", "image_prefix", "answer_label", "answer_scores", "error"):
            value = getattr(self, name)
            optional = name in ("answer_label", "answer_scores", "error")
            if not isinstance(value, str) and not (optional and value is None):
                raise InvalidInput(f"{name.replace('_', '.')} must be text, got {shown(value)}")
        if self.method not in METHODS:
            raise InvalidInput(f"method must be {', '.join(METHODS)}, got {shown(self.method)}")
        if self.image_format not in FORMATS:
            raise InvalidInput(f"image.format must be {', '.join(FORMATS)}, got {shown(self.image_format)}")
        checks.whole_number(1, **{"image.quality": self.image_quality})
        if self.most_rows is not None:
            checks.whole_number(1, most_rows=self.most_rows)
        if self.answer_label is None and self.answer_scores is None:
            raise InvalidInput("answer must say where label or scores stand, got neither")
        for name in self.headers:
            if name.lower() in _SECRET_HEADERS:
                raise InvalidInput(f"headers must hold no secret, got {name}: give --header-env {name}=VARIABLE")
        if self.path and (not self.path.startswith(("/", ":", "?")) or self.path.startswith("//")):
            raise InvalidInput(f"path must be what follows the address, such as /predict, got {shown(self.path)}")
        of_body, of_row = set(_placeholders(self.body)), set(_placeholders(self.row))
        if not of_body & {ROWS, ROW}:
            raise InvalidInput(f"body must say where {ROWS} or {ROW} stands, got {shown(self.body)}")
        if ROW in of_body and self.most_rows != 1:
            raise InvalidInput(f"most_rows must be 1 where body holds {ROW}, got {self.most_rows}")
        known = {VALUES, RECORD, TEXT, IMAGE}
        if not of_row or not all(name in known or name.startswith(COLUMN) for name in of_row):
            listed = f"{', '.join(sorted(known))} or {COLUMN}NAME"
            raise InvalidInput(f"row must hold {listed}, got {shown(self.row)}")

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> "TemplateSettings":
        """The settings as a file has them.

        Raises:
            InvalidInput: A setting is unknown or breaks a rule.
        """
        flat: dict[str, Any] = {}
        for name, value in given.items():
            if name in GROUPS:
                if not isinstance(value, Mapping):
                    raise InvalidInput(f"{name} must map names to values, got {shown(value)}")
                checks.one_of(
                    GROUPS[name], **{name: next((key for key in value if key not in GROUPS[name]), GROUPS[name][0])}
                )
                flat |= {f"{name}_{key}": inner for key, inner in value.items()}
            else:
                checks.one_of([*ALONE, *GROUPS], setting=name)
                flat[name] = value
        headers = flat.get("headers", {})
        if not isinstance(headers, Mapping) or not all(isinstance(text, str | int) for text in headers.values()):
            raise InvalidInput(f"headers must map names to texts, got {shown(headers)}")
        return cls(**{**flat, "headers": {str(name): str(text) for name, text in headers.items()}})


METHODS, FORMATS = ("POST", "PUT", "PATCH"), ("png", "jpeg")
ALONE = ("method", "path", "headers", "most_rows", "body", "row", "error")
GROUPS = {"image": ("format", "quality", "prefix"), "answer": ("label", "scores")}


@dataclass(frozen=True, kw_only=True)
class Template:
    """The protocol that a template describes.

    Attributes:
        settings: What it says.
        path: Path of the target's address.
        name: What tells this template from others.
    """

    settings: TemplateSettings
    path: str
    name: str
    version: str = ""

    @property
    def most_rows(self) -> int | None:
        """See `Speaks`."""
        return self.settings.most_rows

    def met(self, get: Get) -> "Template":
        """Nothing is known of what the server declares."""
        del get
        return self

    def request(self, rows: Any) -> Request:
        """See `Speaks`."""
        encoded = [_filled(self.settings.row, row) for row in self._parts(rows)]
        body = _filled(self.settings.body, {ROWS: encoded, ROW: encoded[0], COUNT: len(encoded)})
        headers = {"Content-Type": "application/json", **self.settings.headers}
        return Request(f"{self.path}{self.settings.path}", as_json(body), self.settings.method, headers)

    def _parts(self, rows: Any) -> Iterator[dict[str, Any]]:
        """For each row, what the placeholders stand for."""
        used = list(_placeholders(self.settings.row))
        if is_table(rows):
            cells = table_of(rows)[1]
            for values, record in zip(cells, records_of(rows), strict=True):
                columns = {f"{COLUMN}{name}": cell for name, cell in record.items()}
                yield {VALUES: values, RECORD: record, **columns}
            return
        column = columns_of(rows)[0]
        for place, values in enumerate(values_of(column)):
            parts = {VALUES: values, TEXT: values if column.is_text else None, RECORD: None, IMAGE: None}
            if IMAGE in used:
                parts[IMAGE] = self._image(column.values[place])
            yield parts

    def _image(self, pixels: Any) -> str:
        settings, file = self.settings, io.BytesIO()
        options = {"quality": settings.image_quality} if settings.image_format == "jpeg" else {}
        picture(pixels).save(file, format=settings.image_format, **options)
        return settings.image_prefix + base64.b64encode(file.getvalue()).decode()

    def values(self, payload: Any, rows: int, *, scores: bool) -> Any:
        """See `Speaks`."""
        label_path, score_path = self.settings.answer_label, self.settings.answer_scores
        path = score_path if score_path is not None and (scores or label_path is None) else label_path
        assert path is not None, "one of them is given"
        values = at(payload, path)
        if values is None:
            raise WrongAnswer(f"answered with JSON without {shown(path)}")
        if EVERY not in path.split(".") and rows == 1:
            return [values]
        return values

    def problem(self, payload: Any) -> str:
        """The text of an error in an answer; "" where there is none."""
        found = None if self.settings.error is None else at(payload, self.settings.error)
        return "" if found in (None, "", False, [], {}) else str(found)


def read_template(path: Path, at_path: str) -> Template:
    """The template in a YAML file, for a target with the path `at_path`.

    Raises:
        InvalidInput: The file cannot be read, or a setting breaks a rule.
    """
    title = f"protocol {path.name}"
    try:
        payload = reading.content(path, most=reading.YAML_BYTES)
        given = reading.yaml_settings(payload) or {}
    except Unreadable as error:
        raise InvalidInput(f"{title} cannot be read: {error}") from error
    try:
        settings = TemplateSettings.of(given)
    except InvalidInput as error:
        raise InvalidInput(f"{title}: {error}") from error
    digest = hashlib.sha256(repr(settings).encode()).hexdigest()[:16]
    whole = at_path.rstrip("/") if settings.path else at_path
    return Template(settings=settings, path=whole, name=f"template {digest}")


def _placeholders(value: Any) -> Iterator[str]:
    """The placeholders in JSON."""
    if isinstance(value, str) and value.startswith("$"):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _placeholders(part)
    elif isinstance(value, list):
        for part in value:
            yield from _placeholders(part)


def _filled(value: Any, parts: Mapping[str, Any]) -> Any:
    """JSON with its placeholders replaced."""
    if isinstance(value, str) and value.startswith("$"):
        filled = parts.get(value)
        if (filled is None and not value.startswith(COLUMN)) or value not in parts:
            raise InvalidInput(f"protocol must fit the data, which have nothing for {shown(value)}")
        return filled
    if isinstance(value, Mapping):
        return {name: _filled(part, parts) for name, part in value.items()}
    return [_filled(part, parts) for part in value] if isinstance(value, list) else value


def at(value: Any, path: str) -> Any:
    """What stands at a path of JSON, None where nothing does: names and numbers with dots, "*" for every item.

    Example:
        >>> from hardlabel.targets.http.templates import at
        >>> at({"results": [{"label": "a"}, {"label": "b"}]}, "results.*.label")
        ['a', 'b']
    """
    parts = path.split(".") if path else []
    for place, part in enumerate(parts):
        if part == EVERY:
            if not isinstance(value, list):
                return None
            found = [at(item, ".".join(parts[place + 1 :])) for item in value]
            return None if None in found else found
        if isinstance(value, list) and part.lstrip("-").isdigit() and -len(value) <= int(part) < len(value):
            value = value[int(part)]
        elif isinstance(value, dict) and part in value:
            value = value[part]
        else:
            return None
    return value


def picture(pixels: Any) -> Image.Image:
    """An image of pixels (c, h, w), (h, w, c) or (h, w): whole numbers from 0 to 255, or floats from 0 to 1."""
    values = np.asarray(pixels)
    if values.ndim == 3 and values.shape[2] not in (1, 3, 4) and values.shape[0] in (1, 3, 4):
        values = values.transpose(1, 2, 0)
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[:, :, 0]
    if values.ndim not in (2, 3) or (values.ndim == 3 and values.shape[2] not in (3, 4)):
        raise InvalidInput(f"protocol sends images, the data have rows of shape {values.shape}")
    if values.dtype.kind == "f":
        if values.min() < 0 or values.max() > 1:
            raise InvalidInput(
                f"protocol sends images with floats from 0 to 1, got {values.min():g} to {values.max():g}"
            )
        values = (values * 255).round()
    return Image.fromarray(values.astype(np.uint8))
