"""Targets at an address: what is sent in each protocol, how answers and faults are read, and where the token is not."""

import contextlib
import itertools
import json
import os
import pickle
import re
import sys
import threading
from dataclasses import replace
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.tree import DecisionTreeClassifier

from commands import called
from endpoints import Server, http_date
from hardlabel.audits import paid
from hardlabel.checks import InvalidInput
from hardlabel.cli import app
from hardlabel.data.codecs.labels import ClassNames
from hardlabel.kinds import run
from hardlabel.oracles.ledger import LEDGER, read_counts
from hardlabel.oracles.paid import Fate, Policy
from hardlabel.runs.settings import TargetSettings
from hardlabel.targets.http import client as clients
from hardlabel.targets.http.address import Address, rate_of
from hardlabel.targets.http.answers import Reading, WrongAnswer
from hardlabel.targets.http.client import endpoint_of, wait_of
from hardlabel.targets.http.pace import FIRST_ROWS, LONG, Pace
from hardlabel.targets.http.protocols import MLflow, OpenInference, TensorFlowServing, as_json
from hardlabel.targets.http.secrets import Tokens, header_pairs
from hardlabel.targets.http.templates import at, picture, read_template

TOKEN = "planted-token-7d1f9a"
EXAMPLES = Path(__file__).parent.parent / "examples" / "endpoints"
FRAME = pd.DataFrame({"age": [1.5, np.nan], "job": ["x", None], "old": [True, False], "count": [1, 2]})
ARRAY = np.arange(6, dtype=np.float32).reshape(2, 3)
QUICK = Policy(first_wait=0.0, longest_wait=0.01, pause=0.05, pauses=1, grace=2.0, seed=0)


@pytest.fixture
def serve():
    servers = []

    def start(answer, **options):
        servers.append(Server(answer, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


def sent(speaks, rows):
    request = speaks.request(rows)
    return request.path, json.loads(request.body)


# --- What is sent, after the documented examples of each protocol. ---


def test_v2_sends_a_matrix_or_an_input_for_each_column():
    path, body = sent(OpenInference.at("/v2/models/m/infer"), ARRAY)
    assert path == "/v2/models/m/infer"
    assert body == {"inputs": [{"name": "input-0", "shape": [2, 3], "datatype": "FP32", "data": [0, 1, 2, 3, 4, 5]}]}
    _, body = sent(OpenInference.at("/v2/models/m"), FRAME)
    assert body["parameters"] == {"content_type": "pd"}
    assert [(each["name"], each["datatype"], each["data"]) for each in body["inputs"]] == [
        ("age", "FP64", [1.5, None]),
        ("job", "BYTES", ["x", None]),
        ("old", "BOOL", [True, False]),
        ("count", "INT64", [1, 2]),
    ]
    assert all(each["shape"] == [2] for each in body["inputs"])
    _, body = sent(OpenInference.at("/v2/models/m"), ["one", "two"])
    assert body["inputs"][0]["datatype"] == "BYTES"
    assert (body["inputs"][0]["shape"], body["inputs"][0]["data"]) == ([2], ["one", "two"])


def described(*inputs, **others):
    told = {"name": "m", "versions": ["2", "3"], "inputs": [dict(zip(("name", "datatype", "shape"), each, strict=True))
                                                         for each in inputs], **others}  # fmt: skip
    return OpenInference.at("/v2/models/m").met(lambda path: told)


def test_v2_follows_what_the_server_declares():
    speaks = described(("x", "FP64", [-1, 3]))
    assert speaks.version == "2,3"
    assert sent(speaks, ARRAY)[1]["inputs"] == [
        {"name": "x", "shape": [2, 3], "datatype": "FP64", "data": [0, 1, 2, 3, 4, 5]}
    ]
    assert sent(speaks, ARRAY.reshape(2, 1, 3))[1]["inputs"][0]["shape"] == [2, 3]
    numbers = FRAME[["count", "age"]].fillna(0)
    assert sent(described(("x", "FP32", [-1, 2])), numbers)[1]["inputs"][0]["data"] == [1, 1.5, 2, 0]
    by_name = described(("count", "INT32", [-1]), ("age", "FP32", [-1, 1]))
    assert [(each["name"], each["shape"]) for each in sent(by_name, numbers)[1]["inputs"]] == [
        ("count", [2]),
        ("age", [2, 1]),
    ]
    fixed = described(("x", "FP32", [4, 3]))
    assert fixed.most_rows == 4
    assert sent(fixed, ARRAY)[1]["inputs"][0]["data"] == [0, 1, 2, 3, 4, 5, 3, 4, 5, 3, 4, 5]
    answer = {"outputs": [{"name": "y", "shape": [4], "datatype": "INT64", "data": [1, 0, 0, 0]}]}
    assert fixed.values(answer, 2, scores=False) == [[1], [0]]


@pytest.mark.parametrize(
    ("inputs", "rows", "line"),
    [
        ([("x", "FP32", [-1, 4])], ARRAY, r"target takes rows of shape \[4\] as 'x', the data have \[3\]"),
        ([("x", "FP32", [-1, 2, 2, 3])], np.zeros((1, 3, 2, 2)), r"target takes rows of shape \[2, 2, 3\]"),
        ([("x", "INT64", [-1, 3])], ARRAY + 0.5, "target takes 'x' as INT64, the data have fractions"),
        ([("x", "FP32", [-1, 4])], FRAME, "target takes one input of type FP32, and columns hold text: 'job'"),
        ([("a", "FP32", [-1]), ("age", "FP32", [-1])], FRAME[["age", "count"]], "only the target has a, only the data"),
    ],
)
def test_v2_refuses_rows_that_the_model_does_not_take(inputs, rows, line):
    with pytest.raises(InvalidInput, match=line):
        described(*inputs).request(rows)


def test_tensorflow_sends_rows_or_columns():
    path, body = sent(TensorFlowServing.at("/v1/models/m:predict"), ARRAY)
    assert (path, body) == ("/v1/models/m:predict", {"instances": [[0, 1, 2], [3, 4, 5]]})
    _, body = sent(TensorFlowServing.at("/v1/models/m"), FRAME[["age", "job"]])
    assert body == {"instances": [{"age": [1.5], "job": ["x"]}, {"age": [None], "job": [None]}]}
    _, body = sent(TensorFlowServing.at("/v1/models/m", by_columns=True), FRAME[["count"]])
    assert body == {"inputs": {"count": [[1], [2]]}}
    dims = {"dtype": "DT_INT64", "tensor_shape": {"dim": [{"size": "-1", "name": ""}]}}
    metadata = {"metadata": {"signature_def": {"signature_def": {"serving_default": {"inputs": {"count": dims}}}}}}
    states = {"model_version_status": [{"version": "7", "state": "AVAILABLE"}, {"version": "6", "state": "END"}]}
    speaks = TensorFlowServing.at("/v1/models/m").met(lambda p: metadata if p.endswith("/metadata") else states)
    assert (speaks.version, sent(speaks, FRAME[["count"]])[1]) == ("7", {"instances": [{"count": 1}, {"count": 2}]})


def test_mlflow_sends_frames_as_dataframe_split_and_arrays_as_instances():
    path, body = sent(MLflow.at("/"), FRAME[["age", "job"]])
    assert path == "/invocations"
    assert body == {"dataframe_split": {"columns": ["age", "job"], "data": [[1.5, "x"], [None, None]]}}
    assert sent(MLflow.at("/x/invocations"), ARRAY) == ("/x/invocations", {"instances": [[0, 1, 2], [3, 4, 5]]})


def test_infinity_is_refused_and_floats_keep_every_bit():
    with pytest.raises(InvalidInput, match="finite numbers, got infinity in column 'age'"):
        MLflow.at("/").request(pd.DataFrame({"age": [np.inf]}))
    values = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    again = np.array(sent(MLflow.at("/"), values)[1]["instances"], dtype=np.float32)
    np.testing.assert_array_equal(again, values)


# --- What is answered. ---

V2, TF, ML = OpenInference.at("/v2/models/m"), TensorFlowServing.at("/v1/models/m"), MLflow.at("/")


def out(shape, data, name="y"):
    return {"name": name, "shape": shape, "datatype": "X", "data": data}


@pytest.mark.parametrize(
    ("speaks", "payload", "labels"),
    [
        (V2, {"outputs": [out([2], [1, 0])]}, [1, 0]),
        (V2, {"outputs": [out([2, 1], ["b", "a"])]}, ["b", "a"]),
        (V2, {"outputs": [out([2, 3], [0, 0.9, 0.1, 5, 1, 1])]}, [1, 0]),
        (V2, {"outputs": [out([2, 3], [[0, 0.9, 0.1], [5, 1, 1]])]}, [1, 0]),
        (V2, {"outputs": [out([2, 2], [1, 0, 0, 1], "probabilities"), out([2], [1, 1], "label")]}, [1, 1]),
        (TF, {"predictions": [[0.2, 0.8], [0.6, 0.4]]}, [1, 0]),
        (TF, {"predictions": [[0.7], [0.2]]}, [1, 0]),  # A sigmoid.
        (TF, {"predictions": [{"classes": "b", "scores": [0, 1]}, {"classes": "a", "scores": [1, 0]}]}, ["b", "a"]),
        (TF, {"outputs": {"label": ["b", "a"]}}, ["b", "a"]),
        (ML, {"predictions": [1, 0]}, [1, 0]),
        (ML, {"predictions": [1.0, 0.0]}, [1, 0]),
        (ML, {"predictions": [True, False]}, [True, False]),
        (ML, [1, 0], [1, 0]),
        (ML, {"predictions": [{"0": "b"}, {"0": "a"}]}, ["b", "a"]),
    ],
)
def test_answers_are_one_label_for_each_row(speaks, payload, labels):
    read = Reading().read(speaks.values(payload, 2, scores=False), 2)
    assert read.tolist() == labels


@pytest.mark.parametrize(
    ("speaks", "payload", "line"),
    [
        (V2, {"outputs": [out([3], [1, 0, 1])]}, "answered with 3 values of shape"),
        (V2, {"outputs": [out([2, 2], [1, 0, 1])]}, "answered with 3 values of shape"),
        (V2, {"outputs": [out([2], [1, 0], "a"), out([2], [1, 0], "b")]}, "outputs 'a', 'b', none of which"),
        (V2, {"predictions": [1, 0]}, "without outputs"),
        (TF, {"error": "x"}, "without predictions"),
        (ML, {"predictions": [1]}, "answered 1 times to 2 rows"),
        (ML, {"predictions": [1, "a"]}, "numbers and text"),
        (ML, {"predictions": [None, None]}, "answered None for 2 of 2 rows"),
        (ML, {"predictions": [1, 3]}, "answered 3 for 1 of 2 rows, labels are 0, 1: --label-map 3=LABEL"),
        (ML, {"predictions": [1, -1]}, "answered -1 for 1 of 2 rows"),
        (ML, {"predictions": [1, 1.5]}, "the number 1.5, which is no label"),
        (ML, {"predictions": [[0.5, 0.5], [0.5]]}, "lists and numbers in one answer"),
        (ML, {"predictions": [[0.5, 0.5], [0.5, 0, 0.5]]}, "do not hold equally many numbers"),
        (ML, {"predictions": [[0.5], [[0.5]]]}, None),
        (ML, {"predictions": [True, False]}, "answered True"),
    ],
)
def test_what_is_no_label_of_the_data_is_wrong(speaks, payload, line):
    reading = Reading(labels=(0, 1), numbered=True)
    if line is None:
        assert reading.read(speaks.values(payload, 2, scores=False), 2).tolist() == [0, 0]
        return
    with pytest.raises(WrongAnswer, match=re.escape(line)):
        reading.read(speaks.values(payload, 2, scores=False), 2)


@pytest.mark.parametrize(
    ("labels", "pairs", "answers", "meanings"),
    [
        ((1, 2, 3), ["0=1", "1=2", "2=3"], [2, 0, 1], [3, 1, 2]),
        ((1, 2, 3), ["0=1", "1=2", "2=3"], ["2", "0", "1"], [3, 1, 2]),
        ((0, 1), ["0=1", "1=0"], [1, 0], [0, 1]),
        (("no", "yes"), ["no=yes", "yes=no"], ["yes", "no"], ["no", "yes"]),
        ((1, 2, 3), ["0=1", "1=2", "2=3"], [{"0": 0.1, "1": 0.7, "2": 0.2}], [2]),
        ((0, 1), ["0=1", "1=0"], [{"0": 0.9, "1": 0.1}], [1]),
    ],
)
def test_a_map_that_renames_labels_is_applied_once_to_labels_and_names_of_scores(labels, pairs, answers, meanings):
    reading = Reading(labels=labels, meant=dict(ClassNames(labels).mapped(pairs).answers))
    assert reading.read(answers, len(answers)).tolist() == meanings


def test_a_map_that_renames_labels_leaves_no_other_answer():
    reading = Reading(labels=(1, 2, 3), meant=dict(ClassNames((1, 2, 3)).mapped(["0=1", "1=2", "2=3"]).answers))
    with pytest.raises(WrongAnswer, match="answered 3 for 1 of 2 rows"):
        reading.read([3, 0], 2)


def test_names_are_read_by_name_and_scores_by_place_or_by_name():
    names = ClassNames(("no", "yes"))
    reading = Reading(labels=names.labels, meant=dict(names.mapped(["1=yes", "0=no"]).answers))
    assert reading.read([1, 0], 2).tolist() == ["yes", "no"]
    assert reading.read(["yes", "0"], 2).tolist() == ["yes", "no"]
    assert reading.read([[0.2, 0.8]], 1).tolist() == ["yes"]
    assert reading.read([{"yes": 0.1, "no": 0.9}], 1).tolist() == ["no"]
    assert reading.read([[{"label": "yes", "score": 0.6}]], 1).tolist() == ["yes"]
    assert Reading(labels=(1, 2)).read(["2", "1"], 2).tolist() == [2, 1]  # Text of numbers.
    with pytest.raises(WrongAnswer, match="two scores of one label, 'yes'"):
        reading.read([{"yes": 0.1, "1": 0.2, "no": 0.7}], 1)
    with pytest.raises(WrongAnswer, match="labels are 'no', 'yes'"):
        reading.read(["maybe"], 1)
    with pytest.raises(WrongAnswer, match="scores of 'maybe'"):
        reading.read([{"maybe": 1.0}], 1)


def test_scores_are_given_only_where_they_are_wanted():
    logits = np.array([[2.0, 0.0, -1.0], [0.0, 3.0, 0.0]])
    chances = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    for told in (logits, chances, np.log(chances)):
        assert Reading().read(told.tolist(), 2).tolist() == [0, 1]
        scores = Reading(use_scores=True).read(told.tolist(), 2)
        np.testing.assert_allclose(scores, np.log(chances), atol=1e-12)
    with pytest.raises(WrongAnswer, match="--use-scores needs scores"):
        Reading(use_scores=True).read([1, 0], 2)
    reading = Reading(use_scores=True)
    reading.read([[0.5, 0.5]], 1)
    with pytest.raises(WrongAnswer, match="do not sum to 1"):
        reading.read([[0.5, 0.7]], 1)
    with pytest.raises(WrongAnswer, match="3 scores for each row, 2 before"):
        reading.read([[0.2, 0.3, 0.5]], 1)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["label", "score", "a", "0"]), inner),
    max_leaves=8,
)
PAYLOADS = VALUES | st.fixed_dictionaries(
    {},
    optional={
        "predictions": VALUES,
        "outputs": VALUES
        | st.lists(st.fixed_dictionaries({"name": VALUES, "shape": VALUES, "data": VALUES}), max_size=2),
        "results": VALUES,
    },
)


@settings(max_examples=150, derandomize=True, deadline=None, database=None)
@given(payload=PAYLOADS, names=st.sampled_from([None, (0, 1), ("a", "b")]), scores=st.booleans())
def test_no_answer_is_more_than_wrong(payload, names, scores):
    for speaks in (
        V2,
        TF,
        ML,
        read_template(EXAMPLES / "table.yaml", "/"),
        read_template(EXAMPLES / "texts.yaml", "/"),
    ):
        reading = Reading(labels=names, numbered=names == (0, 1), use_scores=scores)
        with contextlib.suppress(WrongAnswer, OverflowError):
            read = reading.read(speaks.values(payload, 2, scores=scores), 2)
            assert len(read) == 2
            if scores:
                assert (read <= 0).all()
            elif names is not None:
                assert set(read.tolist()) <= {*names, *range(2, 9 * (names == (0, 1)))}


# --- Templates. ---


def test_the_worked_templates_say_what_their_comments_say(serve):
    texts = read_template(EXAMPLES / "texts.yaml", "/models/sms")
    assert sent(texts, ["a text", "another"]) == (
        "/models/sms",
        {"inputs": ["a text", "another"], "parameters": {"top_k": 1}},
    )
    answer = [[{"label": "spam", "score": 0.98}], [{"label": "ham", "score": 0.71}]]
    assert texts.values(answer, 2, scores=False) == ["spam", "ham"]
    table = read_template(EXAMPLES / "table.yaml", "/score")
    rows = pd.DataFrame({"age": [39, 50], "job": ["clerk", None]})
    assert sent(table, rows)[1] == {"rows": [{"age": 39, "job": "clerk"}, {"age": 50, "job": None}], "threshold": 0.5}
    assert table.values({"results": [{"label": ">50K"}, {"label": "<=50K"}]}, 2, scores=False) == [">50K", "<=50K"]
    assert table.problem({"fault": {"text": "unknown column"}}) == "unknown column"
    pixels = np.random.default_rng(0).integers(0, 256, (1, 5, 4, 3), dtype=np.uint8)
    server = serve(lambda rows: [int(np.array_equal(rows, pixels))])  # A PNG keeps every pixel.
    images = endpoint_of(f"{server.address}/classify", protocol=str(EXAMPLES / "images.yaml"))
    assert images.attempt(pixels, timeout=5).labels.tolist() == [1]
    assert (images.most_rows, json.loads(server.bodies[0])["image"]["encoding"]) == (1, "base64")


@pytest.mark.parametrize(
    ("written", "line"),
    [
        ({"body": "$rows"}, "answer must say where label or scores stand"),
        ({"answer": {"label": "x"}, "body": {"a": 1}}, "body must say where $rows or $row stands"),
        ({"answer": {"label": "x"}, "body": "$row"}, "most_rows must be 1 where body holds $row, got None"),
        ({"answer": {"label": "x"}, "row": "$pixels"}, "row must hold $image"),
        ({"answer": {"lable": "x"}}, "answer 'lable' is unknown: did you mean 'label'?"),
        ({"answer": {"label": "x"}, "headers": {"Authorization": "Bearer x"}}, "headers must hold no secret"),
        ({"answer": {"label": "x"}, "path": "//evil.example"}, "path must be what follows the address"),
        ({"answer": {"label": "x"}, "method": "DELETE"}, "method must be POST, PUT, PATCH"),
        ({"answer": {"label": "x"}, "image": {"quality": 0}}, "image.quality must be at least 1"),
        ({"answer": "x"}, "answer must map names to values"),
        ({"answr": {}}, "setting 'answr' is unknown: did you mean 'answer'?"),
    ],
)
def test_a_wrong_template_is_one_line(written, line, tmp_path):
    file = tmp_path / "t.yaml"
    file.write_text(yaml.safe_dump(written))
    with pytest.raises(InvalidInput, match=re.escape(f"protocol t.yaml: {line}")):
        endpoint_of("https://host/x", protocol=str(file))


def test_paths_lead_to_every_item_or_to_nothing():
    value = {"a": [{"b": 1}, {"b": 2}]}
    assert (at(value, "a.*.b"), at(value, "a.1.b"), at(value, "a.-1.b")) == ([1, 2], 2, 2)
    assert at(value, "a.*.c") is at(value, "a.2.b") is at(value, "b") is at(value, "a.b") is None
    assert picture(np.zeros((3, 4, 5))).size == (5, 4)
    with pytest.raises(InvalidInput, match="floats from 0 to 1, got 0 to 2"):
        picture(np.full((3, 4, 5), [0, 0, 0, 0, 2.0]))


# --- What becomes of a request. ---


def by_sum(rows):
    return (np.asarray(rows, dtype=float).sum(1) > 0).astype(int)


def asked(server, *, rows=ARRAY, timeout=5.0):
    return endpoint_of(f"{server.address}/v1/models/m").attempt(rows, timeout=timeout)


@pytest.mark.parametrize(
    ("fault", "fate", "reason", "wait"),
    [
        (None, Fate.ANSWERED, "", None),
        (503, Fate.REFUSED, "503 (as told)", None),
        ((429, {"Retry-After": "7"}), Fate.REFUSED, "429 (as told)", 7.0),
        (502, Fate.UNKNOWN, "502 (as told)", None),
        (500, Fate.UNKNOWN, "500 (as told)", None),
        (504, Fate.UNKNOWN, "504 (as told)", None),
        ("cut", Fate.UNKNOWN, "the connection broke", None),
        ("short", Fate.UNKNOWN, "the connection broke", None),
        ("slow", Fate.UNKNOWN, "no answer within 0.3 s", None),
        ("drip", Fate.UNKNOWN, "no answer within 0.3 s", None),
        ("html", Fate.WRONG, "target answered with a page of HTML", None),
        ("huge", Fate.WRONG, "target answered with more than 2,000 bytes", None),
        ({"predictions": [1]}, Fate.WRONG, "target answered 1 times to 2 rows", None),
        ({"predictions": [1, 9]}, Fate.WRONG, "target answered 9 for 1 of 2 rows, labels are 0, 1", None),
        (413, Fate.TOO_LARGE, "413", None),
        (422, Fate.TOO_LARGE, "422", None),
        (404, Fate.DENIED, "the target answered 404 (as told)", None),
        (403, Fate.DENIED, "403: a request without a token was not accepted", None),
        ((307, {"Location": "http://[::1"}), Fate.UNKNOWN, "the connection broke", None),
        ((302, {"Location": "/login"}), Fate.DENIED, "302: the target redirects to http://127.0.0.1/login", None),
        (
            (307, {"Location": "http://evil.example/"}),
            Fate.DENIED,
            "307: the target redirects to http://evil.exa",
            None,
        ),
    ],
)
def test_each_fault_has_its_fate(serve, monkeypatch, fault, fate, reason, wait):
    monkeypatch.setattr(clients, "MOST_BYTES", 2_000)
    server = serve(by_sum)
    server.faults = [fault]
    endpoint = endpoint_of(f"{server.address}/v1/models/m")
    endpoint.expect(None, 2)
    outcome = endpoint.attempt(ARRAY, timeout=0.3 if fault in ("slow", "drip") else 5.0)
    assert (outcome.fate, outcome.wait) == (fate, wait)
    assert outcome.reason.startswith(reason)
    assert (outcome.labels is None) == (fate != Fate.ANSWERED)
    assert len(server.rows) == 1  # One request.


def test_a_server_that_is_not_there_never_had_the_rows(serve):
    server = serve(by_sum)
    server.close()
    outcome = asked(server)
    assert outcome.fate == Fate.REFUSED
    assert outcome.reason.startswith("no connection")
    endpoint = endpoint_of(f"{server.address}/v1/models/m")
    endpoint._sleep = lambda seconds: None
    with pytest.raises(InvalidInput, match="target cannot be reached: no connection"):
        endpoint.meet()


def test_another_path_of_the_same_server_is_followed(serve):
    server = serve(by_sum)
    server.faults = [(307, {"Location": "/v1/models/other:predict"})]
    endpoint = endpoint_of(f"{server.address}/v1/models/m")
    assert (endpoint.attempt(ARRAY, timeout=5).fate, endpoint.attempt(ARRAY, timeout=5).fate) == (
        Fate.REFUSED,
        Fate.ANSWERED,
    )


def test_retry_after_holds_seconds_or_a_date():
    assert (wait_of("120"), wait_of(" 1.5 "), wait_of(None), wait_of("soon"), wait_of("-3")) == (
        120,
        1.5,
        None,
        None,
        None,
    )
    assert wait_of("Wed, 21 Oct 2026 07:28:00 GMT", now=lambda: 1792567680 - 90.0) == pytest.approx(90, abs=1)
    assert wait_of("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    assert wait_of("999999999") == clients.LONGEST_WAIT
    assert wait_of(http_date(30)) == pytest.approx(30, abs=2)


def test_rates_have_a_unit():
    assert (rate_of("20/s"), rate_of("600/min"), rate_of("3600/h"), rate_of("0.5/s")) == (20, 10, 1, 0.5)
    for text in ("20", "0/s", "x/s", "20/day", "-1/s"):
        with pytest.raises(InvalidInput, match="rate must be requests per time"):
            rate_of(text)


def test_the_rate_holds_for_all_threads_together():
    now, lock = [0.0], threading.Lock()
    waits = []
    pace = Pace(rate=10.0, clock=lambda: now[0], sleep=waits.append)
    threads = [threading.Thread(target=pace.wait) for _ in range(5)]
    with lock:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(waits) == pytest.approx([0.1, 0.2, 0.3, 0.4])


def test_sizes_settle_by_what_the_server_can_take():
    pace = Pace()
    for _ in range(4):
        pace.answered(pace.rows, 0.01, 1000)
    assert pace.rows == FIRST_ROWS * 16
    assert pace.too_large(256) == 128
    for _ in range(9):
        pace.answered(pace.rows, 0.01, 1000)
    assert (pace.rows, pace.at_once) == (128, 6)
    pace.busy()
    assert pace.at_once == 3
    pace.answered(128, LONG + 1, 1000)
    assert pace.rows == 64
    assert Pace(most_rows=1).rows == 1
    assert (Pace(rate=1 / 60).at_once, Pace(rate=1.0).at_once, Pace(rate=20.0).at_once) == (1, 2, 4)


def test_many_threads_share_an_endpoint(serve):
    server = serve(by_sum)
    endpoint = endpoint_of(f"{server.address}/v1/models/m")
    rows = np.random.default_rng(0).normal(size=(40, 3))
    answers = {}

    def ask(place):
        answers[place] = endpoint.attempt(rows[place : place + 1], timeout=5).labels.tolist()

    threads = [threading.Thread(target=ask, args=(place,)) for place in range(len(rows))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [answers[place] for place in range(len(rows))] == [[label] for label in by_sum(rows).tolist()]


# --- Tokens and addresses. ---


@pytest.mark.parametrize(
    ("address", "line"),
    [
        ("https://user:pass@host/v2/models/m", "target must hold no user and password"),
        ("https://host/v2/models/m?api_key=abc", "target must hold no token in its address, 'api_key'"),
        ("https:///v2", "target must be an address"),
        ("https://host:99999/", "target must be an address"),
        ("https://host/a b", "target must be an address"),
        ("https://host/score", "protocol must be v2, tensorflow, tensorflow-inputs, mlflow or FILE.yaml"),
        ("https://host/v2/models/m/infer", None),
    ],
)
def test_addresses_hold_no_secret(address, line):
    if line is None:
        assert endpoint_of(address).identity == "https://host/v2/models/m/infer (v2)"
        return
    with pytest.raises(InvalidInput, match=line) as error:
        endpoint_of(address)
    assert not re.search("abc|pass@", str(error.value))
    assert str(Address.of("https://Host:8443/v2/models/m?v=3")) == "https://host:8443/v2/models/m?v=3"


@pytest.mark.parametrize(
    "text", [f"Authorization: Bearer {TOKEN}", f"Authorization={TOKEN}", "=X", "A=", f"Host={TOKEN}"]
)
def test_a_token_given_in_place_of_its_variable_is_not_repeated(text):
    with pytest.raises(InvalidInput, match="header_env") as error:
        Tokens.read(header_pairs([text.replace("-token-", "_token_") if text.startswith("Auth") else text]))
    assert "planted" not in str(error.value)


def test_tokens_are_sent_in_headers_and_shown_nowhere(serve, monkeypatch):
    monkeypatch.setenv("TOKEN", TOKEN)
    monkeypatch.setenv("KEY", "another-secret")
    tokens = Tokens.read(header_pairs(["Authorization=TOKEN", "X-Key=KEY"]))
    server = serve(by_sum, token=f"Bearer {TOKEN}")
    endpoint = endpoint_of(f"{server.address}/v1/models/m", tokens=tokens)
    assert endpoint.attempt(ARRAY, timeout=5).fate == Fate.ANSWERED
    assert (server.headers[-1]["Authorization"], server.headers[-1]["X-Key"]) == (f"Bearer {TOKEN}", "another-secret")
    shown = f"{tokens!r} {vars(endpoint)!r} {endpoint.identity} {endpoint._client!r}"
    assert TOKEN not in shown
    assert "another-secret" not in shown
    for thing in (tokens, endpoint):
        with pytest.raises(TypeError, match="never pickled"):
            pickle.dumps(thing)
    server.echo, server.faults = True, [500]  # The server repeats the headers in its error.
    reason = endpoint.attempt(ARRAY, timeout=5).reason
    assert TOKEN not in reason
    assert reason == "500 (as told [TOKEN])"
    server.faults = [b"x" * (clients.LONGEST_PROBLEM - 8) + TOKEN.encode()]  # Where the text is cut off.
    assert TOKEN[:6] not in endpoint.attempt(ARRAY, timeout=5).reason
    server.token = "Bearer other"
    assert endpoint.attempt(ARRAY, timeout=5).reason == "401: the tokens in TOKEN and KEY were not accepted"
    monkeypatch.setenv("TOKEN", "two\nlines")
    with pytest.raises(InvalidInput, match="must be one line of ASCII") as error:
        Tokens.read(header_pairs(["Authorization=TOKEN"]))
    assert "lines" not in str(error.value)
    remote = endpoint_of("http://example.org/v1/models/m", tokens=tokens)
    assert remote.warning == "http://example.org gets the tokens in TOKEN and KEY unencrypted: use https"


def test_a_certificate_must_be_trusted_and_be_the_hosts(serve):
    ca = Path(__file__).parent / "fixtures" / "loopback.pem"
    server = serve(by_sum, certificate=ca)
    outcomes = [
        endpoint_of(f"{server.scheme}://{host}:{server.port}/v1/models/m", ca=trusted).attempt(ARRAY, timeout=5)
        for host, trusted in (("127.0.0.1", ca), ("127.0.0.1", None), ("localhost", ca))
    ]
    assert [outcome.fate for outcome in outcomes] == [Fate.ANSWERED, Fate.DENIED, Fate.DENIED]
    for outcome in outcomes[1:]:
        assert outcome.reason.startswith("the certificate is not trusted (")
        assert outcome.reason.endswith("--ca FILE names who signed it")
    assert len(server.rows) == 1


def test_connections_are_used_again(serve):
    server = serve(by_sum)
    endpoint = endpoint_of(f"{server.address}/v1/models/m")
    for _ in range(10):
        assert endpoint.attempt(ARRAY, timeout=5).fate == Fate.ANSWERED
    assert (len(server.rows), server.opened) == (10, 1)


@pytest.mark.parametrize("speaks", [V2, TF, ML], ids=lambda speaks: speaks.name)
def test_a_prepared_request_is_the_request(serve, speaks):
    server = serve(by_sum)
    endpoint = endpoint_of(f"{server.address}{speaks.path}", protocol=speaks.name)
    outcomes = [endpoint.attempt(rows, timeout=5) for rows in (ARRAY, endpoint.prepare(ARRAY))]
    assert outcomes[0].labels.tolist() == outcomes[1].labels.tolist() == [1, 1]
    assert server.bodies[0] == server.bodies[1]
    assert endpoint.attempt(endpoint.prepare(np.array([[np.inf]])), timeout=5).fate == Fate.DENIED


def test_a_body_is_the_same_with_and_without_orjson(monkeypatch):
    value = {"texts": ["ö", "\u2028", "\ud800", 'a"b'], "numbers": [0.1, 1e-300, 1e22, -0.0, 2**53, None, True]}
    plain = {"texts": value["texts"][:2], "numbers": value["numbers"]}
    bodies = [as_json(value), as_json(plain)]  # A half of a pair is no UTF-8: it takes the other way.
    monkeypatch.setitem(sys.modules, "orjson", None)
    again = [as_json(value), as_json(plain)]
    assert bodies[0] == again[0]
    assert json.loads(bodies[1]) == json.loads(again[1]) == plain


def test_certificates_are_checked(tmp_path):
    file = tmp_path / "ca.pem"
    file.write_text("no certificate")
    with pytest.raises(InvalidInput, match="ca must be a file of certificates in PEM, ca"):
        endpoint_of("https://host/v2/models/m", ca=file)
    endpoint = endpoint_of("https://host/v2/models/m")
    context = endpoint._client._transport._pool._ssl_context
    assert (context.check_hostname, context.verify_mode.name) == (True, "CERT_REQUIRED")


# --- Settings. ---

FILES = {"members": Path("m.csv"), "nonmembers": Path("n.csv")}


@pytest.mark.parametrize(
    ("given_settings", "line"),
    [
        ({"target": "m.onnx", "protocol": "v2"}, "protocol must be left out, since target is no address"),
        ({"target": "m.onnx", "votes": 3}, "votes must be left at 1, since target is no address"),
        ({"target": "m.onnx", "ledger": True, "votes": 3}, None),
        ({"target": "m.onnx", "ledger": True, "rate": "1/s"}, "rate must be left out"),
        ({"target": "ftp://host/m"}, "target must be an address of http or https, got 'ftp'"),
        ({"target": "https://u:p@host/m"}, "target must hold no user and password"),
        ({"target": "https://host/m", "header_env": [f"A={TOKEN}"]}, "header_env must be NAME=VARIABLE"),
        ({"target": "https://host/m", "rate": "fast"}, "rate must be requests per time"),
        ({"target": "https://host/m", "budget": 2, "votes": 3}, "votes must be at most the budget of 2 rows"),
        ({"target": "https://host/m", "timeout": 0}, "timeout must be above 0"),
        ({"target": "https://host/m", "price_per_1000": 1.5, "max_rows": 10, "header_env": ["A=B"]}, None),
    ],
)
def test_settings_of_addresses_are_checked_before_anything_is_asked(given_settings, line):
    if line is None:
        TargetSettings(**given_settings, **FILES)
        return
    with pytest.raises(InvalidInput, match=re.escape(line)) as error:
        TargetSettings(**given_settings, **FILES)
    assert TOKEN not in str(error.value)


# --- A whole audit over HTTP. ---


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    """A table in two files, a pipeline that was trained on the first, and what it says about a frame."""
    folder = tmp_path_factory.mktemp("task")
    rng = np.random.default_rng(3)
    frame = pd.DataFrame({"age": rng.normal(size=80).round(3), "town": rng.choice(["Oslo", "Rome", "Bern"], 80)})
    frame["buys"] = np.where(rng.random(80) < 0.5, "yes", "no")
    members, others = frame[:40], frame[40:]
    members.to_csv(folder / "m.csv", index=False)
    others.to_csv(folder / "n.csv", index=False)
    encoder = ColumnTransformer([("towns", OneHotEncoder(), ["town"])], remainder="passthrough")
    model = make_pipeline(encoder, DecisionTreeClassifier(random_state=0)).fit(
        members[["age", "town"]], members["buys"]
    )
    joblib.dump(model, folder / "m.joblib")
    return folder, model


@pytest.fixture
def audit(task, tmp_path, monkeypatch, capsys):
    """Audits a target by the command line; returns the exit code, and what was said."""
    folder, _ = task
    monkeypatch.setenv("HARDLABEL_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("TOKEN", TOKEN)
    monkeypatch.setattr(paid, "PATIENCE", QUICK)
    monkeypatch.setattr(clients, "BETWEEN", (0.0,))
    monkeypatch.chdir(tmp_path)

    def run(target, *options, out="run", command="audit"):
        files = [
            "--members",
            folder / "m.csv",
            "--nonmembers",
            folder / "n.csv",
            "--label",
            "buys",
            "--trainer",
            "none",
        ]
        words = [*files, "--attacks", "gap", "--target", target, "--out", tmp_path / out]
        return called(*([command, *words] if command == "audit" else [command]), *options,
                      monkeypatch=monkeypatch, capsys=capsys)  # fmt: skip

    return run


def figures(folder):
    """The attacks' figures, and the scores of every sample."""
    results = json.loads((folder / "results.json").read_text())
    told = [(each["name"], each["auc"], each["queries_per_sample"], each["classes"]) for each in results["attacks"]]
    return told, pd.read_parquet(folder / "scores.parquet"), results


TOKENS = ("--header-env", "Authorization=TOKEN")


SMALL = ("--budget", "8", "--samples", "20")
SPARED = (503, (429, {"Retry-After": "0"}))  # No row is spent.
SPENT = ("html", "cut", "short", {"predictions": []}, {"predictions": ["?"]}, 502, 500)


@pytest.mark.parametrize(
    ("path", "scores", "faults", "attacks"),
    [
        ("/v2/models/m", False, SPARED, "gap,noise"),
        ("/v1/models/m:predict", True, (), "gap"),
        ("/invocations", False, (*SPARED, *SPENT), "gap"),
        ("/score", False, SPARED, "gap"),  # The worked template of a table.
    ],
)
def test_an_audit_over_http_equals_the_local_one_and_faults_do_not_show(
    local, task, audit, serve, tmp_path, path, scores, faults, attacks
):
    _, model = task
    server = serve(model.predict_proba if scores else model.predict, token=f"Bearer {TOKEN}", most=12)
    rng = np.random.default_rng(5)
    if faults:
        drawn = [faults[rng.integers(len(faults))] if rng.random() < 0.2 else None for _ in range(500)]
        server.faults = [None, *faults, *drawn]
    protocol = ("--protocol", EXAMPLES / "table.yaml") if path == "/score" else ()
    code, _, errors = audit(server.address + path, *SMALL, "--attacks", attacks, *TOKENS, *protocol)
    assert code == 0, errors
    ours, table, results = figures(tmp_path / "run")
    attacks = attacks.split(",")
    assert ours == [each for each in local[0] if each[0] in attacks]
    pd.testing.assert_frame_equal(table, local[1][local[1]["attack"].isin(attacks)].reset_index(drop=True))
    counts = read_counts(tmp_path / "run" / LEDGER)
    assert sum(count.sent for count in counts) == sum(server.rows)
    assert f"The target was sent {sum(server.rows):,} rows" in " ".join(results["notes"])
    assert "413 at" in errors


@pytest.fixture(scope="module")
def local(task, tmp_path_factory):
    """The figures of the same audit by file."""
    folder, out = task[0], tmp_path_factory.mktemp("local")
    values = {"target": str(folder / "m.joblib"), "trust_pickle": True, "label": "buys", "trainer": "none"}
    values |= {"members": folder / "m.csv", "nonmembers": folder / "n.csv", "attacks": ["gap", "noise"], "budget": 8}
    values["samples"] = 20
    run(TargetSettings(**values, out=out / "run"), store=None)
    return figures(out / "run")


def test_the_token_is_in_no_file_no_message_and_no_process(task, audit, serve, tmp_path):
    _, model = task
    server = serve(model.predict, token=f"Bearer {TOKEN}", echo=True)
    server.faults = [None] * 2 + [500, "cut", 500] + [None] * 10 + [500] * 2
    processes = set()

    def answer(rows):
        processes.update(path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists())
        return model.predict(rows)

    server.answer = answer
    code, out, errors = audit(f"{server.address}/invocations", *TOKENS, "--max-rows", "5000")
    assert code == 0, errors
    server.token = "Bearer another"
    denied = audit(f"{server.address}/invocations", *TOKENS, out="denied")
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"config.yaml", "results.json", "report.html", LEDGER} <= {path.name for path in written}
    for path in written:
        assert TOKEN.encode() not in path.read_bytes(), path
    assert processes
    assert not any(TOKEN.encode() in words for words in processes)
    assert TOKEN not in out + errors + "".join(map(str, denied))
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert config["target"]["header_env"] == ["Authorization=TOKEN"]
    assert config["target"]["file"] == f"{server.address}/invocations"


def test_a_token_that_is_not_accepted_stops_at_once(task, audit, serve, monkeypatch):
    _, model = task
    server = serve(model.predict, token="Bearer other")
    code, _, errors = audit(f"{server.address}/invocations", *TOKENS, "--quiet")
    assert (code, len(server.bodies)) == (1, 1)
    assert errors.startswith("hardlabel: 401: the token in TOKEN was not accepted")
    assert len(errors.strip().splitlines()) == 1
    code, _, errors = audit(f"{server.address}/v2/models/m", *TOKENS, "--quiet", out="second")
    assert (code, errors) == (2, "hardlabel: target: 401: the token in TOKEN was not accepted\n")
    monkeypatch.delenv("TOKEN")
    code, _, errors = audit(f"{server.address}/invocations", *TOKENS, "--quiet", out="third")
    assert code == 2
    assert errors.startswith("hardlabel: header_env must name an environment variable that is set")
    assert len(server.bodies) == 1


def test_labels_that_the_data_do_not_have_are_told_at_once(task, audit, serve):
    _, model = task
    server = serve(lambda rows: [{"yes": "1", "no": "0"}[label] for label in model.predict(rows)])
    code, _, errors = audit(f"{server.address}/invocations", "--quiet")
    assert code == 2
    assert "target answered '" in errors
    assert "labels are 'no', 'yes': --label-map" in errors
    assert len(server.rows) <= 4
    mapped = ("--label-map", "1=yes", "--label-map", "0=no")
    assert audit(f"{server.address}/invocations", *mapped, "--quiet", out="mapped")[0] == 0


def test_a_dry_run_asks_one_row_and_tells_what_it_costs(task, audit, serve, tmp_path):
    _, model = task
    server = serve(model.predict)
    options = ("--price-per-1000", "1.5", "--rate", "20/s", "--budget", "20", "--dry-run")
    code, out, errors = audit(f"{server.address}/invocations", *options)
    assert (code, server.rows) == (0, [1]), errors
    told = re.search(
        r"([\d,]+) rows in about ([\d,]+) requests, (\d+ \w+) at the rate, ([\d.]+) at 1.5 for 1,000 rows", out
    )
    rows, requests = (int(text.replace(",", "")) for text in told.groups()[:2])
    assert float(told[4]) == pytest.approx(rows * 1.5 / 1000, abs=0.005)
    assert requests == -(-rows // FIRST_ROWS)
    assert not (tmp_path / "run").exists()
    assert f"at most {rows:,} queries to the target" in out


def test_money_is_spent_only_after_a_yes(task, audit, serve, tmp_path, monkeypatch):
    _, model = task
    server = serve(model.predict)
    target = (f"{server.address}/invocations", "--price-per-1000", "1.5", "--budget", "20")
    code, _, errors = audit(*target)
    assert (code, server.rows) == (2, [])
    assert errors.strip().startswith(
        "hardlabel: price_per_1000 needs a terminal to ask at, or --yes: the run costs at m"
    )
    assert not (tmp_path / "run").exists()
    code, _, errors = audit(*target, "--yes", "--max-rows", "500")
    assert code == 0, errors
    assert sum(server.rows) <= 500


def test_no_more_than_max_rows_are_sent(task, audit, serve, tmp_path):
    _, model = task
    server = serve(model.predict)
    code, _, errors = audit(
        f"{server.address}/invocations", *SMALL, "--attacks", "noise", "--max-rows", "200", "--quiet"
    )
    assert (code, sum(server.rows)) == (1, 200)
    assert len(errors.strip().splitlines()) == 1
    assert audit("ignored", tmp_path / "run", "--quiet", command="resume")[0] == 1
    assert sum(server.rows) == 200
    code, _, errors = audit(
        f"{server.address}/invocations", *SMALL, "--attacks", "noise", "--max-rows", "900", "--quiet"
    )
    assert code == 0, errors  # The same command with a higher limit goes on.


def test_a_run_that_stopped_goes_on_and_pays_for_no_row_twice(local, task, audit, serve, tmp_path):
    _, model = task
    server = serve(model.predict, most=12)
    options = (f"{server.address}/invocations", *SMALL, "--attacks", "gap,noise", "--quiet")
    assert audit(*options, out="whole")[0] == 0
    undisturbed, server.rows = sum(server.rows), []
    server.faults = [None] * 14 + [404]
    server.answer = lambda rows: model.predict(rows)  # The same model.
    code, _, errors = audit(*options, "--name", "another")  # The store has nothing of it.
    assert code == 1, errors
    before = sum(server.rows)
    assert 0 < before < undisturbed
    code, _, errors = audit("ignored", tmp_path / "run", "--quiet", command="resume")
    assert code == 0, errors
    ours, table, _ = figures(tmp_path / "run")
    assert ours == local[0]
    pd.testing.assert_frame_equal(table, local[1])
    counts = read_counts(tmp_path / "run" / LEDGER)
    assert sum(count.sent for count in counts) == sum(server.rows)
    again = 20 + 12 * 16  # Check rows are asked anew, and what was under way at the stop.
    assert sum(server.rows) <= undisturbed + again + sum(count.refused for count in counts)


def dying(server, *, after):
    """The server is killed when it is asked for the time `after`."""
    answer, asked = server.answer, itertools.count(1)

    def answer_or_die(rows):
        if next(asked) == after:
            server.kill()
        return answer(rows)

    server.answer = answer_or_die


@pytest.fixture(scope="module")
def spared(task, tmp_path_factory):
    """The figures by file, of an attack that leaves some of the budget for rows of unknown fate."""
    folder, out = task[0], tmp_path_factory.mktemp("spared")
    values = {"target": str(folder / "m.joblib"), "trust_pickle": True, "label": "buys", "trainer": "none"}
    values |= {"members": folder / "m.csv", "nonmembers": folder / "n.csv", "attacks": ["gap", "noise"]}
    run(TargetSettings(**values, budget=130, samples=20, out=out / "run"), store=None)
    return figures(out / "run")


SAMPLED = ("--samples", "20", "--attacks", "noise")
SPARING = ("--budget", "130", "--samples", "20", "--attacks", "gap,noise")


def test_a_server_that_is_killed_and_started_again_in_mid_audit_changes_no_score(
    spared, task, audit, serve, tmp_path, monkeypatch
):
    _, model = task
    monkeypatch.setattr(paid, "PATIENCE", replace(QUICK, pauses=9))
    server, again = serve(model.predict, most=32), []
    kill = server.kill

    def kill_and_start_again():
        kill()
        threading.Timer(0.3, lambda: again.append(serve(model.predict, most=32, port=server.port))).start()

    server.kill = kill_and_start_again
    dying(server, after=20)
    code, _, errors = audit(f"{server.address}/invocations", *SPARING)
    assert code == 0, errors
    assert "requests failed in a row (no connection" in " ".join(errors.split())
    ours, table, _ = figures(tmp_path / "run")
    assert ours == spared[0]
    pd.testing.assert_frame_equal(table, spared[1])
    counts = read_counts(tmp_path / "run" / LEDGER)
    assert sum(count.unknown for count in counts) > 0
    assert sum(server.rows) + sum(again[0].rows) <= sum(count.sent for count in counts)


def test_a_server_that_stays_dead_ends_the_run_in_one_line_and_resume_goes_on(spared, task, audit, serve, tmp_path):
    _, model = task
    server = serve(model.predict, most=32)
    dying(server, after=20)
    code, _, errors = audit(f"{server.address}/invocations", *SPARING, "--quiet")
    assert (code, len(errors.strip().splitlines())) == (1, 1), errors
    assert re.match(r"hardlabel: the target failed \d+ times in a row, at last with: no connection", errors)
    before = read_counts(tmp_path / "run" / LEDGER)
    again = serve(model.predict, most=32, port=server.port)
    code, _, errors = audit("ignored", tmp_path / "run", "--quiet", command="resume")
    assert code == 0, errors
    ours, table, _ = figures(tmp_path / "run")
    assert ours == spared[0]
    pd.testing.assert_frame_equal(table, spared[1])
    after = read_counts(tmp_path / "run" / LEDGER)
    sent, unknown = (
        sum(getattr(count, name) for count in after) - sum(getattr(count, name) for count in before)
        for name in ("sent", "unknown")
    )
    assert (sent, unknown) == (sum(again.rows), 0)
    # What had an answer is not sent again: of these rows each has one now, and the rest was refused for its size.
    noise = next(count for count in after if count.purpose == "noise")
    assert noise.answered == next(attack[2]["mean"] * 40 for attack in ours if attack[0] == "noise")


def test_a_model_that_is_swapped_in_mid_audit_is_told(task, audit, serve, tmp_path):
    _, model = task
    server = serve(lambda rows: model.predict(rows) if sum(server.rows) < 300 else np.full(len(rows), "yes"), most=12)
    code, _, errors = audit(f"{server.address}/invocations", "--budget", "40", *SAMPLED, "--quiet")
    assert code == 0, errors
    assert json.loads((tmp_path / "run" / "results.json").read_text())["checks"]["changed"]


def test_answers_that_vary_are_measured_and_told(task, audit, serve, tmp_path):
    _, model = task
    rng = np.random.default_rng(0)

    def noisy(rows):
        labels = model.predict(rows)
        return np.where(rng.random(len(labels)) < 0.2, np.where(labels == "yes", "no", "yes"), labels)

    code, _, errors = audit(f"{serve(noisy).address}/invocations", "--attacks", "gap", "--quiet")
    assert code == 0, errors
    checks = json.loads((tmp_path / "run" / "results.json").read_text())["checks"]
    assert checks["noise"] > 0
    assert not checks["changed"]


@pytest.mark.parametrize(("said", "code"), [(True, 0), (False, 1)])
def test_a_user_at_a_terminal_is_asked_before_money_is_spent(task, audit, serve, monkeypatch, said, code):
    _, model = task
    server, questions = serve(model.predict), []

    def confirm(text, **options):
        assert server.rows == []
        questions.append(text)
        if not said:
            raise app.typer.Abort

    monkeypatch.setattr(app.typer, "confirm", confirm)
    for stream in (sys.stdin, sys.stderr):
        monkeypatch.setattr(stream, "isatty", lambda: True, raising=False)
    ended, _, errors = audit(f"{server.address}/invocations", "--price-per-1000", "1.5", *SMALL)
    assert (ended, bool(server.rows)) == (code, said), errors
    assert re.fullmatch(
        r"the run costs at most [\d,]+ rows in about .* at 1\.5 for 1,000 rows\. Spend it\?", questions[0]
    )


def test_a_changed_model_is_refused_on_resume(task, audit, serve, tmp_path):
    _, model = task
    server = serve(model.predict)
    server.faults = [None] * 10 + [404]
    code, _, errors = audit(f"{server.address}/invocations", "--budget", "20", "--attacks", "noise", "--quiet")
    assert (code, len(server.rows)) >= (1, 11), errors
    server.answer = lambda rows: np.where(model.predict(rows) == "yes", "no", "yes")
    code, _, errors = audit("ignored", tmp_path / "run", "--quiet", command="resume")
    assert code == 2
    assert "check rows got other answers: --accept-change goes on all the same" in errors
    code, _, errors = audit("ignored", tmp_path / "run", "--quiet", "--accept-change", command="resume")
    assert code == 0, errors
    assert json.loads((tmp_path / "run" / "results.json").read_text())["checks"]["changed"]


def test_a_new_version_is_refused_on_resume(task, audit, serve, tmp_path):
    _, model = task
    server = serve(model.predict, metadata={"name": "m", "versions": ["1"], "inputs": [], "outputs": []})
    server.faults = [None] * 10 + [404]
    assert audit(f"{server.address}/v2/models/m", "--budget", "20", "--attacks", "noise", "--quiet")[0] == 1
    server.metadata = {"name": "m", "versions": ["2"], "inputs": [], "outputs": []}
    code, _, errors = audit("ignored", tmp_path / "run", "--quiet", command="resume")
    assert code == 2
    assert "version 1), got" in errors
    assert "version 2): --accept-change goes on all the same" in errors


def test_scores_are_used_only_with_use_scores(task, audit, serve, tmp_path):
    folder, model = task
    server = serve(model.predict_proba)
    assert audit(folder / "m.joblib", "--trust-pickle", "--attacks", "gap,loss", out="local")[0] == 0
    target = (f"{server.address}/invocations", "--attacks", "gap,loss", "--quiet")
    assert audit(*target, "--use-scores", out="scores")[0] == 0
    assert figures(tmp_path / "scores")[0] == figures(tmp_path / "local")[0]
    code, _, errors = audit(*target, out="labels")
    assert (code, "the target answers with labels only" in errors) == (2, True), errors


def test_votes_are_paid_and_outvote_noise(task, audit, serve, tmp_path):
    _, model = task
    rng = np.random.default_rng(0)

    def noisy(rows):
        labels = model.predict(rows)
        return np.where(rng.random(len(labels)) < 0.1, np.where(labels == "yes", "no", "yes"), labels)

    server = serve(noisy)
    code, _, errors = audit(f"{server.address}/invocations", "--votes", "9", "--attacks", "gap", "--quiet")
    assert code == 0, errors
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["target"]["train_accuracy"]["value"] > 0.97
    assert "Each question was asked 9 times" in " ".join(results["notes"])
    assert sum(server.rows) % 9 == 0


def test_a_ledger_is_kept_of_a_local_model_too(task, audit, tmp_path):
    folder, _ = task
    assert audit(folder / "m.joblib", "--trust-pickle", out="plain")[0] == 0
    code, _, errors = audit(folder / "m.joblib", "--trust-pickle", "--ledger", out="ledger")
    assert code == 0, errors
    assert figures(tmp_path / "plain")[0] == figures(tmp_path / "ledger")[0]
    assert sum(count.answered for count in read_counts(tmp_path / "ledger" / LEDGER)) > 80
