"""Small models of other frameworks, each with its own predictions as the truth, for tests.

A builder returns `Case`: the model as its framework makes it, rows as it takes them, its own labels and probabilities
for them, computed by the framework's own calls, and rows of a wrong width.
"""

import functools
import os
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from torch import nn

os.environ.setdefault("KERAS_BACKEND", "torch")

ROWS, BATCH = 40, 8  # BATCH rows are what models with a fixed batch take.
WORDS = ("free", "money", "now", "hello", "friend", "lunch")


class Case(NamedTuple):
    model: Any
    rows: Any
    labels: Any
    chances: Any  # None if the model shows none.
    wrong: Any  # Rows that it cannot take; None for the cases in ANY_WIDTH.


def values():
    return np.random.default_rng(3).normal(size=(ROWS, 4)).astype(np.float32)


def classes():
    x = values()
    return (x[:, 0] > 0).astype(int) + (x[:, 1] > 0.4)


def frame():
    x = values()
    towns = np.random.default_rng(4).choice(["Rome", "Oslo", "Bern"], ROWS)
    return pd.DataFrame({"age": x[:, 0], "pay": x[:, 1], "town": towns})


def texts():
    rng = np.random.default_rng(5)
    return [" ".join(rng.choice(WORDS, rng.integers(1, 9))) for _ in range(ROWS)]


def spam():
    return np.array(["spam" if "free" in text or "money" in text else "ham" for text in texts()])


def images():
    return np.random.default_rng(6).random((ROWS, 3, 8, 8)).astype(np.float32)


def network():
    torch.manual_seed(0)
    layers = nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3)
    return nn.Sequential(*layers).eval()


def of_logits(model, rows, logits, wrong=None):
    logits = logits.detach().double()
    return Case(model, rows, logits.argmax(1).numpy(), logits.softmax(1).numpy(), wrong)


def of_estimator(model, rows, wrong, given=None):
    return Case(given or model, rows, model.predict(rows), model.predict_proba(rows), wrong)


def module():
    return of_logits(network(), values(), network()(torch.from_numpy(values())))


def script(frozen=False):
    net, rows = network(), torch.from_numpy(values())
    made = torch.jit.freeze(torch.jit.trace(net, rows[:3])) if frozen else torch.jit.script(network().train())
    return of_logits(made, values(), net(rows), values()[:, :3])


def exported(rows=None):
    net, example = network(), torch.from_numpy(values())[: rows or 5]
    free = None if rows else ({0: torch.export.Dim("batch", min=1, max=16)},)
    program = torch.export.export(net, (example,), dynamic_shapes=free)
    return of_logits(program, values(), net(torch.from_numpy(values())), values()[:, :3])


def exported_mapping():
    class Answers(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = network()

        def forward(self, inputs):
            return {"logits": self.net(inputs), "half": inputs / 2}

    net = Answers().eval()
    program = torch.export.export(net, (torch.from_numpy(values())[:BATCH],))
    return of_logits(program, values(), net.net(torch.from_numpy(values())), values()[:, :3])


def skl_onnx(zipmap=True, dtype=np.float32, estimator=None):
    from skl2onnx import to_onnx

    model = LogisticRegression(max_iter=500) if estimator is None else estimator
    x = values() if dtype != np.int64 else (values() * 10).astype(np.int64)
    x = x.astype(dtype)
    model.fit(x, np.array(["no", "perhaps", "yes"])[classes()])
    made = to_onnx(model, x[:1], options={id(model): {"zipmap": zipmap}}, target_opset=18)
    return of_estimator(model, x, x[:, :3], given=made)


def skl_onnx_columns():
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType

    pipeline = frame_pipeline().fit(frame().astype({"town": object}), classes())
    kinds = [(name, FloatTensorType([None, 1])) for name in ("age", "pay")] + [("town", StringTensorType([None, 1]))]
    made = to_onnx(pipeline, initial_types=kinds, target_opset=18)
    return of_estimator(pipeline, frame(), frame().assign(extra=1), given=made)


def skl_onnx_texts():
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import StringTensorType

    # Without lower case, for which onnxruntime needs a locale that not every machine has.
    pipeline = make_pipeline(TfidfVectorizer(lowercase=False), LogisticRegression()).fit(texts(), spam())
    made = to_onnx(pipeline, initial_types=[("text", StringTensorType([None, 1]))], target_opset=18)
    return of_estimator(pipeline, texts(), None, given=made)


def onnx_graph(batch=None, last=None, classes=3, features=4):
    """A linear network in ONNX, with the operation `last` at its end."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(7)
    weight = rng.normal(size=(features, classes)).astype(np.float32)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["z"])]
    if last:
        nodes.append(helper.make_node(last, ["z"], ["y"]))
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, features])],
        [helper.make_tensor_value_info("y" if last else "z", TensorProto.FLOAT, [batch, classes])],
        [numpy_helper.from_array(weight, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return model, weight


def onnx_network(batch=None, last=None, session=False):
    model, weight = onnx_graph(batch, last)
    logits = torch.from_numpy(values() @ weight)
    if session:
        import onnxruntime

        model = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return of_logits(model, values(), logits, values()[:, :3])


def onnx_sigmoid():
    model, weight = onnx_graph(last="Sigmoid", classes=1)
    logit = torch.from_numpy(values() @ weight)
    return of_logits(model, values(), torch.cat([torch.zeros_like(logit), logit], 1), values()[:, :3])


def frame_pipeline(trees=False):
    columns = ColumnTransformer(
        [("town", OneHotEncoder(handle_unknown="ignore"), ["town"]), ("rest", StandardScaler(), ["age", "pay"])]
    )
    return make_pipeline(columns, RandomForestClassifier(5, random_state=0) if trees else LogisticRegression())


def sklearn_frame():
    pipeline = frame_pipeline(trees=True).fit(frame(), np.array(["no", "perhaps", "yes"])[classes()])
    return of_estimator(pipeline, frame(), None)


@functools.cache
def text_pipeline():
    return make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(texts(), spam())


def sklearn_texts():
    return of_estimator(text_pipeline(), texts(), None)


def categories():
    return frame().astype({"town": "category"})


def xgboost_booster(objective="multi:softprob", rows=None):
    import xgboost

    rows, y = categories() if rows is None else rows, classes()
    options = {"objective": objective, "max_depth": 2}
    if objective.startswith("multi"):
        options["num_class"] = 3
    else:
        y = np.minimum(y, 1)
    matrix = xgboost.DMatrix(rows, y, enable_categorical=True)
    booster = xgboost.train(options, matrix, 3)
    own = booster.predict(matrix)
    wrong = rows[:, :3] if isinstance(rows, np.ndarray) else rows.assign(extra=1)
    if objective == "multi:softmax":
        chances = torch.from_numpy(booster.predict(matrix, output_margin=True)).double().softmax(1).numpy()
        return Case(booster, rows, own, chances, wrong)
    if objective == "binary:logitraw":
        own = 1 / (1 + np.exp(-own.astype(np.float64)))
    if objective.startswith("binary"):
        return Case(booster, rows, own > 0.5, np.stack([1 - own, own], 1), wrong)
    return Case(booster, rows, own.argmax(1), own, wrong)


def xgboost_estimator():
    import xgboost

    model = xgboost.XGBClassifier(n_estimators=20, enable_categorical=True, early_stopping_rounds=2)
    model.fit(categories(), classes(), eval_set=[(categories(), classes()[::-1])], verbose=False)
    assert model.best_iteration + 1 < model.get_booster().num_boosted_rounds()  # It answers with its best rounds.
    return of_estimator(model, categories(), None)


def lightgbm_booster(objective="multiclass", rows=None):
    import lightgbm

    rows, y = categories() if rows is None else rows, classes()
    options = {"objective": objective, "verbose": -1, "min_data_in_leaf": 3, "num_threads": 1}
    if objective == "binary":
        y = np.minimum(y, 1)
    else:
        options["num_class"] = 3
    booster = lightgbm.train(options, lightgbm.Dataset(rows, y), 3)
    own = booster.predict(rows)
    wrong = rows[:, :3] if isinstance(rows, np.ndarray) else rows.assign(extra=1)
    if objective == "binary":
        return Case(booster, rows, own > 0.5, np.stack([1 - own, own], 1), wrong)
    return Case(booster, rows, own.argmax(1), own, wrong)


def lightgbm_estimator():
    import lightgbm

    model = lightgbm.LGBMClassifier(n_estimators=3, verbose=-1, n_jobs=1).fit(categories(), classes())
    return of_estimator(model, categories(), None)


def bert(**options):
    import transformers

    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=30, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=12, **{"num_labels": 3, **options},
    )  # fmt: skip
    return transformers.BertForSequenceClassification(config).eval()


def tokens():
    ids = np.random.default_rng(8).integers(1, 30, (ROWS, 7))
    ids[: ROWS // 2, 4:] = 0
    return ids


def transformers_tokens():
    model, ids = bert(), torch.from_numpy(tokens())
    with torch.inference_mode():
        logits = model(input_ids=ids, attention_mask=(ids != 0).long()).logits
    return of_logits(model, tokens(), logits, np.tile(tokens(), 2))


def tokenizer():
    import tokenizers
    import transformers

    known = {name: place for place, name in enumerate(("[PAD]", "[UNK]", *WORDS))}
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(known, unk_token="[UNK]"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    return transformers.PreTrainedTokenizerFast(tokenizer_object=made, pad_token="[PAD]", unk_token="[UNK]")


def transformers_texts():
    import transformers

    model = bert(num_labels=2, id2label={0: "ham", 1: "spam"}, label2id={"ham": 0, "spam": 1})
    pipeline = transformers.pipeline("text-classification", model=model, tokenizer=tokenizer(), device="cpu")
    told = pipeline(texts(), top_k=None)
    chances = np.array([[row["score"] for row in sorted(rows, key=lambda row: row["label"])] for rows in told])
    return Case(pipeline, texts(), np.array(["ham", "spam"])[chances.argmax(1)], chances, None)


def vit():
    import transformers

    torch.manual_seed(0)
    config = transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16, image_size=8, patch_size=4,
        num_labels=3,
    )  # fmt: skip
    return transformers.ViTForImageClassification(config).eval()


def transformers_images():
    model = vit()
    with torch.inference_mode():
        logits = model(pixel_values=torch.from_numpy(images())).logits
    return of_logits(model, images(), logits, images()[:, :, :4])


def keras_model(units=3, activation="softmax"):
    import keras

    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [keras.layers.Input((4,)), keras.layers.Dense(8, activation="relu"), keras.layers.Dropout(0.5),
         keras.layers.Dense(units, activation=activation)]
    )  # fmt: skip


def keras_network(units=3, activation="softmax"):
    model = keras_model(units, activation)
    own = model.predict(values(), verbose=0).astype(np.float64)
    if activation == "sigmoid":
        own = np.concatenate([1 - own, own], 1)
    if activation is None:
        return of_logits(model, values(), torch.from_numpy(own), values()[:, :3])
    return Case(model, values(), own.argmax(1), own, values()[:, :3])


class Asked:
    """A model behind a line: it answers questions only."""

    def ask(self, inputs, ids):
        return (inputs.flatten(1)[:, 0] > 0).long()


CASES = {
    "torch": module,
    "TorchScript": script,
    "TorchScript, traced and frozen": lambda: script(frozen=True),
    "torch.export": exported,
    "torch.export, fixed batch": lambda: exported(BATCH),
    "torch.export, a mapping": exported_mapping,
    "ONNX of scikit-learn": skl_onnx,
    "ONNX, no ZipMap": lambda: skl_onnx(zipmap=False),
    "ONNX, forest": lambda: skl_onnx(estimator=RandomForestClassifier(4, random_state=0)),
    "ONNX, float64": lambda: skl_onnx(zipmap=False, dtype=np.float64),
    "ONNX, int64": lambda: skl_onnx(dtype=np.int64),
    "ONNX, an input for each column": skl_onnx_columns,
    "ONNX, texts": skl_onnx_texts,
    "ONNX, logits": onnx_network,
    "ONNX, a session": lambda: onnx_network(session=True),
    "ONNX, probabilities": lambda: onnx_network(last="Softmax"),
    "ONNX, fixed batch": lambda: onnx_network(batch=BATCH),
    "ONNX, one probability": onnx_sigmoid,
    "scikit-learn, a frame": sklearn_frame,
    "scikit-learn, texts": sklearn_texts,
    "XGBoost": xgboost_booster,
    "XGBoost, an array": lambda: xgboost_booster(rows=values()),
    "XGBoost, softmax": lambda: xgboost_booster("multi:softmax"),
    "XGBoost, binary": lambda: xgboost_booster("binary:logistic"),
    "XGBoost, margins": lambda: xgboost_booster("binary:logitraw"),
    "XGBoost's classifier": xgboost_estimator,
    "LightGBM": lightgbm_booster,
    "LightGBM, an array": lambda: lightgbm_booster(rows=values()),
    "LightGBM, binary": lambda: lightgbm_booster("binary"),
    "LightGBM's classifier": lightgbm_estimator,
    "transformers, tokens": transformers_tokens,
    "transformers, texts": transformers_texts,
    "transformers, images": transformers_images,
    "Keras": keras_network,
    "Keras, logits": lambda: keras_network(activation=None),
    "Keras, one probability": lambda: keras_network(1, "sigmoid"),
}

# Cases for which the framework itself checks the rows, or which are texts.
ANY_WIDTH = (
    *("torch", "ONNX, texts", "scikit-learn, a frame", "scikit-learn, texts", "transformers, texts"),
    *("XGBoost's classifier", "LightGBM's classifier"),
)
