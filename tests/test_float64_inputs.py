"""Numbers that float32 cannot tell apart are refused in words that say so; others pass as before."""

import numpy as np
import pytest
import torch

from hardlabel import Box, Series
from hardlabel.audits.cases.pairs import read_pairs, settled
from hardlabel.checks import InvalidInput
from hardlabel.data.domain import infer_domain
from hardlabel.data.forms import points_of
from hardlabel.data.precision import check_precision

rng = np.random.default_rng(0)
NORMAL = rng.normal(size=(300, 3))
LABELS = rng.integers(0, 2, 300)


def read(values):
    given = read_pairs({"members": (values, LABELS), "nonmembers": (values, LABELS)}, None)
    return settled(given.groups["members"][0], given.domain, "members")


@pytest.mark.parametrize(("offset", "spread"), [(1.7e9, 60), (1e7, 3), (-1.7e9, 60), (1e15, 1e6)])
def test_values_that_become_one_in_float32_are_refused(offset, spread):
    values = offset + spread * NORMAL
    with pytest.raises(
        InvalidInput, match=r"members must differ by more than float32 rounds, got .* in column 0"
    ) as error:
        read(values)
    assert "\n" not in str(error.value)
    assert "as a table" in str(error.value)
    first, second = (
        float(word.rstrip(",:")) for word in str(error.value).split("got ")[1].split(" in column")[0].split(" and ")
    )
    assert first != second
    assert np.float32(first) == np.float32(second)
    assert {first, second} <= set(values[:, 0])


def test_one_column_of_several_is_named():
    values = np.column_stack([NORMAL[:, 0], 1.7e9 + NORMAL[:, 1]])
    with pytest.raises(InvalidInput, match="in column 1: give"):
        read(values)


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e12])
def test_values_with_enough_room_pass(scale):
    assert read(scale * NORMAL).shape == (300, 3)
    assert read(1e7 + 1e6 * NORMAL).shape == (300, 3)
    assert read((1e7 + NORMAL).astype(np.float32)).dtype == torch.float32  # Rounded before: nothing is lost here.
    check_precision(torch.full((5, 2), 1.7e9 + 1, dtype=torch.float64), "inputs")  # A constant stays one.


def test_bounds_hold_what_float32_makes_of_the_values():
    # Distinct in float32, but rounded by up to 64.
    values = np.array([[1.7e9 + 63], [1.7e9 + 4e6], [1.7e9 + 8e6 + 65]])
    domain = infer_domain(torch.from_numpy(values))
    kept = torch.from_numpy(values).to(torch.float32)
    domain.check(torch.from_numpy(values))
    domain.check(kept)
    assert infer_domain(torch.tensor([[0.5, 2.0]], dtype=torch.float64)) == Box((2,), 0.0, 2.0)


def test_bounds_that_look_alike_are_told_with_all_digits():
    box = Box((1,), 1.7e9, 1.7e9 + 10)
    with pytest.raises(InvalidInput, match=r"must lie in \[1700000000, 1700000010\], got values from 1699999872 to"):
        box.check(torch.tensor([[1.7e9 - 128]], dtype=torch.float32))
    with pytest.raises(InvalidInput, match=r"must lie in \[0, 1\], got values from 0.5 to 2"):
        Box((2,), 0, 1).check(torch.tensor([[0.5, 2.0]]))


def test_series_are_looked_at_too():
    values = 1.7e9 + rng.normal(size=(4, 50))
    for given in (values, torch.from_numpy(values), values.astype(">f8")):
        with pytest.raises(InvalidInput, match="members must differ by more than float32 rounds"):
            points_of(given, "members")
    with pytest.raises(InvalidInput, match="series must differ by more"):
        Series.of(values)
