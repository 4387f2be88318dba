"""Accounts count before sending and refuse to overspend; torch models answer alike in any batch."""

import math
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from games import Constant, HalfSpace
from hardlabel.checks import InvalidInput
from hardlabel.data.domain import Box
from hardlabel.data.samples import Samples
from hardlabel.models.trainers import FunctionTrainer
from hardlabel.oracles.base import LOWEST, LabelOracle, LabelsOfScores, ScoreOracle, values_in_memory
from hardlabel.oracles.budget import Account, BudgetExceeded, ChargedLabels, ChargedScores
from hardlabel.targets import torch as pytorch
from hardlabel.targets.registry import askable
from hardlabel.targets.torch import (
    PROBED_SIZES,
    SHAPES,
    TorchModel,
    TorchScores,
    filled,
    left_in_place,
    resolve_device,
)


def net(classes=3):
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 8), nn.Dropout(0.5), nn.Tanh(), nn.Linear(8, classes))


class Failing:
    def ask(self, inputs, ids):
        raise ConnectionError("gone")


@given(ids=st.lists(st.integers(-5, 5), min_size=1, max_size=40), budget=st.integers(1, 10))
def test_an_account_counts_like_a_dictionary_and_never_overspends(ids, budget):
    account = Account(per_sample=budget)
    spent = dict.fromkeys(range(-5, 6), 0)
    for start in range(0, len(ids), 7):
        batch = ids[start : start + 7]
        if any(spent[i] + batch.count(i) > budget for i in batch):
            with pytest.raises(BudgetExceeded):
                account.charge(torch.tensor(batch))
        else:
            account.charge(torch.tensor(batch))
            for i in batch:
                spent[i] += 1
    assert account.spent(torch.arange(-5, 6)).tolist() == list(spent.values())
    assert account.total == sum(spent.values())


WHOLE = st.one_of(st.integers(-2, 2), st.sampled_from([-(2**63), 1 - 2**63, 2**63 - 2, 2**63 - 1]))


@given(
    batches=st.lists(st.lists(st.tuples(WHOLE, st.integers(1, 3)), max_size=6), max_size=6),
    per_sample=st.none() | st.integers(1, 8),
    in_all=st.none() | st.integers(1, 20),
)
def test_an_account_of_any_integers_in_any_order_counts_like_a_counter(batches, per_sample, in_all):
    """The naive twin charges row by row on a copy, and keeps the copy only if no limit was passed."""
    spent: Counter[int] = Counter()
    told: list[int] = []
    account = Account(per_sample=per_sample, in_all=in_all, on_spent=told.append)
    for batch in batches:
        ids = [one for one, times in batch for _ in range(times)]
        after = spent + Counter(ids)
        refused = (per_sample is not None and max(after.values(), default=0) > per_sample) or (
            in_all is not None and after.total() > in_all
        )
        if refused:
            with pytest.raises(BudgetExceeded):
                account.charge(torch.tensor(ids, dtype=torch.int64))
        else:
            account.charge(torch.tensor(ids, dtype=torch.int64))
            spent = after
        asked = [-(2**63), 1 - 2**63, *range(-3, 4), 2**63 - 2, 2**63 - 1]
        assert account.spent(torch.tensor(asked)).tolist() == [spent[one] for one in asked]
        assert account.total == spent.total() == sum(told)


def test_a_refusal_names_the_first_sample_that_would_overspend_and_what_it_has():
    account = Account(per_sample=3)
    account.charge(torch.tensor([9, 4, 4, -7]))
    with pytest.raises(BudgetExceeded, match="sample 4 spent 2 of 3 queries, asked for 2 more"):
        account.charge(torch.tensor([9, 9, 9, 4, -7, 4]))


def test_a_refused_batch_is_not_sent():
    oracle = HalfSpace(Box((2,)), torch.ones(2), -1.0)
    charged = ChargedLabels(oracle, Account(per_sample=3))
    charged.ask(torch.zeros(3, 2), torch.tensor([7, 7, 7]))
    with pytest.raises(BudgetExceeded, match="sample 7 spent 3 of 3 queries, asked for 1 more"):
        charged.ask(torch.zeros(2, 2), torch.tensor([8, 7]))
    assert oracle.calls == [3]


def test_a_limit_in_all_holds_for_samples_and_overhead_together():
    account = Account(in_all=5)
    account.charge(torch.tensor([1, 2, 3]))
    account.charge_overhead("probe", 2)
    with pytest.raises(BudgetExceeded, match="spent 5 of 5 queries in all"):
        account.charge(torch.tensor([1]))
    with pytest.raises(BudgetExceeded):
        account.charge_overhead("probe", 1)
    assert dict(account.overhead) == {"probe": 2}


def test_a_call_that_fails_is_paid_for():
    account = Account()
    with pytest.raises(ConnectionError):
        ChargedLabels(Failing(), account).ask(torch.zeros(2, 2), torch.tensor([1, 1]))
    assert account.spent(torch.tensor([1])).tolist() == [2]


def test_overhead_is_charged_to_no_sample():
    account = Account(per_sample=1)
    ChargedLabels(Constant(0), account, overhead="labelling").ask(torch.zeros(5, 2), torch.zeros(5, dtype=torch.int64))
    assert account.spent(torch.tensor([0])).tolist() == [0]
    assert account.total == account.overhead["labelling"] == 5


def test_a_plan_may_ask_aside_on_the_same_account():
    """The same model, the same limit in all; no sample pays, whatever the ids."""
    account, oracle = Account(per_sample=1, in_all=6), HalfSpace(Box((2,)), torch.ones(2), -1.0)
    charged, ids = ChargedLabels(oracle, account), torch.zeros(3, dtype=torch.int64)
    assert charged.aside("surrogate").ask(torch.ones(3, 2), ids).tolist() == [1, 1, 1]
    charged.ask(torch.zeros(1, 2), ids[:1])
    assert dict(account.overhead) == {"surrogate": 3}
    assert account.spent(ids[:1]).tolist() == [1]
    with pytest.raises(BudgetExceeded):
        charged.aside("more").ask(torch.ones(3, 2), ids)
    assert oracle.calls == [3, 1]


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        (torch.tensor([0.0, 1.0, 0.0]), r"got floats for 3 of 3 inputs \(the first is row 0: 0\): round\?"),
        ([1.0, 0.25, 1.0], r"got fractions for 1 of 3 inputs \(the first is row 1: 0.25\): .* regressor is no classif"),
        (np.array([0, NAN, NAN]), r"got NaN or infinity for 2 of 3 inputs \(the first is row 1: nan\)"),
        ([0, 2, -1], r"got negative numbers for 1 of 3 inputs \(the first is row 2: -1\): number the classes 0, 1"),
        (torch.zeros(2, dtype=torch.int64), r"got torch.int64 \(2,\).*row 2 is the first without an answer"),
        (np.zeros(4, dtype=int), r"got torch.int64 \(4,\): answer each input once"),
        (torch.zeros(3, 1, dtype=torch.int64), r"got torch.int64 \(3, 1\)"),
        (None, "got NoneType None"),
        ("abc", "got str 'abc'"),
        (["dog", "dog", "cat"], "got list of 3 with 'dog' in row 0, the first of 3"),
        (np.array(["dog", "cat", "cat"]), "'dog' in row 0, the first of 3"),
        ([1, None, 0], "with None in row 1, the first of 1"),
    ],
)
def test_answers_that_are_no_labels_are_refused(answers, told):
    """The error names the role and the rule, what was answered, how many are wrong, the first row, and the way out."""

    class Wrong:
        def ask(self, inputs, ids):
            return answers

    oracle = askable(Wrong(), torch.device("cpu"), role="the neighbour's model").labels
    rule = r"^the neighbour's model must answer ask\(inputs, ids\) of 3 inputs with whole numbers \(3,\).*"
    with pytest.raises(InvalidInput, match=rule + told):
        oracle.ask(torch.zeros(3, 2), torch.arange(3))


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        (torch.tensor([[0.25, 0.75], [1.0, 0.0]]), r"got probabilities for all 2 .*row 0: \[0.25, 0.75\]\): take log"),
        (
            [[-1.0, -2.0], [0.5, -3.0]],
            r"0 or less, got more for 1 of 2 inputs \(the first is row 1: 0.5\): .*log_softmax",
        ),
        ([[-1.0, -2.0], [NAN, -3.0]], r"got NaN for 1 of 2 inputs \(the first is row 1"),
        ([[INF, -2.0], [INF, -3.0]], r"got infinity for 2 of 2 inputs \(the first is row 0: inf"),
        ([[-1.0, -2.0], [-INF, -INF]], r"got no class at all for 1 of 2 inputs \(the first is row 1"),
        (torch.zeros(2), r"of 2 classes at least, got torch.float32 \(2,\): show each class"),
        (torch.zeros(2, 1), r"of 2 classes at least, got torch.float32 \(2, 1\): show each class"),
        (torch.zeros(3, 2), r"got torch.float32 \(3, 2\)"),
        (None, "got NoneType None"),
        ("no", "got str 'no'"),
    ],
)
@pytest.mark.parametrize("question", ["labels", "scores"])
def test_answers_that_are_no_log_probabilities_are_refused(answers, told, question):
    """Also where only the labels are asked for, which are read from them."""

    class Wrong:
        def ask_scores(self, inputs, ids):
            return answers

    model = askable(Wrong(), torch.device("cpu"), role="shadow model")
    ask = model.labels.ask if question == "labels" else model.scores.ask_scores
    rule = r"^shadow model must answer ask_scores\(inputs, ids\) of 2 inputs with log probabilities \(2, classes\).*"
    with pytest.raises(InvalidInput, match=rule + told):
        ask(torch.zeros(2, 2), torch.arange(2))


class Server:
    """Shows scores (q, width) that favour `best`, and labels."""

    def __init__(self, width, best=0):
        self.width, self.best = width, best

    def ask(self, inputs, ids):
        return [self.best] * len(inputs)

    def ask_scores(self, inputs, ids):
        return torch.full((len(inputs), self.width), -3.0)


def test_a_width_that_changes_is_refused():
    server = Server(3)
    oracle = askable(server, torch.device("cpu"), role="target").scores
    oracle.ask_scores(torch.zeros(2, 2), torch.arange(2))
    server.width = 4
    with pytest.raises(InvalidInput, match=r"target must show scores of the same .* 3 classes before and now 4"):
        oracle.ask_scores(torch.zeros(2, 2), torch.arange(2))


def test_labels_beyond_the_scores_are_refused_where_scores_have_shown_how_many_classes_there_are():
    model = askable(Server(3, best=3), torch.device("cpu"), role="target")
    assert model.labels.ask(torch.zeros(2, 2), torch.arange(2)).tolist() == [3, 3]  # Nobody can know.
    model.scores.ask_scores(torch.zeros(2, 2), torch.arange(2))
    with pytest.raises(InvalidInput, match=r"target must .* below the 3 .* got more for 2 of 2 inputs .* row 0: 3\)"):
        model.labels.ask(torch.zeros(2, 2), torch.arange(2))


def test_scores_of_fewer_classes_than_the_task_are_filled_up_and_of_more_refused():
    few = askable(Server(3), torch.device("cpu"), role="shadow model", classes=5, exact=True)
    assert few.scores.ask_scores(torch.zeros(1, 2), torch.arange(1)).tolist() == [[-3.0, -3.0, -3.0, LOWEST, LOWEST]]
    many = askable(Server(6), torch.device("cpu"), role="shadow model", classes=5, exact=True)
    with pytest.raises(InvalidInput, match="shadow model must show at most 5 classes, as many as the target, got 6"):
        many.scores.ask_scores(torch.zeros(1, 2), torch.arange(1))
    loose = askable(Server(6), torch.device("cpu"), role="trainer's model", classes=5)
    assert loose.scores.ask_scores(torch.zeros(1, 2), torch.arange(1)).shape == (1, 6)


def test_a_zero_probability_becomes_a_finite_number_below_all_others():
    class Sure:
        def ask_scores(self, inputs, ids):
            return np.array([[0.0, -INF, -INF], [-0.5, -80.0, -INF]])

    scores = askable(Sure(), torch.device("cpu"), role="target").scores.ask_scores(torch.zeros(2, 2), torch.arange(2))
    assert scores.tolist() == [[0.0, LOWEST, LOWEST], [-0.5, -80.0, -80.0]]


def test_answers_come_back_on_the_device_of_the_inputs():
    class OnTheCpu:
        def ask(self, inputs, ids):
            return torch.zeros(len(inputs), dtype=torch.int64)

        def ask_scores(self, inputs, ids):
            return torch.zeros(len(inputs), 2)

    inputs, ids = torch.zeros(3, 2, device="meta"), torch.arange(3)  # A device that every machine has.
    assert ChargedLabels(OnTheCpu(), Account()).ask(inputs, ids).device == inputs.device
    assert ChargedScores(OnTheCpu(), Account()).ask_scores(inputs, ids).device == inputs.device


def test_truth_values_are_the_classes_0_and_1():
    class Yes:
        def ask(self, inputs, ids):
            return inputs[:, 0] > 0

    answers = askable(Yes(), torch.device("cpu"), role="target").labels.ask(
        torch.tensor([[1.0], [-1.0]]), torch.arange(2)
    )
    assert answers.dtype == torch.int64
    assert answers.tolist() == [1, 0]


@pytest.mark.parametrize("kind", [list, np.asarray, lambda answers: torch.tensor(answers, dtype=torch.int32)])
def test_arrays_and_lists_are_answers_too(kind):
    class Foreign:
        def ask(self, inputs, ids):
            return kind([2, 0, 1])

    oracle = askable(Foreign(), torch.device("cpu"), role="target").labels
    answers = ChargedLabels(oracle, Account()).ask(torch.zeros(3, 2), torch.arange(3))
    assert answers.dtype == torch.int64
    assert answers.tolist() == [2, 0, 1]


def test_every_input_needs_an_id():
    with pytest.raises(InvalidInput, match="got 2 inputs and 3 ids"):
        ChargedLabels(Constant(0), Account()).ask(torch.zeros(2, 2), torch.arange(3))


def test_a_label_oracle_has_no_way_to_scores():
    assert not hasattr(TorchModel(net()), "ask_scores")
    charged = ChargedLabels(TorchScores(net(), batch_size=4), Account())
    assert isinstance(charged, LabelOracle)
    assert not isinstance(charged, ScoreOracle)


@given(rows=st.integers(1, 20), batch_size=st.integers(1, 9))
def test_a_torch_model_answers_in_any_batch_as_its_own_forward_does(rows, batch_size):
    model = net()
    inputs = torch.rand(rows, 4, generator=torch.Generator().manual_seed(rows))
    oracle = TorchScores(model, device="cpu", batch_size=batch_size)
    with torch.no_grad():
        logits = model.eval()(inputs)
    assert torch.equal(oracle.ask(inputs, torch.arange(rows)), logits.argmax(1))
    torch.testing.assert_close(oracle.ask_scores(inputs, torch.arange(rows)), logits.log_softmax(1))
    assert torch.equal(LabelsOfScores(oracle).ask(inputs, torch.arange(rows)), logits.argmax(1))


@given(rows=st.integers(1, 40), most=st.integers(1, 9))
def test_batches_on_a_processor_are_few_and_even(rows, most):
    seen = []

    class Watched(nn.Linear):
        def forward(self, inputs):
            seen.append(len(inputs))
            return super().forward(inputs)

    TorchModel(Watched(4, 3), device="cpu", batch_size=most).ask(torch.rand(rows, 4), torch.arange(rows))
    assert sum(seen) == rows
    assert max(seen) <= most
    assert len(seen) == math.ceil(rows / most)
    assert len(set(seen[:-1])) <= 1
    assert max(seen) == math.ceil(rows / len(seen))


def test_a_model_in_training_mode_answers_without_dropout_and_stays_in_its_mode():
    model = net().train()
    oracle = TorchModel(model, device="cpu", batch_size=8)
    inputs = torch.rand(50, 4)
    assert torch.equal(oracle.ask(inputs, torch.arange(50)), oracle.ask(inputs, torch.arange(50)))
    assert model.training


def test_each_module_keeps_its_own_mode():
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Dropout(0.5), nn.BatchNorm1d(3)).train()
    model[1].eval()
    oracle = TorchModel(model, device="cpu", batch_size=8)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    oracle.ask(torch.rand(50, 4), torch.arange(50))
    assert [module.training for module in model.modules()] == [True, True, False, True, True]
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_a_model_in_evaluation_mode_is_not_touched():
    class Refusing(nn.Linear):
        def train(self, mode=True):
            raise AssertionError("the mode was set")

    model = Refusing(4, 3)
    model.training = False
    assert len(TorchModel(model, device="cpu", batch_size=8).ask(torch.rand(5, 4), torch.arange(5))) == 5


def test_a_model_that_fails_is_put_back_into_its_modes():
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(7, 3)).train()
    model[0].eval()
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        TorchModel(model, device="cpu", batch_size=8).ask(torch.rand(5, 4), torch.arange(5))
    assert [module.training for module in model.modules()] == [True, False, True]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_inputs_are_cast_to_the_type_of_the_models_parameters(dtype):
    model, inputs, ids = net().eval().to(dtype), torch.rand(20, 4), torch.arange(20)
    oracle = TorchScores(model, device="cpu", batch_size=8)
    with torch.no_grad():
        logits = torch.cat([model(batch.to(dtype)) for batch in inputs.split(8)])
    assert torch.equal(oracle.ask(inputs, ids), logits.argmax(1))
    scores = oracle.ask_scores(inputs, ids)
    assert scores.dtype == torch.float32
    torch.testing.assert_close(scores, logits.float().log_softmax(1))


def test_whole_numbered_parameters_say_nothing_about_the_inputs():
    class Indexed(nn.Module):
        def __init__(self):
            super().__init__()
            self.order = nn.Parameter(torch.tensor([1, 0]), requires_grad=False)

        def forward(self, inputs):
            assert inputs.dtype == torch.float32
            return inputs[:, self.order]

    oracle = TorchModel(Indexed(), device="cpu", batch_size=8)
    assert oracle.ask(torch.tensor([[0.2, 0.7]]), torch.arange(1)).tolist() == [0]


class Clocked(nn.Module):
    """Takes `seconds(rows)` by a clock of its own, and remembers how many rows each pass had."""

    def __init__(self, seconds):
        super().__init__()
        self.seconds, self.now, self.passes = seconds, 0.0, []

    def forward(self, inputs):
        self.passes.append(len(inputs))
        self.now += self.seconds(len(inputs))
        return inputs.flatten(1)[:, :2]


def probed(monkeypatch, seconds, *, shape=(4,)):
    model = Clocked(seconds)
    monkeypatch.setattr(pytorch, "time", SimpleNamespace(perf_counter=lambda: model.now))
    oracle = TorchModel(model, device="cpu")
    size = oracle.probe(torch.zeros(1, *shape))
    assert oracle.probe_rows == sum(model.passes)
    assert oracle.batch_size == size
    return size, sorted(set(model.passes))


@pytest.mark.parametrize(
    ("seconds", "best", "tried"),
    [
        (lambda rows: 0.05, 65_536, [*PROBED_SIZES]),  # However many rows.
        (lambda rows: 2**-13 * rows, 128, [32, 64, 128]),  # Each row its time: the largest tried is as fast as any.
        (lambda rows: 2**-13 * rows * (1 if rows == 32 else 1 + 2**-6), 128, [32, 64, 128]),  # Nearly as fast as 32.
        (lambda rows: 2**-13 * rows * (1 if rows == 32 else 1 + 2**-5), 32, [32, 64, 128]),  # Slower.
        (lambda rows: 2**-13 * rows * (1 if rows > 64 else 1 + 2**-5), 512, [32, 64, 128, 256, 512]),
        (lambda rows: 2**-13 * rows * (1 if rows == 128 else 1 + 2**-5), 128, [32, 64, 128, 256, 512]),
        (lambda rows: 0.02 * rows, 32, [32]),  # 0.64 seconds at once.
        (lambda rows: 0.1 + 0.001 * rows, 128, [32, 64, 128]),  # 0.228 seconds at 128, the best rate so far.
    ],
)
def test_the_probe_stops_where_larger_batches_are_no_faster_or_slow(monkeypatch, seconds, best, tried):
    assert probed(monkeypatch, seconds) == (best, tried)


@pytest.mark.parametrize(("width", "tried"), [(2**17, [32, 64, 128, 256]), (2**17 + 1, [32, 64, 128]), (2**22, [8])])
def test_no_probed_batch_is_larger_than_memory_allows(monkeypatch, width, tried):
    monkeypatch.setattr(torch.Tensor, "contiguous", lambda batch: batch)  # The batches need not be laid out here.
    assert probed(monkeypatch, lambda rows: 0.1, shape=(width,)) == (tried[-1], tried)


def test_the_memory_for_inputs_can_be_set_in_mebibytes():
    assert values_in_memory(None) == values_in_memory("128") == 2**25
    assert values_in_memory("1") == 2**18
    for wrong in ("0", "-1", "1.5", "much", "", "\u0661"):
        with pytest.raises(InvalidInput, match=r"HARDLABEL_MEMORY must be a whole number of MiB, at least 1, got"):
            values_in_memory(wrong)


SHORTAGES = [
    torch.OutOfMemoryError("CUDA out of memory."),
    RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried to"),
    RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 1 bytes."),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    MemoryError(),
]


@pytest.mark.parametrize("shortage", SHORTAGES, ids=lambda shortage: str(shortage)[:12])
@pytest.mark.parametrize(("room", "best"), [(200, 128), (20, 1)])
def test_the_probe_ends_where_memory_does(monkeypatch, shortage, room, best):
    def seconds(rows):
        if rows > room:
            raise shortage
        return 0.05

    size, tried = probed(monkeypatch, seconds)
    assert size == best
    assert tried[-1] == (256 if best == 128 else 32)


class Laid(nn.Module):
    """An image's batch takes half the time, or twice, with channels last; `flatten` is how it is made a vector."""

    def __init__(self, factor, flatten):
        super().__init__()
        self.factor, self.flatten, self.now, self.last = factor, flatten, 0.0, False

    def forward(self, inputs):
        self.last = inputs.is_contiguous(memory_format=torch.channels_last)
        self.now += 0.2 * (self.factor if self.last else 1.0)
        return self.flatten(inputs)[:, :2]


@pytest.mark.parametrize(
    ("factor", "flatten", "taken"),
    [
        (0.5, lambda images: images.flatten(1), True),
        (2.0, lambda images: images.flatten(1), False),
        (0.97, lambda images: images.flatten(1), False),  # Too little is gained.
        (0.5, lambda images: images.view(len(images), -1), False),  # Such a network cannot take them.
    ],
)
def test_images_go_with_channels_last_where_that_is_faster(monkeypatch, factor, flatten, taken):
    model = Laid(factor, flatten)
    monkeypatch.setattr(pytorch, "time", SimpleNamespace(perf_counter=lambda: model.now))
    images = torch.rand(5, 3, 4, 4)
    oracle = TorchModel(model, device="cpu")
    assert torch.equal(oracle.ask(images, torch.arange(5)), images.flatten(1)[:, :2].argmax(1))
    assert model.last == taken


@pytest.mark.parametrize(("gain", "kept"), [(0.8, 1), (1.05, 1), (1.5, None)])
def test_a_second_thread_answers_only_where_it_gains(monkeypatch, gain, kept):
    seen, before = [], torch.get_num_threads()

    class Watched(nn.Module):
        def forward(self, inputs):
            seen.append(torch.get_num_threads())
            # A clock of one second a batch with one thread.
            clock[0] += 1.0 if seen[-1] == 1 else 1 / gain
            return inputs

    clock = [0.0]
    monkeypatch.setattr(pytorch.time, "perf_counter", lambda: clock[0])
    oracle = TorchScores(Watched(), device="cpu")
    torch.set_num_threads(2)
    try:
        oracle.ask(torch.zeros(4, 2), torch.arange(4))
        assert oracle.threads == kept
        assert seen[-1] == (kept or 2)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_another_failure_of_the_probe_is_told(monkeypatch):
    def seconds(rows):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        probed(monkeypatch, seconds)


def test_the_probe_is_made_once_and_its_rows_are_known():
    oracle = TorchModel(net(), device="cpu")
    assert oracle.batch_size is None
    oracle.ask(torch.rand(3, 4), torch.arange(3))
    size, rows = oracle.batch_size, oracle.probe_rows
    assert size in PROBED_SIZES
    assert rows >= 2 * 32
    oracle.ask(torch.rand(3, 4), torch.arange(3))
    assert (oracle.batch_size, oracle.probe_rows) == (size, rows)


def test_a_model_that_gives_no_logits_is_named():
    with pytest.raises(
        InvalidInput, match=r"a model must map \(q, \*shape\) to logits \(q, classes\), got \(2, 4, 1\)"
    ):
        TorchModel(nn.Unflatten(1, (4, 1)), device="cpu", batch_size=2).ask(torch.rand(2, 4), torch.arange(2))


def test_a_module_is_put_back_where_it_was_and_nothing_else_is_touched():
    def stopped(model):
        with left_in_place(model):
            model.to_empty(device="cpu")
            raise KeyboardInterrupt

    model = nn.Linear(2, 2, device="meta")
    with pytest.raises(KeyboardInterrupt):
        stopped(model)
    assert {weight.device.type for weight in model.parameters()} == {"meta"}
    both = nn.Sequential(nn.Linear(2, 2, device="meta"), nn.Linear(2, 2))
    with left_in_place(both):
        both[0].to_empty(device="cpu")
    assert both[0].weight.device.type == "cpu"  # It was on two devices: nobody knows which to put it back on.
    with left_in_place("no module"):
        pass


@pytest.mark.parametrize("size", [1, 5, 8, 64, 1000])
def test_batches_are_filled_up_to_few_lengths_with_legal_rows(size):
    lengths = set()
    for rows in range(1, size + 1):
        batch = torch.rand(rows, 2, 3)
        full = filled(batch, size)
        assert torch.equal(full[:rows], batch)
        assert all(torch.equal(row, batch[0]) for row in full[rows:][:2])
        assert rows <= len(full) < rows + max(1, size / SHAPES) + 1
        lengths.add(len(full))
    assert len(lengths) <= SHAPES


def test_an_unknown_device_is_refused():
    with pytest.raises(InvalidInput, match="device 'abacus' cannot be used here"):
        resolve_device("abacus")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_model_on_a_gpu_answers_like_the_same_model_on_the_cpu():
    inputs = torch.rand(100, 4)
    oracle = TorchScores(net(), device="cuda")
    on_gpu = oracle.ask_scores(inputs.cuda(), torch.arange(100).cuda())
    assert on_gpu.is_cuda
    torch.testing.assert_close(
        on_gpu.cpu(), TorchScores(net(), device="cpu").ask_scores(inputs, torch.arange(100)), atol=1e-5, rtol=1e-4
    )


# --- inputs are never shared ---


class Scribbler(nn.Module):
    """Divides its inputs in place, as a careless layer does; `late`: only where a first value is high."""

    def __init__(self, late=False):
        super().__init__()
        self.layer, self.late = nn.Linear(4, 3), late

    def forward(self, inputs):
        if not self.late or bool((inputs[:, 0] > 10).any()):
            inputs.div_(255)
        return self.layer(inputs)


class ScribblingOracle:
    def ask(self, inputs, ids):
        answers = (inputs[:, 0] > 0).long()
        inputs.zero_()
        ids.zero_()
        return answers

    def ask_scores(self, inputs, ids):
        inputs.zero_()
        return torch.full((len(inputs), 2), 0.5).log()


@pytest.mark.parametrize("batch_size", [None, 5])
def test_a_network_that_writes_into_its_inputs_changes_nothing_and_answers_alike(batch_size):
    torch.manual_seed(0)
    model, inputs = Scribbler(), torch.randn(40, 4)
    before = inputs.clone()
    asked = TorchScores(model, device="cpu", batch_size=batch_size)
    with torch.inference_mode():
        truth = model.layer(inputs / 255).argmax(1)
    for _ in range(2):
        assert torch.equal(asked.ask(inputs, torch.arange(40)), truth)
        asked.ask_scores(inputs, torch.arange(40))
        assert torch.equal(inputs, before)


def test_a_network_that_writes_into_some_inputs_only_is_refused():
    inputs = torch.randn(40, 4)
    asked = TorchScores(Scribbler(late=True), device="cpu", batch_size=20)
    asked.ask(inputs, torch.arange(40))
    inputs[25, 0] = 11.0
    with pytest.raises(InvalidInput, match="must not write into some of its inputs only"):
        asked.ask(inputs, torch.arange(40))


def test_an_oracle_that_writes_into_its_inputs_changes_nothing():
    inputs, ids = torch.randn(40, 4), torch.arange(40)
    before = inputs.clone()
    asked = askable(ScribblingOracle(), torch.device("cpu"), role="target", name="scribbler")
    for _ in range(2):
        assert torch.equal(asked.labels.ask(inputs, ids), (before[:, 0] > 0).long())
        asked.scores.ask_scores(inputs, ids)
        assert torch.equal(inputs, before)
        assert torch.equal(ids, torch.arange(40))


def test_a_trainer_that_writes_into_its_data_changes_nothing():
    samples = Samples(ids=torch.arange(30), inputs=torch.rand(30, 4), labels=torch.arange(30) % 2, domain=Box((4,)))
    before = samples.inputs.clone()

    def scribbling(inputs, labels, *, seed):
        inputs *= 0
        labels *= 0
        return nn.Linear(4, 2)

    for arrays in (True, False):
        FunctionTrainer(function=scribbling, arrays=arrays).fit(samples, 0)
        assert torch.equal(samples.inputs, before)
        assert torch.equal(samples.labels, torch.arange(30) % 2)


# --- what a network's answers mean ---


def both(network, inputs, **settings):
    """Labels and log probabilities of a network."""
    asked = TorchScores(network, device="cpu", **settings)
    ids = torch.arange(len(inputs))
    return asked.ask(inputs, ids), asked.ask_scores(inputs, ids), asked.probabilities


@pytest.mark.parametrize("sharpness", [1.0, 30.0])
def test_probabilities_for_logits_give_the_same_answers_and_are_noticed(sharpness):
    """A second softmax would flatten them; a sharp network's probabilities round to 1, their logarithms do not."""
    torch.manual_seed(0)
    inputs, layer = torch.randn(60, 4), nn.Linear(4, 3)
    layer.weight.data *= sharpness
    labels, scores, noticed = both(layer, inputs)
    assert not noticed
    same, close, noticed = both(nn.Sequential(layer, nn.Softmax(1)), inputs)
    assert noticed
    assert torch.equal(labels, same)
    shown = scores.exp() > 1e-30  # Below, float32 has no probability.
    torch.testing.assert_close(close[shown], scores[shown], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("flat", [False, True])
def test_one_output_is_the_logit_of_class_1(flat):
    torch.manual_seed(0)
    inputs, layer = torch.randn(60, 4), nn.Linear(4, 1)
    model = nn.Sequential(layer, nn.Flatten(0)) if flat else layer
    labels, scores, _ = both(model, inputs)
    logit = layer(inputs)[:, 0].detach()
    assert torch.equal(labels, (logit > 0).long())
    assert 0 < int(labels.sum()) < 60
    torch.testing.assert_close(scores.exp()[:, 1], logit.sigmoid())
    torch.testing.assert_close(scores.exp().sum(1), torch.ones(60))


def test_one_output_that_looks_like_a_probability_is_refused():
    torch.manual_seed(0)
    with pytest.raises(
        InvalidInput, match=r"^target answers with one number, which must be a logit .* Leave the sigmoid"
    ):
        both(nn.Sequential(nn.Linear(4, 1), nn.Sigmoid()), torch.randn(60, 4), role="target")


class Diverged(nn.Module):
    """Answers NaN (or infinity) where the first value is above 1."""

    def __init__(self, value):
        super().__init__()
        self.layer, self.value = nn.Linear(4, 3), value

    def forward(self, inputs):
        return torch.where(inputs[:, :1] > 1, torch.full((), self.value), self.layer(inputs))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_answers_that_are_no_numbers_are_refused_with_role_count_and_first_row(value):
    inputs = torch.zeros(50, 4)
    inputs[[7, 30], 0] = 2.0
    told = (
        r"^shadow model must answer with finite numbers, got NaN or infinity for 2 of 50 inputs \(the first is row 7\)"
    )
    with pytest.raises(InvalidInput, match=told):
        TorchScores(Diverged(value), device="cpu", batch_size=50, role="shadow model").ask(inputs, torch.arange(50))


def test_large_answers_whose_sum_overflows_are_no_infinity():
    class Large(nn.Module):
        def forward(self, inputs):
            return torch.tensor([[3e38, 2e38, 1e38]]).expand(len(inputs), 3)

    labels, _, _ = both(Large(), torch.zeros(50, 4))
    assert labels.tolist() == [0] * 50
