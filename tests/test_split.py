"""The split is exact, disjoint by id and by content, shuffled and fair."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hardlabel.checks import InvalidInput
from hardlabel.data.domain import Box
from hardlabel.data.samples import Samples
from hardlabel.data.split import DEFAULT_SIZE, GROUPS, Sizes, content, equal_sizes, split


def samples_of(values, labels=None):
    """One sample of one number per value."""
    inputs = torch.tensor(values, dtype=torch.float32)[:, None]
    labels = torch.zeros(len(values), dtype=torch.int64) if labels is None else torch.tensor(labels)
    return Samples(ids=100 + torch.arange(len(values)), inputs=inputs, labels=labels, domain=Box((1,), -1000, 1000))


def parts_of(divided):
    return [*(getattr(divided, group) for group in GROUPS), divided.population]


SIZES = Sizes(members=5, nonmembers=4, shadow_members=3, shadow_nonmembers=2)


@given(repeats=st.lists(st.integers(1, 2), min_size=14, max_size=30), seed=st.integers(0, 10**9))
@settings(max_examples=60, deadline=None)
def test_every_row_lands_once_in_a_group_of_the_asked_size(repeats, seed):
    # 14 single rows on top make sure that any group can be filled to its last place.
    values = [value for value, times in enumerate(repeats) for _ in range(times)] + list(range(-14, 0))
    divided = split(samples_of(values), SIZES, seed=seed)
    parts = parts_of(divided)
    assert [len(part) for part in parts] == [5, 4, 3, 2, len(values) - 14]
    assert sorted(torch.cat([part.ids for part in parts]).tolist()) == list(range(100, 100 + len(values)))
    held = [set(part.inputs[:, 0].tolist()) for part in parts]
    assert sum(len(part) for part in held) == len(set(values))  # No content stands in two groups.
    for part in parts:
        assert [values[i - 100] for i in part.ids.tolist()] == part.inputs[:, 0].tolist()


def test_equal_inputs_stay_together_whatever_their_labels():
    values = [0] * 3 + [1] * 2 + list(range(2, 20))
    labels = [i % 2 for i in range(len(values))]
    for seed in range(30):
        parts = parts_of(split(samples_of(values, labels), equal_sizes(len(values)), seed=seed))
        for value, times in ((0, 3), (1, 2)):
            assert sorted(int((part.inputs == value).sum()) for part in parts) == [0, 0, 0, 0, times]


def test_the_seed_decides():
    samples = samples_of(range(100))
    first, again, other = (split(samples, equal_sizes(100), seed=seed) for seed in (1, 1, 2))
    for one, two, three in zip(parts_of(first), parts_of(again), parts_of(other), strict=True):
        assert torch.equal(one.ids, two.ids)
        assert len(one) == 0 or not torch.equal(one.ids, three.ids)


def test_each_row_is_as_often_a_member_as_a_nonmember():
    # Rows 0 to 5 hold three contents twice each; 2 groups of 5 out of 20, so each row has chance 1/4.
    samples, tries = samples_of([0, 0, 1, 1, 2, 2, *range(3, 17)]), 2000
    counts = np.zeros((2, 20))
    for seed in range(tries):
        divided = split(samples, equal_sizes(20), seed=seed)
        counts[0, divided.members.ids.numpy() - 100] += 1
        counts[1, divided.nonmembers.ids.numpy() - 100] += 1
    # Five standard errors: 40 shares are looked at, and four would fail in one run out of 400.
    assert np.abs(counts / tries - 0.25).max() < 5 * np.sqrt(0.25 * 0.75 / tries)


def test_groups_are_in_shuffled_order():
    members = split(samples_of(range(1000)), equal_sizes(1000), seed=0).members.ids.numpy()
    # Ranks of 250 in random order have a correlation with their place of standard deviation 1 / sqrt(249).
    assert abs(np.corrcoef(np.arange(250), members)[0, 1]) < 4 / np.sqrt(249)


def test_a_repeated_input_that_no_group_can_hold_is_refused():
    with pytest.raises(InvalidInput, match="one input stands in 6 rows"):
        split(samples_of([0] * 6 + [1, 2]), equal_sizes(8), seed=0)


def test_sizes_beyond_the_samples_are_refused_with_the_largest_possible():
    with pytest.raises(InvalidInput, match=r"at most the 13 samples .* got 14; .* at most 3"):
        split(samples_of(range(13)), SIZES, seed=0)
    with pytest.raises(InvalidInput, match=r"size must lie in \[1, 1252\] .* got 1600"):
        equal_sizes(5010, 1600)
    with pytest.raises(InvalidInput, match="at least 4"):
        equal_sizes(3)
    with pytest.raises(InvalidInput, match="members must be at least 1, got 0"):
        Sizes(members=0, nonmembers=1, shadow_members=1, shadow_nonmembers=1)


def test_default_sizes_are_a_quarter_up_to_the_papers():
    assert equal_sizes(1797).members == 449
    assert equal_sizes(30_000).total == 4 * DEFAULT_SIZE == 10_000
    assert equal_sizes(30_000, 5000).total == 20_000


def test_content_is_equal_exactly_where_inputs_are():
    inputs = torch.tensor([[0.0, 1.0], [-0.0, 1.0], [1.0, 0.0], [0.0, 1.0 + 2**-23]])
    first, same, swapped, near = content(inputs)
    assert first == same
    assert len({first, swapped, near}) == 3
