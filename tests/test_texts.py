"""Texts: split without loss, changed word by word, given back as the caller had them."""

import re

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

import hardlabel
from hardlabel import randomness
from hardlabel.checks import InvalidInput
from hardlabel.data.codecs.texts import TextCodec
from hardlabel.data.domain import NoiseLevel

TEXTS = ["Call me!", "", "ok", "...", "Ok, call me later :-)", "αβγ δ\t\n漢字 e\u0301", " 2moro ", "call_me ok ok"]
CODEC = TextCodec.fit({"members": TEXTS})


def test_a_text_alternates_between_separators_and_words():
    pieces = [CODEC.pieces[int(one)] for one in CODEC.encode(["Ok, call me later :-)"])[0]]
    assert [piece for piece in pieces if piece] == ["Ok", ", ", "call", " ", "me", " ", "later", " :-)"]
    assert pieces[0] == ""


@given(texts=st.lists(st.text(max_size=30), min_size=1, max_size=6), seed=st.integers(0, 1000))
@settings(max_examples=150)
def test_any_text_comes_back_and_every_legal_point_is_the_encoding_of_its_text(texts, seed):
    if not any(re.search(r"\w", text) for text in texts):
        texts = [*texts, "word"]
    codec = TextCodec.fit({"members": texts})
    points = codec.encode(texts)
    codec.domain.check(points)
    assert codec.decode(points) == texts
    rng = randomness.generator(seed, "texts")
    legal = codec.domain.random(5, rng)
    noisy = codec.domain.noisy(points, codec.domain.noise_source(3, rng), NoiseLevel(flip=0.5)).flatten(0, 1)
    for group in (legal, noisy):
        assert torch.equal(codec.encode(codec.decode(group)), group)


def in_containers(texts):
    wide = np.array(texts, dtype=np.str_)
    objects = np.empty(len(texts), dtype=object)
    objects[:] = texts
    return {
        "list": texts,
        "objects": objects,
        "wide": wide,
        "series": pd.Series(texts, name="text", dtype="str"),
        "series of objects": pd.Series(texts, name=3, dtype=object),
        "nullable series": pd.Series(texts, dtype="string"),
    }


@pytest.mark.parametrize("name", in_containers(["a"]))
def test_texts_come_back_in_their_container(name):
    texts = in_containers(TEXTS)[name]
    codec = TextCodec.fit({"members": texts, "nonmembers": ["call me"]})
    back = codec.decode(codec.encode(texts))
    assert type(back) is type(texts)
    if isinstance(texts, pd.Series):
        pd.testing.assert_series_equal(back, texts)
    else:
        assert list(back) == list(texts)
        assert getattr(back, "dtype", None) == getattr(texts, "dtype", None)


def test_a_series_with_another_index_is_read_in_its_order():
    series = pd.Series(["ok", "call me"], index=[7, 3])
    assert CODEC.decode(CODEC.encode(series)) == ["ok", "call me"]


def test_noise_changes_words_into_words_of_the_population_and_keeps_the_rest():
    codec = TextCodec.fit({"members": ["Aunt Polly: call me!"], "population": ["ring us", "ring them -", "us us"]})
    point = codec.encode(["Aunt Polly: call me!"])
    source = codec.domain.noise_source(400, randomness.generator(0, "noise"))
    texts = codec.decode(codec.domain.noisy(point, source, NoiseLevel(flip=0.5))[0])
    words = set()
    for text in texts:
        pieces = re.split(r"(\w+)", text)
        assert pieces[::2] == ["", " ", ": ", " ", "!"]
        words.update(pieces[1::2])
    assert words == {"Aunt", "Polly", "call", "me", "ring", "us", "them"}
    drawn = [word for text in texts for word in re.findall(r"\w+", text) if word in ("ring", "us", "them")]
    share, expected = drawn.count("us") / len(drawn), 3 / 6
    assert share == pytest.approx(expected, abs=4 * (expected * (1 - expected) / len(drawn)) ** 0.5)


def test_a_population_of_one_word_does_not_replace_all_words():
    codec = TextCodec.fit({"members": ["a b"], "population": ["a a"]})
    assert len(codec.domain.substitutes) == 2


@pytest.mark.parametrize(
    "ids",
    [
        ["", "ok"],
        ["", "ok", "", "me", ""],
        ["ok"],
        ["", "ok", " ", " ", ""],
        ["!", "!", "!"],
    ],
)
def test_points_whose_text_would_be_split_in_another_way_are_refused(ids):
    codec = TextCodec.fit({"members": ["ok me!", "!"]})
    place = {piece: number for number, piece in enumerate(codec.pieces)}
    point = torch.zeros(1, codec.domain.length)
    point[0, : len(ids)] = torch.tensor([place[piece] for piece in ids])
    with pytest.raises(InvalidInput, match="separator, word"):
        codec.domain.check(point)


def test_texts_that_cannot_be_read_get_one_line():
    for given_texts, message in (
        (["unheard"], "words and separators that the codec was fitted on, got 'unheard' in row 0"),
        (["ok;ok"], "got ';' in row 0"),
        (["ok"] * 2 + ["ok " * 20], r"at most 4 words each, got 20 in row 2"),
        (["ok", None], "must be texts, got NoneType in row 1"),
        ("ok", "must be a sequence of texts"),
        ([["ok"]], "must be a sequence of texts|must be texts"),
    ):
        with pytest.raises(InvalidInput, match=message) as error:
            CODEC.encode(given_texts, "members")
        assert "\n" not in str(error.value)
    with pytest.raises(
        InvalidInput, match="texts of at most 2000 words, got 2001 in row 1: split long texts into parts"
    ):
        TextCodec.fit({"members": ["ok", "ok " * 2001]})
    with pytest.raises(InvalidInput, match="at least one word"):
        TextCodec.fit({"members": ["", "..."]})


def test_codecs_of_other_words_have_other_domains():
    """Else a store would take one corpus for another with the same ids."""
    one, same, other = (TextCodec.fit({"members": [text]}) for text in ("a b", "a b", "a c"))
    assert one == same
    assert hash(one) == hash(same)
    assert one.domain != other.domain
    assert repr(one.domain) != repr(other.domain)


# Messages, end to end.


@pytest.fixture(scope="module")
def messages(shared_data):
    """Distinct messages of the SMS Spam Collection with up to 30 words, one in two of them spam, and their labels."""
    lines = (shared_data / "sms" / "SMSSpamCollection").read_text(encoding="utf-8").split("\n")
    labels = {text: label for label, _, text in (line.partition("\t") for line in lines if line)}
    short = [text for text in labels if len(re.findall(r"\w+", text)) <= 30]
    order = torch.randperm(len(short), generator=randomness.generator(0, "messages"))
    texts = sorted((short[place] for place in order.tolist()), key=lambda text: labels[text] == "ham")[:720]
    mixed = torch.randperm(len(texts), generator=randomness.generator(1, "messages"))
    texts = [texts[place] for place in mixed.tolist()]
    return texts, np.array([labels[text] for text in texts])


class Recorded(BaseEstimator, TransformerMixin):
    """The first step of a pipeline: hands texts on, and notes what it saw where `seen` is a list."""

    seen: list[str] | None = None

    def fit(self, texts, labels=None):
        return self

    def transform(self, texts):
        if Recorded.seen is not None:
            assert type(texts) is list
            Recorded.seen.extend(texts)
        return texts


@pytest.mark.long
def test_an_audit_asks_a_pipeline_of_texts_about_legal_texts_only(messages, monkeypatch):
    texts, labels = messages
    groups = [(texts[start : start + 120], labels[start : start + 120]) for start in (0, 120)]
    population = texts[240:640], labels[240:640]
    pipeline = make_pipeline(Recorded(), TfidfVectorizer(), LogisticRegression(C=1000.0)).fit(*groups[0])
    monkeypatch.setattr(Recorded, "seen", [])
    record = hardlabel.audit(
        pipeline,
        *groups,
        population=population,
        trainer=pipeline,
        attacks=("gap", "noise", "path", "lira"),
        budget=10,
        samples=30,
        attacker=hardlabel.Attacker(references=2),
    )
    assert {attack.name for attack in record.results.attacks} == {"gap", "noise", "path", "lira"}
    assert record.results.target.train_accuracy.value == pipeline.score(*groups[0]) == 1.0
    skeletons = {re.sub(r"\w+", "", text) for text in texts[:640]}
    words = {word for text in texts[:640] for word in re.findall(r"\w+", text)}
    asked = set(Recorded.seen)
    assert len(asked - set(texts)) > 500
    for text in asked:
        assert re.sub(r"\w+", "", text) in skeletons
        assert words.issuperset(re.findall(r"\w+", text))
