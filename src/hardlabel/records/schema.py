"""The JSON Schema of the results that runs save, made from the types that read and write them.

docs/schema/ has a file for each kind and format. A test compares them with the types.
"""

import json
from pathlib import Path
from typing import Any

from hardlabel import checks
from hardlabel.records import canaries, changes, defenses, model, recipe
from hardlabel.records.part import RecordPart

DIALECT = "https://json-schema.org/draft/2020-12/schema"
CONTENTS: dict[str, tuple[type[RecordPart], int]] = {
    "model": (model.Results, model.FORMAT),
    "recipe": (recipe.RecipeResults, recipe.FORMAT),
    "defenses": (defenses.DefendResults, defenses.FORMAT),
    "canaries": (canaries.CanaryResults, canaries.FORMAT),
    "comparison": (changes.Comparison, changes.FORMAT),
}


def schema(kind: str) -> dict[str, Any]:
    """The JSON Schema of what a run of this kind saves now.

    Args:
        kind: "model" (also for the audit of your own model), "recipe", "defenses", "canaries", or "comparison" for what
            `hardlabel compare --json` prints.

    Raises:
        InvalidInput: There is no such kind.

    Example:
        >>> from hardlabel.records.schema import schema
        >>> schema("canaries")["properties"]["format"]["const"]
        2
    """
    checks.one_of(CONTENTS, kind=kind)
    content, number = CONTENTS[kind]
    made = content.model_json_schema(mode="serialization")
    made |= {"$schema": DIALECT, "title": f"hardlabel, {kind}, format {number}"}
    made["properties"]["format"] = {"const": number, "title": "Format", "type": "integer"}
    return made


def file_name(kind: str) -> str:
    """The name of the schema's file in docs/schema/: "model-4.json"."""
    return f"{kind}-{CONTENTS[kind][1]}.json"


def text(kind: str) -> str:
    """The schema as it stands in its file."""
    return json.dumps(schema(kind), indent=1, sort_keys=True) + "\n"


def write(folder: str | Path) -> None:
    """Writes the schema of every kind; files of earlier formats stay."""
    for kind in CONTENTS:
        (Path(folder) / file_name(kind)).write_text(text(kind), encoding="utf-8")
