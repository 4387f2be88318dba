"""The README's Python runs as it stands."""

import re
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import torch
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.tree import DecisionTreeClassifier

import hardlabel
from hardlabel.attacks import TABLE
from hardlabel.models.train import Recipe, train

README = Path(__file__).resolve().parents[1] / "README.md"


def train_like_mine(inputs, labels, *, seed):
    samples = hardlabel.Samples(
        ids=torch.arange(len(inputs)),
        inputs=torch.as_tensor(inputs),
        labels=torch.as_tensor(labels),
        domain=hardlabel.Box((1, 8, 8)),
    )
    return train(Recipe(architecture="fc", max_epochs=20), samples, classes=10, seed=seed).model


def pipeline_on_frames():
    frame = pd.DataFrame({"age": np.arange(20, 80), "job": ["a", "b", "c"] * 20})
    labels = np.where(np.arange(60) % 7 < 3, "low", "high")
    columns = ColumnTransformer([("jobs", OneHotEncoder(), ["job"])], remainder="passthrough")
    return {
        "pipeline": make_pipeline(columns, DecisionTreeClassifier(random_state=0)).fit(frame[:30], labels[:30]),
        "train_frame": frame[:30],
        "train_labels": labels[:30],
        "test_frame": frame[30:],
        "test_labels": labels[30:],
    }


def onnx_of(inputs, labels, path):
    """A classifier of flattened images as an ONNX file."""
    flat = inputs.reshape(len(inputs), -1)
    model = LogisticRegression(max_iter=300).fit(flat, labels)
    weights = {"w": model.coef_.T.astype(np.float32), "b": model.intercept_.astype(np.float32)}
    graph = onnx.helper.make_graph(
        [
            onnx.helper.make_node("Flatten", ["x"], ["flat"]),
            onnx.helper.make_node("Gemm", ["flat", "w", "b"], ["logits"]),
        ],
        "classifier",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["rows", *inputs.shape[1:]])],
        [onnx.helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, ["rows", 10])],
        [onnx.numpy_helper.from_array(values, name) for name, values in weights.items()],
    )
    opset = [onnx.helper.make_opsetid("", 17)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=9), path)


def test_every_python_block_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # A whole audit at a small budget: what is tested is the README, not the attacks.
    whole = hardlabel.audit
    monkeypatch.setattr(hardlabel, "audit", lambda *given, **said: whole(*given, **{"budget": 30} | said))
    digits = load_digits()
    inputs, labels = (digits.images[:, None] / 16).astype(np.float32), digits.target
    parts = {name: (inputs[i::9], labels[i::9]) for i, name in enumerate(("train", "test"))}
    more = np.arange(len(inputs)) % 9 > 1
    model = train_like_mine(*parts["train"], seed=0)
    names = {
        "torch": torch,
        "model": model,
        "x_train": parts["train"][0],
        "y_train": parts["train"][1],
        "x_test": parts["test"][0],
        "y_test": parts["test"][1],
        "x_more": inputs[more],
        "y_more": labels[more],
        "train_like_mine": train_like_mine,
        **pipeline_on_frames(),
        "predict": lambda rows: model(torch.from_numpy(rows)).argmax(1).numpy(),
    }
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert len(blocks) == 4
    onnx_of(*parts["train"], tmp_path / "model.onnx")
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
    assert (tmp_path / "runs" / "mine" / "report.html").exists()
    assert names["record"].results.attacks[0].name == "gap"


def test_the_comparison_counts_the_label_only_attacks_of_the_table():
    count = sum(attack.access == "label" for attack in TABLE.values())
    assert f"| label-only attacks | {count} |" in README.read_text()
