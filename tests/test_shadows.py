"""Reference models come in complementary pairs, and what is trained once is not trained again."""

from dataclasses import dataclass, field, replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from games import random_samples
from hardlabel.calibrations.base import References
from hardlabel.checks import InvalidInput
from hardlabel.data.domain import Box
from hardlabel.executors import Local
from hardlabel.models import shadows
from hardlabel.models.method import Method
from hardlabel.models.shadows import jobs, pairs, partners, train_ahead, train_all, train_alone, train_stacked
from hardlabel.models.train import Recipe, train
from hardlabel.models.trainers import FunctionTrainer, Made, RecipeTrainer
from hardlabel.store import Store

POOL = random_samples(Box((4,)), 30, classes=3)
TINY = RecipeTrainer(recipe=Recipe(architecture="fc", max_epochs=2, batch_size=5), classes=3)


def weights(model):
    return torch.cat([weight.detach().flatten() for weight in model.parameters()])


# --- pairs ---


@given(half=st.integers(1, 9), size=st.integers(2, 41), seed=st.integers(0, 2**40))
def test_partners_divide_the_pool_in_halves(half, size, seed):
    inside = pairs(2 * half, size, seed=seed)
    assert inside.shape == (2 * half, size)
    assert inside.dtype == torch.bool
    assert torch.equal(inside[partners(2 * half)], ~inside)
    assert inside.sum(1).tolist() == [size // 2, size - size // 2] * half


@given(half=st.integers(2, 9), size=st.integers(2, 41), seed=st.integers(0, 2**40), data=st.data())
def test_whoever_plays_target_each_sample_keeps_as_many_references_inside_as_outside(half, size, seed, data):
    """K models, target and partner gone: K/2 - 1 inside and K/2 - 1 outside, members of the target and others alike."""
    target = data.draw(st.integers(0, 2 * half - 1))
    inside = pairs(2 * half, size, seed=seed)
    references = References(
        values=torch.zeros(2 * half, size, 1),
        inside=inside,
        labels=torch.zeros(size, dtype=torch.int64),
        partner=partners(2 * half),
    )
    rest = references.without(target)
    assert rest.inside.sum(0).tolist() == [half - 1] * size
    assert (~rest.inside).sum(0).tolist() == [half - 1] * size
    assert torch.equal(rest.inside, rest.inside[rest.partner] ^ True)


@given(half=st.integers(1, 8), more=st.integers(1, 5), size=st.integers(2, 40), seed=st.integers(0, 99))
def test_more_models_leave_the_first_pairs_as_they_were(half, more, size, seed):
    few, many = pairs(2 * half, size, seed=seed), pairs(2 * (half + more), size, seed=seed)
    assert torch.equal(many[: 2 * half], few)


def test_the_seed_fixes_the_pairs_and_no_two_pairs_are_the_same():
    one, same, other = (pairs(8, 60, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert len(torch.unique(torch.cat([one, other]), dim=0)) == 16


def test_a_sample_is_inside_the_first_of_a_pair_by_a_fair_coin_that_its_neighbours_do_not_share():
    inside = pairs(256, 40, seed=0)[0::2].double()
    # Each sample: 128 coins. Two samples: hypergeometric halves, so that agreement has probability 19/39.
    assert float((inside.mean(0) - 0.5).abs().max()) < 4 * 0.5 / 128**0.5
    agree = (inside[:, :, None] == inside[:, None]).double().mean(0)[~torch.eye(40, dtype=torch.bool)]
    assert float((agree - 19 / 39).abs().max()) < 5 * 0.5 / 128**0.5  # The largest of 780: five standard errors.


@pytest.mark.parametrize("count", [-2, 0, 1, 3, 257, 258])
def test_an_odd_number_or_one_out_of_range_is_refused(count):
    with pytest.raises(InvalidInput, match=f"references must be an even number from 2 to 256, got {count}"):
        pairs(count, 10, seed=0)


def test_a_pool_of_one_cannot_be_divided():
    with pytest.raises(InvalidInput, match="pool must hold at least 2 samples, got 1"):
        pairs(2, 1, seed=0)


def test_each_job_has_its_models_rows_and_a_seed_of_its_own():
    inside = pairs(6, 30, seed=4)
    wanted = jobs(inside, seed=4)
    for mine, job in zip(inside, wanted, strict=True):
        assert job.rows.tolist() == mine.nonzero().flatten().tolist()
    assert len({job.seed for job in wanted}) == 6
    assert [job.seed for job in jobs(inside[:4], seed=4)] == [job.seed for job in wanted[:4]]
    assert {job.seed for job in jobs(inside, seed=5)}.isdisjoint(job.seed for job in wanted)


# --- training ---


@dataclass
class Counting:
    """Remembers what it was asked to fit, and dies by Ctrl-C at one of them."""

    dies_at: int | None = None
    asked: list[tuple[list[int], int]] = field(default_factory=list)
    description = "counting"
    epochs = None

    def fit(self, samples, seed, on_epoch=None):
        self.asked.append((samples.ids.tolist(), seed))
        if len(self.asked) == self.dies_at:
            raise KeyboardInterrupt
        return Made(model=len(self.asked), seconds=float(len(self.asked)))


def test_every_model_is_trained_on_its_rows_with_its_seed_in_the_order_of_the_jobs():
    trainer, wanted = Counting(), jobs(pairs(6, 30, seed=0), seed=0)
    made = train_all(trainer, POOL, wanted)
    assert trainer.asked == [(job.rows.tolist(), job.seed) for job in wanted]
    assert [one.model for one in made] == [1, 2, 3, 4, 5, 6]


def test_progress_is_told_once_per_model():
    told = []
    made = train_all(Counting(), POOL, jobs(pairs(4, 30, seed=0), seed=0), on_done=told.append)
    assert [(one.done, one.of) for one in told] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert [one.made for one in told] == made


def test_no_jobs_give_no_models():
    assert train_all(TINY, POOL, [], executor=Local(processes=1)) == []
    assert train_all(TINY, POOL, [], executor=Local(processes=2)) == []


def test_a_killed_training_goes_on_with_the_model_it_died_in(tmp_path):
    """The third of six dies; the second run fits that one and the three after it, and finds the first two."""
    fitted, dies = [], [True]

    def memorise(inputs, labels, *, seed):
        fitted.append(seed)
        if len(fitted) == 3 and dies:
            raise KeyboardInterrupt
        return {"mean": float(inputs.mean()), "seed": seed}

    trainer = FunctionTrainer(function=memorise, name="mine", store=Store(tmp_path))
    wanted, told = jobs(pairs(6, 30, seed=0), seed=0), []
    with pytest.raises(KeyboardInterrupt):
        train_all(trainer, POOL, wanted, on_done=told.append)
    assert len(told) == 2
    first, dies[:] = fitted[:], []
    made = train_all(trainer, POOL, wanted, on_done=told.append)
    assert fitted[3:] == first[2:] + [job.seed % 2**32 for job in wanted[3:]]
    assert [one.model["seed"] for one in made] == [job.seed % 2**32 for job in wanted]
    assert [one.done for one in told] == [1, 2, 1, 2, 3, 4, 5, 6]
    train_all(trainer, POOL, wanted)
    assert len(fitted) == 3 + 4  # A third run fits nothing.


class Sent(Local):
    """Remembers how many pieces each run was handed; models are trained on another device there, if so asked."""

    def __init__(self, *, device=None):
        super().__init__(processes=1)
        object.__setattr__(self, "runs", [])
        object.__setattr__(self, "elsewhere", device is not None)
        object.__setattr__(self, "there", device)

    def device(self, here):
        return self.there or here

    def run(self, work, common, items, *, long=False):
        self.runs.append(len(items))
        return super().run(work, common, items, long=long)


def test_models_of_several_trainers_are_trained_side_by_side_and_each_once(tmp_path):
    one = replace(TINY, store=Store(tmp_path))
    two = replace(one, recipe=replace(one.recipe, max_epochs=3))
    wanted, sent, told, starts = jobs(pairs(4, 30, seed=0), seed=0), Sent(), [], []
    one.fit(POOL.take(wanted[2].rows), wanted[2].seed)  # Was there before.
    train_ahead([one, two, replace(one)], POOL, wanted, on_start=starts.append, on_done=told.append, executor=sent)
    assert (sent.runs, starts) == ([7], [7])
    assert [(progress.done, progress.of) for progress in told] == [(done, 7) for done in range(1, 8)]
    for trainer in (one, two):
        alone = train_all(replace(trainer, store=None), POOL, wanted, executor=Local(processes=1))
        found = train_all(trainer, POOL, wanted, executor=sent)
        assert all(torch.equal(weights(a.model), weights(b.model)) for a, b in zip(alone, found, strict=True))
    train_ahead([one, two], POOL, wanted, on_start=starts.append, executor=sent)
    assert starts == [7, 0]
    assert sum(sent.runs) == 7


def test_models_that_cannot_be_kept_or_sent_are_left_for_their_turn():
    trainer, sent = Counting(), Sent()
    train_ahead([trainer, TINY], POOL, jobs(pairs(4, 30, seed=0), seed=0), executor=sent)
    assert trainer.asked == []
    assert sum(sent.runs) == 0


def test_a_single_model_is_trained_elsewhere_only_where_another_device_is():
    epochs, cluster = [], Sent(device=torch.device("cpu", 0))
    here = TINY.fit(POOL, 3)
    for executor in (None, Sent(), Sent(device=torch.device("cpu"))):
        made = train_alone(TINY, POOL, 3, on_epoch=epochs.append, executor=executor)
        assert torch.equal(weights(made.model), weights(here.model))
        assert executor is None or executor.runs == []
    assert len(epochs) == 3 * 2
    made = train_alone(TINY, POOL, 3, on_epoch=epochs.append, executor=cluster)
    assert cluster.runs == [1]
    assert torch.equal(weights(made.model), weights(here.model))


def test_recipes_of_which_some_are_kept_train_the_rest(tmp_path):
    """One of four is missing: it is trained with the executor's threads, for it must round as the others did."""
    trainer, wanted = replace(TINY, store=Store(tmp_path)), jobs(pairs(4, 30, seed=0), seed=0)
    before = [trainer.fit(POOL.take(job.rows), job.seed) for job in (wanted[0], wanted[1], wanted[3])]
    told, threads = [], []

    @dataclass(frozen=True)
    class Watched(Local):
        def run(self, work, common, items, *, long=False):
            def watched(common, item):
                threads.append(torch.get_num_threads())
                return work(common, item)

            return super().run(watched, common, items, long=long)

    made = train_all(trainer, POOL, wanted, on_done=told.append, executor=Watched(processes=2, cores=3))
    assert threads == [3]
    assert torch.get_num_threads() == 1  # As `conftest` has it.
    assert [one.done for one in told] == [1, 2, 3, 4]
    for one, other in zip(before, (made[0], made[1], made[3]), strict=True):
        assert torch.equal(weights(one.model), weights(other.model))
        assert one.seconds == other.seconds


# --- many at once, as on a graphics card ---


def stack(trainer, wanted, monkeypatch, *, gain=2.0, room=2**30, stack=3):
    """What was trained in stacks of three: by number, in the order in which models were finished."""
    monkeypatch.setattr(shadows, "STACK", stack)
    probed = []

    def probe(recipe, samples, *, classes, count, device):
        probed.append((len(samples), count))
        if isinstance(gain, Exception):
            raise gain
        return gain

    monkeypatch.setattr(shadows, "faster_together", probe)
    found = {}
    train_stacked(trainer, POOL, dict(enumerate(wanted)), room=room, done=found.__setitem__)
    return found, probed


def test_stacked_models_are_those_trained_alone_and_kept(tmp_path, monkeypatch):
    trainer, wanted = replace(TINY, store=Store(tmp_path)), jobs(pairs(8, 30, seed=0), seed=0)
    found, probed = stack(trainer, wanted, monkeypatch)
    assert probed == [(15, 3)]
    assert sorted(found) == list(range(8))
    for number, job in enumerate(wanted):
        alone = TINY.fit(POOL.take(job.rows), job.seed)
        assert torch.allclose(weights(found[number].model), weights(alone.model), atol=1e-5)
        assert (found[number].rows, found[number].told) == (alone.rows, alone.told)
        again = trainer.fit(POOL.take(job.rows), job.seed)
        assert torch.equal(weights(again.model), weights(found[number].model))


def test_no_stack_is_made_where_nothing_is_gained(monkeypatch):
    wanted = jobs(pairs(4, 30, seed=0), seed=0)
    for gain in (1.1, torch.OutOfMemoryError("CUDA out of memory")):
        assert stack(TINY, wanted, monkeypatch, gain=gain) == ({}, [(15, 3)])
    normalised = replace(TINY, recipe=replace(TINY.recipe, architecture="resnet18"))
    odd = jobs(pairs(4, 29, seed=0), seed=0)  # Halves of 14 and 15.
    for trainer, some, room in (
        (TINY, wanted[:1], 2**30),
        (TINY, odd, 2**30),
        (TINY, wanted, 2 * 15 * 4 * 4 - 1),  # For the samples of a single model.
        (normalised, wanted, 2**30),
        (replace(TINY, method=Method()), wanted, 2**30),
    ):
        assert stack(trainer, some, monkeypatch, room=room) == ({}, [])


def test_what_a_broken_stack_had_finished_is_kept(tmp_path, monkeypatch):
    """One of three has stopped by its own loss when Ctrl-C comes."""
    trainer, wanted = replace(TINY, store=Store(tmp_path)), jobs(pairs(4, 30, seed=0), seed=0)
    kept = []

    def broken(recipe, group, *, classes, device, on_made):
        on_made(1, train(recipe, group[1][0], classes=classes, seed=group[1][1]))
        kept.append(len(list(tmp_path.glob("*.piece"))))
        raise KeyboardInterrupt

    monkeypatch.setattr(shadows, "train_together", broken)
    with pytest.raises(KeyboardInterrupt):
        stack(trainer, wanted, monkeypatch)
    assert kept == [1]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("gain", [0.5, 5.0])
def test_on_a_card_all_models_come_stacked_or_not(monkeypatch, gain):
    monkeypatch.setattr(shadows, "faster_together", lambda *_, **__: gain)
    trainer = replace(TINY, device=torch.device("cuda"))
    told = []
    made = train_all(trainer, POOL, jobs(pairs(4, 30, seed=0), seed=0), on_done=told.append)
    assert [one.done for one in told] == [1, 2, 3, 4]
    assert all(next(one.model.parameters()).is_cuda for one in made)


@pytest.mark.slow
@pytest.mark.parametrize("kept", [True, False])
def test_processes_train_the_models_that_one_process_trains(tmp_path, kept):
    wanted, told = jobs(pairs(4, 30, seed=0), seed=0), []
    alone = train_all(TINY, POOL, wanted, executor=Local(processes=1))
    trainer = replace(TINY, store=Store(tmp_path)) if kept else TINY
    spread = train_all(trainer, POOL, wanted, on_done=told.append, executor=Local(processes=2))
    assert sorted(one.done for one in told) == [1, 2, 3, 4]
    for one, other in zip(alone, spread, strict=True):
        assert torch.equal(weights(one.model), weights(other.model))
        assert (one.rows, one.told) == (other.rows, other.told)
    assert len(list(tmp_path.glob("*.piece"))) == (4 if kept else 0)
