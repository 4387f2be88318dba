"""Moves shift, rotate and mirror as they say."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hardlabel.checks import InvalidInput
from hardlabel.data import augment
from hardlabel.data.augment import STILL, Cutout, Move


def pictures(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def test_a_shift_moves_every_pixel_and_fills_with_the_given_value():
    picture = torch.arange(12.0).reshape(1, 1, 3, 4)
    moved = augment.apply(Move(right=1, down=-1), picture, fill=-5.0)
    expected = torch.full((3, 4), -5.0)
    for row in range(3):
        for column in range(4):
            if 0 <= row + 1 < 3 and 0 <= column - 1 < 4:
                expected[row, column] = picture[0, 0, row + 1, column - 1]
    assert torch.equal(moved[0, 0], expected)


@pytest.mark.parametrize("move", [Move(right=2), Move(right=-3), Move(down=1), Move(down=-4), Move(right=1, down=9)])
def test_a_shift_out_of_the_picture_leaves_the_fill_only(move):
    moved = augment.apply(move, pictures(3, 2, 1, 2), fill=0.25)
    assert torch.equal(moved, torch.full((3, 2, 1, 2), 0.25))


@pytest.mark.parametrize(("degrees", "turns"), [(90.0, 1), (180.0, 2), (-90.0, 3), (360.0, 4)])
def test_right_angles_are_exact_quarter_turns_counter_clockwise(degrees, turns):
    picture = pictures(2, 3, 6, 6)
    moved = augment.apply(Move(degrees=degrees), picture, fill=0.0)
    torch.testing.assert_close(moved, torch.rot90(picture, turns, (-2, -1)), atol=1e-5, rtol=0)


def test_half_a_turn_keeps_its_aspect_ratio():
    picture = pictures(1, 1, 4, 8)
    moved = augment.apply(Move(degrees=180.0), picture, fill=0.0)
    torch.testing.assert_close(moved, picture.flip(-1, -2), atol=1e-5, rtol=0)


def test_a_small_rotation_of_a_wide_picture_is_rigid():
    """A dot 8 pixels right of the centre rises by 8 sin 10 degrees, whatever the picture's height."""
    picture = torch.zeros(1, 1, 9, 33)
    picture[0, 0, 4, 24] = 1.0
    moved = augment.apply(Move(degrees=10.0), picture, fill=0.0)[0, 0]
    rows, columns = torch.meshgrid(torch.arange(9.0), torch.arange(33.0), indexing="ij")
    turn = torch.deg2rad(torch.tensor(10.0))
    assert float((moved * rows).sum() / moved.sum()) == pytest.approx(4 - 8 * float(turn.sin()), abs=0.1)
    assert float((moved * columns).sum() / moved.sum()) == pytest.approx(16 + 8 * float(turn.cos()), abs=0.1)


@given(
    right=st.integers(-3, 3),
    down=st.integers(-3, 3),
    degrees=st.floats(-45, 45),
    flip=st.booleans(),
    fill=st.floats(0, 1),
)
def test_no_move_leaves_the_range_of_pixels_and_fill(right, down, degrees, flip, fill):
    picture = pictures(2, 1, 7, 7)
    moved = augment.apply(Move(right=right, down=down, degrees=degrees, flip=flip), picture, fill=fill)
    assert moved.shape == picture.shape
    assert float(moved.min()) >= min(0.0, fill) - 1e-5
    assert float(moved.max()) <= max(1.0, fill) + 1e-5


@given(distance=st.integers(0, 6))
def test_translations_are_the_papers_set(distance):
    moves = augment.translations(distance)
    assert moves[0] == STILL
    assert len(moves) == len(set(moves)) == 4 * distance + 1
    assert all(abs(move.right) + abs(move.down) == distance for move in moves[1:])


def test_rotations_are_three_or_every_degree():
    assert [move.degrees for move in augment.rotations(4)] == [0.0, -4.0, 4.0]
    assert sorted(move.degrees for move in augment.rotations(9, every_degree=True)) == [float(d) for d in range(-9, 10)]


def test_a_union_names_each_move_once():
    assert augment.union(augment.flips(), augment.translations(1), augment.flips()) == (
        *augment.flips(),
        *augment.translations(1)[1:],
    )


def test_a_negative_distance_is_refused():
    with pytest.raises(InvalidInput, match="distance must be at least 0, got -1"):
        augment.translations(-1)


@pytest.mark.parametrize("centre", [(0, 0), (-4, 3), (5, -5), (9, 0)])
def test_a_cutout_fills_the_pixels_of_its_square_and_no_others(centre):
    right, down = centre
    picture = pictures(2, 1, 8, 10)
    moved = augment.apply(Cutout(side=4, centre_right=right, centre_down=down), picture, fill=-1.0)
    expected = picture.clone()
    for row in range(8):
        for column in range(10):
            if 4 + down - 2 <= row < 4 + down + 2 and 5 + right - 2 <= column < 5 + right + 2:
                expected[..., row, column] = -1.0
    assert torch.equal(moved, expected)


def test_a_cutout_comes_after_its_move_and_leaves_the_picture_it_was_given():
    picture = pictures(1, 3, 8, 8)
    before = picture.clone()
    move = Cutout(side=2, centre_right=-3, centre_down=1, right=2, flip=True)
    first = augment.apply(Move(right=2, flip=True), picture, fill=(0.1, 0.2, 0.3))
    after = augment.apply(move, picture, fill=(0.1, 0.2, 0.3))
    assert torch.equal(picture, before)
    square = Cutout(side=2, centre_right=-3, centre_down=1)
    assert torch.equal(after, augment.apply(square, first, fill=(0.1, 0.2, 0.3)))
    assert (after[0, :, 4:6, 0:2] == torch.tensor([0.1, 0.2, 0.3])[:, None, None]).all()


@pytest.mark.parametrize(("side", "count"), [(0, 1), (1, 10), (4, 82), (16, 82)])
def test_cutouts_are_the_original_and_squares_on_both_sides_of_the_centre(side, count):
    still, *squares = augment.cutouts(side)
    assert still == STILL
    assert len(set(squares)) == len(squares) == count - 1
    assert {-square.centre_right for square in squares} == {square.centre_down for square in squares}
    assert all(square.side == side and abs(square.centre_right) <= side for square in squares)


def test_joined_sets_make_one_move_of_each_at_once():
    moves = augment.joined(augment.flips(), augment.translations(1), augment.cutouts(1))
    assert moves[0] == STILL
    assert len(moves) == len(set(moves)) == 2 * 5 * 10
    assert Cutout(side=1, centre_right=0, centre_down=-1, right=1, flip=True) in moves
    picture = pictures(3, 1, 8, 8)
    one, other = Move(right=2, down=-1), Cutout(side=4, centre_right=2)
    by_steps = augment.apply(other, augment.apply(one, picture, fill=0.0), fill=0.0)
    assert torch.equal(augment.apply(augment.joined([one], [other])[0], picture, fill=0.0), by_steps)


def test_two_flips_are_none_and_two_cutouts_are_refused():
    assert augment.joined(augment.flips(), augment.flips()) == augment.flips()
    with pytest.raises(InvalidInput, match="cutouts in one set at most"):
        augment.joined(augment.cutouts(4), augment.cutouts(2))


@pytest.mark.parametrize(
    ("move", "hidden"),
    [
        (STILL, False),
        (Move(right=-8), True),
        (Move(down=7), False),
        (Cutout(side=8), True),
        (Cutout(side=8, centre_down=1), False),
        (Cutout(side=16, centre_right=4, centre_down=-4), True),
        (Cutout(side=16, centre_right=5), False),
    ],
)
def test_hidden_is_a_picture_of_which_no_pixel_is_left(move, hidden):
    assert augment.hides(move, 8, 8) is hidden
    assert bool((augment.apply(move, pictures(1, 1, 8, 8) + 1, fill=0.0) == 0).all()) is hidden
