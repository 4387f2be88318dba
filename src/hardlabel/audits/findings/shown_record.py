"""A record as a text or an image, for reports that may show records."""

import base64
import io

import numpy as np
from PIL import Image

from hardlabel.data.columns import Categorical, Numeric
from hardlabel.data.domain import Box, corners
from hardlabel.data.samples import Samples
from hardlabel.data.table import MixedTable

MOST_VALUES = 24  # Most values listed of a long row.
DECIMALS = 17  # Most decimals of a number in a table.
SIDE = 96  # Fewest pixels of the shorter side of a shown image.


def text_or_image(samples: Samples, place: int) -> str:
    """An image as a data URI (PNG), a table's row as "column value, ...", another input as its nonzero values."""
    domain, record = samples.domain, samples.inputs[place].cpu()
    if isinstance(domain, Box) and domain.kind == "image" and len(record) in (1, 3):
        lower, upper = (edge[0] for edge in corners(domain, record[None]))
        scaled = ((record - lower) / (upper - lower) * 255).round().clamp(0, 255)
        pixels = scaled.byte().permute(1, 2, 0).numpy()
        image = Image.fromarray(pixels[..., 0] if len(record) == 1 else pixels)
        times = max(1, -(-SIDE // min(image.size)))
        file = io.BytesIO()
        image.resize((image.width * times, image.height * times), Image.Resampling.NEAREST).save(file, "PNG")
        return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
    if isinstance(domain, MixedTable):
        frame = domain.decode(record[None])
        return ", ".join(f"{column.name} {_cell(frame[column.name].iloc[0], column)}" for column in domain.columns)
    values = record.flatten().numpy()
    places = np.flatnonzero(values)
    listed = [f"{at}" if values[at] == 1 else f"{at}: {values[at]:.4g}" for at in places[:MOST_VALUES]]
    more = f" and {len(places) - MOST_VALUES} more" if len(places) > MOST_VALUES else ""
    return f"not 0: {', '.join(listed)}{more} of {len(values)} values"


def _cell(value: object, column: Numeric | Categorical) -> str:
    """The value as text; of a number, the fewest decimals with the same code in float32, since decoding adds noise."""
    if isinstance(column, Categorical) or not isinstance(value, float) or column.levels is not None:
        return str(value)
    for decimals in range(DECIMALS):
        rounded = round(float(value), decimals)
        if _code(rounded, column) == _code(value, column):
            return str(rounded)
    return str(value)


def _code(value: float, column: Numeric) -> np.float32:
    return np.float32((value - column.mean) / column.scale)
