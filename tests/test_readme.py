"""The README's Python runs as it stands."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.datasets import load_digits

import hardlabel
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
        "frame": pd.DataFrame({"age": [30, 41, 52], "job": ["a", "?", "b"]}),
        "predict": lambda rows: model(torch.from_numpy(rows)).argmax(1).numpy(),
    }
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert len(blocks) == 4
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
    assert (tmp_path / "runs" / "mine" / "report.html").exists()
    assert names["record"].results.attacks[0].name == "gap"
    assert tuple(names["encoded"].shape) == (3, 4)
