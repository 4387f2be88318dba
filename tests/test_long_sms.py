"""Messages: attacks find members of a model that learned them by heart, and nothing where nobody is a member."""

import itertools
import re

import numpy as np
import pytest
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from torch import nn

import hardlabel
from hardlabel import randomness

pytestmark = pytest.mark.long

ATTACKS = ("gap", "noise", "path", "lira")
ATTACKED, TRAINED, POPULATION = 300, 300, 1200


@pytest.fixture(scope="module")
def messages(shared_data):
    """Distinct messages of the SMS Spam Collection, shuffled, and whether each is spam."""
    lines = (shared_data / "sms" / "SMSSpamCollection").read_text(encoding="utf-8").split("\n")
    labels = {text: int(label == "spam") for label, _, text in (line.partition("\t") for line in lines if line)}
    texts = [text for text in labels if len(re.findall(r"\w+", text)) <= 40]
    order = torch.randperm(len(texts), generator=randomness.generator(0, "messages")).tolist()
    return [texts[place] for place in order], np.array([labels[texts[place]] for place in order])


def pipeline():
    """A user's pipeline of texts."""
    return make_pipeline(TfidfVectorizer(), LogisticRegression(C=1000.0, max_iter=300))


def ids_of(texts):
    """A user's tokenizer: lower-case words by their rank, 1 for rare ones; padded with 0 (n, 40), int64."""
    words = [re.findall(r"\w+", text.lower()) for text in texts]
    names, counts = np.unique([word for row in words for word in row], return_counts=True)
    frequent = names[counts > 1]
    place = {word: number for number, word in enumerate(frequent, start=2)}
    ids = torch.zeros(len(texts), 40, dtype=torch.int64)
    for row, listed in enumerate(words):
        ids[row, : len(listed)] = torch.tensor([place.get(word, 1) for word in listed], dtype=torch.int64)
    return ids


class Reader(nn.Module):
    """A user's network of int64 ids."""

    def __init__(self, vocabulary):
        super().__init__()
        self.embedding = nn.EmbeddingBag(vocabulary, 24, padding_idx=0)
        self.layers = nn.Sequential(nn.Linear(24, 48), nn.ReLU(), nn.Linear(48, 2))

    def forward(self, ids):
        return self.layers(self.embedding(ids))


def trainer_of_readers(vocabulary):
    """A user's training function."""

    def train(ids, labels, *, seed):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = Reader(vocabulary)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        for _ in range(100):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(ids), torch.as_tensor(labels)).backward()
            optimizer.step()
        return model.eval()

    return train


def audited(kind, messages, *, null):
    """The record of an audit of a pipeline or a network; with `null` neither group was trained on."""
    texts, labels = messages
    spans = np.cumsum([0, ATTACKED, ATTACKED, POPULATION, TRAINED])
    parts = [slice(start, end) for start, end in itertools.pairwise(spans)]
    ids = ids_of(texts)
    inputs = [texts[part] for part in parts] if kind == "pipeline" else [ids[part] for part in parts]
    groups = [(given, labels[part]) for given, part in zip(inputs, parts, strict=True)]
    members, nonmembers, population, elsewhere = groups
    trained = elsewhere if null else members
    domain = None
    if kind == "pipeline":
        trainer = pipeline()
        target = pipeline().fit(*trained)
    else:
        domain = hardlabel.Tokens.of(ids[: spans[3]], padding=0, vocabulary=int(ids.max()) + 1)
        trainer = trainer_of_readers(domain.vocabulary)
        target = trainer(*trained, seed=11)
    return hardlabel.audit(
        target,
        members,
        nonmembers,
        population=population,
        trainer=trainer,
        domain=domain,
        attacks=ATTACKS,
        budget=20,
        samples=ATTACKED,
        attacker=hardlabel.Attacker(references=8),
        focus=hardlabel.Focus(private=True),
    )


@pytest.mark.parametrize("kind", ["pipeline", "network"])
def test_nothing_is_found_where_neither_group_was_trained_on(kind, messages):
    aucs = {attack.name: attack.auc for attack in audited(kind, messages, null=True).results.attacks}
    assert set(aucs) == set(ATTACKS)
    for name, auc in aucs.items():
        assert auc.low <= 0.5 <= auc.high, (name, auc)


@pytest.mark.parametrize("kind", ["pipeline", "network"])
def test_members_are_found_by_labels_and_by_scores(kind, messages):
    aucs = {attack.name: attack.auc for attack in audited(kind, messages, null=False).results.attacks}
    assert aucs["path"].low > 0.5, aucs
    assert aucs["lira"].low > 0.5, aucs
