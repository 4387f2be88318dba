"""Accounts count before sending and refuse to overspend; torch models answer alike in any batch."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from games import Constant, HalfSpace
from hardlabel.checks import InvalidInput
from hardlabel.data.domain import Box
from hardlabel.oracles.base import LabelOracle, LabelsOfScores, ScoreOracle
from hardlabel.oracles.budget import Account, BudgetExceeded, ChargedLabels, ChargedScores
from hardlabel.oracles.pytorch import TorchModel, TorchScores, resolve_device


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


@pytest.mark.parametrize(
    "answers", [torch.zeros(3), torch.zeros(2, dtype=torch.int64), torch.zeros(3, 1, dtype=torch.int64), [0, 0, 0]]
)
def test_answers_that_are_no_labels_are_refused(answers):
    class Wrong:
        def ask(self, inputs, ids):
            return answers

    with pytest.raises(TypeError, match="an oracle must answer 3 questions with integers"):
        ChargedLabels(Wrong(), Account()).ask(torch.zeros(3, 2), torch.arange(3))


@pytest.mark.parametrize("answers", [torch.full((2, 3), 0.3), torch.full((2, 3), float("nan")), torch.zeros(2), "no"])
def test_answers_that_are_no_log_probabilities_are_refused(answers):
    class Wrong:
        def ask_scores(self, inputs, ids):
            return answers

    with pytest.raises(TypeError, match="log probabilities"):
        ChargedScores(Wrong(), Account()).ask_scores(torch.zeros(2, 2), torch.arange(2))


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


def test_a_model_in_training_mode_answers_without_dropout_and_stays_in_its_mode():
    model = net().train()
    oracle = TorchModel(model, device="cpu", batch_size=8)
    inputs = torch.rand(50, 4)
    assert torch.equal(oracle.ask(inputs, torch.arange(50)), oracle.ask(inputs, torch.arange(50)))
    assert model.training


def test_the_probe_is_made_once_and_its_rows_are_known():
    oracle = TorchModel(net(), device="cpu")
    assert oracle.batch_size is None
    oracle.ask(torch.rand(3, 4), torch.arange(3))
    size, rows = oracle.batch_size, oracle.probe_rows
    assert size in (32, 64, 128, 256, 512, 1024, 2048, 4096)
    assert rows >= 2 * 32
    oracle.ask(torch.rand(3, 4), torch.arange(3))
    assert (oracle.batch_size, oracle.probe_rows) == (size, rows)


def test_a_model_that_gives_no_logits_is_named():
    with pytest.raises(InvalidInput, match=r"target must map \(q, \*shape\) to logits \(q, classes\), got \(2, 4, 1\)"):
        TorchModel(nn.Unflatten(1, (4, 1)), device="cpu", batch_size=2).ask(torch.rand(2, 4), torch.arange(2))


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
