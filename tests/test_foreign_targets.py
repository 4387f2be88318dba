"""Models of all frameworks: asked through `plain`, they answer what the framework itself answers."""

import functools
import pickle
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn import datasets, linear_model, multioutput, neighbors, neural_network
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils import all_estimators
from torch import nn

import foreign_models
from foreign_models import ANY_WIDTH, BATCH, CASES, ROWS
from hardlabel.checks import InvalidInput
from hardlabel.targets.frameworks.table import FRAMEWORKS, plain
from hardlabel.targets.registry import askable
from hardlabel.targets.torch import TorchScores

built = functools.cache(lambda name: CASES[name]())


def asked(model, rows):
    """Labels and probabilities that a plain model answers; None for probabilities that it does not show."""
    if isinstance(model, nn.Module):
        oracle = TorchScores(model, device="cpu", batch_size=64)
        inputs, ids = torch.as_tensor(rows), torch.arange(len(rows))
        return oracle.ask(inputs, ids).numpy(), oracle.ask_scores(inputs, ids).double().exp().numpy()
    return model.predict(rows), model.predict_proba(rows) if hasattr(model, "predict_proba") else None


@pytest.mark.parametrize("name", CASES)
def test_a_plain_model_answers_what_its_framework_answers(name):
    """A batch of 1, of 7, and one larger than the fixed batch, before and after pickling."""
    case = built(name)
    model = plain(case.model)
    copy = pickle.loads(pickle.dumps(model))
    for asker, counts in ((model, (1, 7, ROWS)), (copy, (BATCH + 1,))):
        for count in counts:
            labels, chances = asked(asker, case.rows[:count])
            assert np.array_equal(labels, case.labels[:count])
            # Float32: a few units in the last place, of numbers up to 1.
            np.testing.assert_allclose(chances, case.chances[:count], atol=2e-6)
    if hasattr(model, "classes_"):
        assert set(np.unique(case.labels)) <= set(model.classes_.tolist())


@pytest.mark.parametrize("name", [name for name in CASES if name not in ANY_WIDTH])
def test_rows_of_a_wrong_width_get_one_line(name):
    case = built(name)
    with pytest.raises(InvalidInput, match=r"target (wants|cannot take)") as error:
        asked(plain(case.model, role="target"), case.wrong)
    assert "\n" not in str(error.value)


def test_extra_and_missing_columns_are_named():
    model = plain(built("XGBoost").model)
    rows = foreign_models.categories()
    with pytest.raises(InvalidInput, match="wants 3 columns, the table has 4: 'x' is extra"):
        model.predict(rows.assign(x=1))
    with pytest.raises(InvalidInput, match="wants 3 columns, the table has 3: 'pay' is missing; 'x' is extra"):
        model.predict(rows.rename(columns={"pay": "x"}))


@pytest.mark.parametrize("name", ["XGBoost", "LightGBM", "ONNX, an input for each column"])
def test_the_order_of_columns_does_not_matter(name):
    case = built(name)
    turned = case.rows[list(case.rows.columns)[::-1]]
    assert np.array_equal(plain(case.model).predict(turned), case.labels)


@pytest.mark.parametrize("name", ["XGBoost", "LightGBM"])
def test_text_in_columns_becomes_the_categories_of_training(name):
    """Also where a table holds some of the categories only."""
    case, rows = built(name), foreign_models.frame()
    some = rows[rows.town != "Bern"]
    chances = plain(case.model).predict_proba(some)
    np.testing.assert_allclose(chances, case.chances[(rows.town != "Bern").to_numpy()], atol=2e-6)


@pytest.mark.parametrize("name", ["torch", "scikit-learn, a frame", "XGBoost's classifier", "LightGBM's classifier"])
def test_plain_models_come_back_as_they_are(name):
    assert plain(built(name).model) is built(name).model
    oracle = foreign_models.Asked()
    assert plain(oracle) is oracle


@pytest.mark.parametrize("name", CASES)
def test_plain_is_plain_already(name):
    model = plain(built(name).model)
    assert plain(model) is model


def test_a_script_keeps_its_weights_names_and_modes():
    script = built("TorchScript").model
    model = plain(script)
    assert list(model.state_dict()) == list(script.state_dict())
    assert repr(model) == repr(script)
    assert script.training
    TorchScores(model, device="cpu").ask(torch.zeros(3, 4), torch.arange(3))
    assert script.training


def test_whole_ids_reach_a_network_in_half_precision():
    """Ids above 256 are rounded by bfloat16, those above 2,048 by float16."""
    import transformers

    config = transformers.BertConfig(
        vocab_size=3000, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, num_labels=3
    )
    network = transformers.BertForSequenceClassification(config).eval().to(torch.bfloat16)
    seen = []
    network.get_input_embeddings().register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    TorchScores(plain(network), device="cpu", batch_size=2).ask(torch.tensor([[2999.0, 257.0]]), torch.arange(1))
    assert seen[0].tolist() == [[2999, 257]]


def test_ids_outside_the_vocabulary_get_one_line():
    with pytest.raises(InvalidInput, match="token ids from 0 to 29, got 1 to 30"):
        plain(foreign_models.bert())(torch.tensor([[1.0, 30.0]]))


class Pixels(nn.Module):
    """Shows what a network is given."""

    main_input_name = "pixel_values"

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, pixel_values):
        return pixel_values.flatten(1)


def test_pixels_are_processed_as_the_folder_says():
    """Rescaled to [0, 1], mean .5 and deviation .5 a channel: 0 becomes -1, 255 becomes 1."""
    from hardlabel.targets.frameworks.huggingface import PixelNetwork

    processing = {"do_rescale": True, "do_normalize": True, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    network = PixelNetwork(Pixels(), processing=processing)
    pictures = torch.tensor([0.0, 51.0, 255.0]).reshape(1, 3, 1, 1)
    expected = torch.tensor([[-1.0, -0.6, 1.0]])
    torch.testing.assert_close(network(pictures), expected)
    stored = torch.stack([pictures[:, :, 0, 0], pictures[:, :, 0, 0]], 1)[:, :, None]  # Two rows of one pixel.
    assert stored.shape == (1, 2, 1, 3)
    torch.testing.assert_close(network(stored), expected.repeat_interleave(2, 1))
    sized = PixelNetwork(Pixels(), processing={**processing, "do_resize": True, "size": {"height": 2, "width": 2}})
    assert sized(torch.full((1, 3, 5, 5), 255.0)).tolist() == [[1.0] * 12]
    for wrong in (torch.rand(20, 3, 2, 2), torch.full((1, 3, 2, 2), -1.0)):
        with pytest.raises(InvalidInput, match="pixels from 0 to 255"):
            PixelNetwork(Pixels(), processing=processing)(wrong)
    with pytest.raises(InvalidInput, match="asks for do_center_crop"):
        PixelNetwork(Pixels(), processing={**processing, "do_center_crop": True})


def test_a_message_of_missing_memory_stays_the_error_that_it_was():
    class Large(nn.Module):
        def forward(self, inputs):
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory")

    from hardlabel.targets.frameworks.base import forwarding

    with pytest.raises(RuntimeError, match="not enough memory") as error, forwarding(torch.zeros(1), "target"):
        Large()(torch.zeros(1))
    assert not isinstance(error.value, InvalidInput)


def regression_onnx():
    from skl2onnx import to_onnx

    x = foreign_models.values()
    return to_onnx(linear_model.LinearRegression().fit(x, x[:, 0]), x[:1], target_opset=18)


def boosted(package, objective):
    x, y = foreign_models.values(), foreign_models.values()[:, 0]
    if package == "xgboost":
        import xgboost

        return xgboost.train({"objective": objective}, xgboost.DMatrix(x, y), 1)
    import lightgbm

    return lightgbm.train({"objective": objective, "verbose": -1}, lightgbm.Dataset(x, y), 1)


def several_labels():
    return datasets.make_multilabel_classification(40, 4, random_state=0)


def xgboost_labels():
    import xgboost

    return xgboost.XGBClassifier(n_estimators=1).fit(*several_labels())


def keras_trained(loss):
    model = foreign_models.keras_model(1, None)
    model.compile(loss=loss)
    return model


def masked():
    import transformers

    return transformers.BertForMaskedLM(foreign_models.bert().config)


REFUSED = {
    "a state_dict": (lambda: foreign_models.network().state_dict(), "is a state_dict.*FILE.py:function"),
    "a checkpoint": (lambda: {"epoch": 3, "model_state_dict": {}}, "is a checkpoint of a training.*FILE.py:function"),
    "a mapping": (lambda: {"a": 1}, "must be a model, got a dict"),
    "a number": (lambda: 3, "must be a model, got 3"),
    "a class": (lambda: linear_model.LogisticRegression, "must be a model"),
    "a regressor": (lambda: linear_model.Ridge().fit([[0.0], [1.0]], [0, 1]), "got the regressor Ridge"),
    "not fitted": (linear_model.LogisticRegression, "must be fitted"),
    "a scaler": (lambda: foreign_models.StandardScaler().fit([[0.0]]), "StandardScaler without classes_"),
    "several labels": (
        lambda: neural_network.MLPClassifier((2,), max_iter=2).fit(*several_labels()),
        "several labels for each row",
    ),
    "several outputs": (
        lambda: multioutput.MultiOutputClassifier(linear_model.LogisticRegression()).fit(*several_labels()),
        "several labels for each row",
    ),
    "several outputs of neighbours": (
        lambda: neighbors.KNeighborsClassifier().fit(*several_labels()),
        "several labels for each row",
    ),
    "several labels of XGBoost": (xgboost_labels, "several labels for each row"),
    "a regression of XGBoost": (lambda: boosted("xgboost", "reg:squarederror"), "objective reg:squarederror"),
    "a regression of LightGBM": (lambda: boosted("lightgbm", "regression"), "objective 'regression'"),
    "a regression in ONNX": (regression_onnx, "ONNX model of a regressor"),
    "several labels in ONNX": (lambda: foreign_models.onnx_graph(last="Sigmoid")[0], "3 sigmoid outputs"),
    "a regression of transformers": (lambda: foreign_models.bert(problem_type="regression"), "problem_type regression"),
    "one number of transformers": (lambda: foreign_models.bert(num_labels=1), "problem_type regression"),
    "several labels of transformers": (
        lambda: foreign_models.bert(problem_type="multi_label_classification"),
        "problem_type multi_label_classification",
    ),
    "another head of transformers": (masked, "got BertForMaskedLM: load it as AutoForSequenceClassification"),
    "a regression of Keras": (lambda: keras_trained("mean_squared_error"), "the loss mean_squared_error"),
    "several labels of Keras": (lambda: foreign_models.keras_model(3, "sigmoid"), "3 sigmoid outputs"),
    "a program in training mode": (
        lambda: torch.export.export(foreign_models.network().train(), (torch.zeros(3, 4),)),
        r"training mode.*model.eval\(\)",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_classifier_of_one_label_gets_one_line(name):
    make, line = REFUSED[name]
    model = make()
    with pytest.raises(InvalidInput, match=f"^a shadow .*{line}") as error:
        plain(model, role="a shadow")
    assert "\n" not in str(error.value)


def test_missing_values_and_text_reach_onnx_as_one_line():
    model = plain(built("ONNX, an input for each column").model)
    rows = foreign_models.frame()
    with pytest.raises(InvalidInput, match=r"wants text in the input 'town', got (float|NoneType)"):
        model.predict(rows.assign(town=[None, *rows.town[1:]]))
    with pytest.raises(InvalidInput, match="wants numbers in the input 'age', got 'old'"):
        model.predict(rows.assign(age="old"))
    whole = plain(built("ONNX, int64").model)
    with pytest.raises(InvalidInput, match="wants whole numbers"):
        whole.predict(pd.DataFrame(np.full((2, 4), np.nan)))


def test_no_framework_is_imported_to_tell_what_a_model_is():
    code = (
        "import sys; from hardlabel.targets.frameworks.table import FRAMEWORKS, plain\n"
        "from torch import nn\n"
        "plain(nn.Linear(2, 2))\n"
        "[framework.accepts(object()) for framework in FRAMEWORKS]\n"
        "packages = 'onnx onnxruntime xgboost lightgbm transformers keras skops'.split()\n"
        "print([name for name in packages if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert len({framework.name for framework in FRAMEWORKS}) == len(FRAMEWORKS)


def classifiers_of_scikit_learn():
    """Every classifier that can be made without arguments, and the others with what they ask for."""
    tree = DecisionTreeClassifier()
    asking = {
        "ClassifierChain": (tree,),
        "FixedThresholdClassifier": (tree,),
        "MultiOutputClassifier": (tree,),
        "OneVsOneClassifier": (tree,),
        "OneVsRestClassifier": (tree,),
        "OutputCodeClassifier": (tree,),
        "SelfTrainingClassifier": (tree,),
        "StackingClassifier": ([("tree", tree)],),
        "TunedThresholdClassifierCV": (tree,),
        "VotingClassifier": ([("tree", tree)],),
    }
    two = {"FixedThresholdClassifier", "TunedThresholdClassifierCV"}  # Classes.
    several = {"ClassifierChain", "MultiOutputClassifier"}  # Labels for each row: refused below.
    for name, kind in all_estimators(type_filter="classifier"):
        if name not in several:
            yield pytest.param(kind, asking.get(name, ()), 2 if name in two else 3, id=name)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("kind", "arguments", "classes"), classifiers_of_scikit_learn())
def test_every_classifier_of_scikit_learn_is_one(kind, arguments, classes):
    rng = np.random.default_rng(0)
    labels = np.arange(60) % classes
    inputs = rng.integers(0, 4, (60, 3)) + labels[:, None] % 2  # Counts, which all of them take.
    model = kind(*arguments).fit(inputs, labels)
    assert set(plain(model, role="target").predict(inputs)) <= set(range(classes))
    found = askable(model, torch.device("cpu"), role="target").labels.ask(
        torch.tensor(inputs, dtype=torch.float32), torch.arange(60)
    )
    assert found.tolist() == model.predict(inputs.astype(np.float32)).tolist()
