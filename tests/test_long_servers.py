"""Real model servers on loopback: an audit through each gives the same scores as one of the model's own file.

Each server has an environment of its own, with the versions in tests/servers/*.txt. It is made in the folder that
HARDLABEL_SERVERS names, and used again from there; without it, in a temporary folder.
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import joblib
import numpy as np
import pandas as pd
import pytest
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.tree import DecisionTreeClassifier

from commands import MARK
from hardlabel.oracles.ledger import LEDGER, read_counts

pytestmark = pytest.mark.long

HERE = Path(__file__).parent / "servers"
PATIENCE = 180.0  # Seconds in which a server starts.
ATTACKS = ("gap", "noise")


def environment(name, place):
    """The Python of the server's environment, made if it is missing; its versions are those of the file."""
    wanted = (HERE / f"{name}.txt").read_text()
    folder = Path(os.environ.get("HARDLABEL_SERVERS") or place) / name
    python, done = folder / "bin" / "python", folder / "installed.txt"
    if not done.exists() or done.read_text() != wanted:
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        command = [python, "-m", "pip", "install", "--quiet", "--requirement", HERE / f"{name}.txt"]
        subprocess.run(command, check=True)
        done.write_text(wanted)
    frozen = subprocess.run([python, "-m", "pip", "freeze"], capture_output=True, text=True, check=True).stdout
    assert sorted(frozen.split()) == sorted(line for line in wanted.splitlines() if not line.startswith("#"))
    return python


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    return tmp_path_factory.mktemp("environments")


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    """Members and non-members, a pipeline of a frame with text, and a tree of numbers as ONNX."""
    folder = tmp_path_factory.mktemp("task")
    rng = np.random.default_rng(3)
    frame = pd.DataFrame({"age": rng.normal(size=120).round(3), "size": rng.normal(size=120).round(3)})
    frame["town"] = rng.choice(["Oslo", "Rome", "Bern"], 120)
    frame["buys"] = np.where(rng.random(120) < 0.5, "yes", "no")
    numbers = ["age", "size"]
    for kind, columns in (("table", [*numbers, "town"]), ("numbers", numbers)):
        (folder / kind).mkdir()
        frame[[*columns, "buys"]][:60].to_csv(folder / kind / "m.csv", index=False)
        frame[[*columns, "buys"]][60:].to_csv(folder / kind / "n.csv", index=False)
    encoder = ColumnTransformer([("towns", OneHotEncoder(), ["town"])], remainder="passthrough")
    tree = DecisionTreeClassifier(random_state=0)
    pipeline = make_pipeline(encoder, tree).fit(frame[[*numbers, "town"]][:60], frame["buys"][:60])
    joblib.dump(pipeline, folder / "table" / "model.joblib")
    plain = DecisionTreeClassifier(random_state=0).fit(frame[numbers][:60].to_numpy(np.float32), frame["buys"][:60])
    model = to_onnx(plain, initial_types=[("x", FloatTensorType([None, 2]))], options={"zipmap": False})
    (folder / "numbers" / "model.onnx").write_bytes(model.SerializeToString())
    return folder


def free_ports(count):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


@contextlib.contextmanager
def served(command, ready, folder):
    """A server in a process of its own, until the block ends."""
    log = folder / "server.log"
    environ = {name: text for name, text in os.environ.items() if not name.startswith(("PYTHON", "COV"))}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(word) for word in command],
            cwd=folder,
            stdout=output,
            stderr=output,
            env=environ,
            start_new_session=True,
        )
    try:
        end = time.monotonic() + PATIENCE
        while True:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(ready, timeout=5, trust_env=False).status_code == 200:
                    break
            time.sleep(0.2)
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        process.wait()


def audited(target, folder, out, *options):
    """The attacks' figures and the scores of every sample."""
    words = ["audit", "--target", target, "--members", folder / "m.csv", "--nonmembers", folder / "n.csv"]
    words += ["--label", "buys", "--trainer", "none", "--attacks", ",".join(ATTACKS), "--budget", "30", "--quiet"]
    words += ["--out", out, *options]
    environ = {**os.environ, "HARDLABEL_STORE": f"{out}-store", MARK: out.name}
    environ |= {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    command = [sys.executable, "-m", "hardlabel", *map(str, words)]
    finished = subprocess.run(command, env=environ, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    results = json.loads((out / "results.json").read_text())
    figures = [(each["name"], each["auc"], each["queries_per_sample"]) for each in results["attacks"]]
    return figures, pd.read_parquet(out / "scores.parquet")


def same_as_local(address, model, tmp_path, *options):
    ours, scores = audited(address, model.parent, tmp_path / "http")
    theirs, local = audited(model, model.parent, tmp_path / "local", *options)
    assert [name for name, *_ in ours] == list(ATTACKS)
    assert ours == theirs
    pd.testing.assert_frame_equal(scores, local)
    counts = read_counts(tmp_path / "http" / LEDGER)
    assert sum(count.answered for count in counts) == sum(count.sent for count in counts) > 120 * 20


def mlserver(python, settings, folder):
    """MLServer with one model in its own process, and where it answers."""
    http, grpc, metrics = free_ports(3)
    (folder / "settings.json").write_text(
        json.dumps(
            {"host": "127.0.0.1", "http_port": http, "grpc_port": grpc, "metrics_port": metrics, "parallel_workers": 0}
        )
    )
    (folder / "model-settings.json").write_text(json.dumps({"name": "buys", **settings}))
    origin = f"http://127.0.0.1:{http}/v2/models/buys"
    return served([python.parent / "mlserver", "start", folder], f"{origin}/ready", folder), origin


def test_mlserver_with_a_scikit_learn_model_gives_the_scores_of_the_local_model(task, places, tmp_path):
    model = task / "table" / "model.joblib"
    settings = {
        "implementation": "mlserver_sklearn.SKLearnModel",
        "parameters": {"uri": str(model), "version": "v1.2"},
    }
    server, address = mlserver(environment("mlserver", places), settings, tmp_path)
    with server:
        same_as_local(address, model, tmp_path, "--trust-pickle")


def test_mlserver_with_an_onnx_model_behind_a_custom_runtime_gives_the_scores_of_the_local_model(
    task, places, tmp_path
):
    model = task / "numbers" / "model.onnx"
    (tmp_path / "onnx_model.py").write_bytes((HERE / "onnx_model.py").read_bytes())
    settings = {
        "implementation": "onnx_model.OnnxModel",
        "parameters": {"uri": str(model), "version": "3"},
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}],
        "outputs": [
            {"name": "label", "datatype": "BYTES", "shape": [-1]},
            {"name": "probabilities", "datatype": "FP32", "shape": [-1, 2]},
        ],
    }
    server, address = mlserver(environment("mlserver", places), settings, tmp_path)
    with server:
        same_as_local(address, model, tmp_path)


def test_the_scoring_server_of_mlflow_gives_the_scores_of_the_local_model(task, places, tmp_path):
    model, python = task / "table" / "model.joblib", environment("mlflow", places)
    environ = {**os.environ, "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}"}
    environ.pop("PYTHONPATH", None)
    subprocess.run([python, HERE / "save_mlflow.py", model, tmp_path / "saved"], check=True, env=environ)
    [port] = free_ports(1)
    command = [python.parent / "mlflow", "models", "serve", "--model-uri", tmp_path / "saved", "--env-manager", "local"]
    command += ["--host", "127.0.0.1", "--port", port]
    origin = f"http://127.0.0.1:{port}"
    with served(["env", f"PATH={environ['PATH']}", *command], f"{origin}/ping", tmp_path):
        same_as_local(f"{origin}/invocations", model, tmp_path, "--trust-pickle")
