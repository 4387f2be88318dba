"""Models in files: each kind comes back as it was saved, and files that are damaged or hostile get one line."""

import io
import json
import os
import pickle
import shutil
import time
import zipfile
from pathlib import Path

import joblib
import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import FunctionTransformer

import foreign_models
from foreign_models import values
from hardlabel.checks import InvalidInput
from hardlabel.targets import files
from hardlabel.targets.files import load_target, target_hash
from hardlabel.targets.frameworks import base
from test_foreign_targets import asked, built

SECONDS = 30  # Until a bad file is told of, on a slow machine; most take less than one.


def save_joblib(case, folder):
    joblib.dump(case.model, folder / "m.joblib")


def save_pickle(case, folder):
    (folder / "m.pkl").write_bytes(pickle.dumps(case.model))


def save_skops(case, folder):
    from skops import io as skops

    skops.dump(case.model, folder / "m.skops")


def save_onnx(case, folder):
    (folder / "m.onnx").write_bytes(case.model.SerializeToString())


def save_onnx_in_two(case, folder):
    import onnx

    copy = onnx.load_model_from_string(case.model.SerializeToString())  # Saving so changes the model.
    onnx.save(copy, folder / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0)


def save_booster(name):
    return lambda case, folder: case.model.save_model(folder / name)


def save_transformer(case, folder):
    case.model.save_pretrained(folder)


def save_pipeline(case, folder):
    case.model.model.save_pretrained(folder)
    case.model.tokenizer.save_pretrained(folder)


# The case, the function that saves it, the name of the file ("" for the folder), and what is trusted.
SAVED = {
    "joblib": ("scikit-learn, a frame", save_joblib, "m.joblib", {"trust_pickle": True}),
    "pickle": ("scikit-learn, texts", save_pickle, "m.pkl", {"trust_pickle": True}),
    "skops": ("scikit-learn, a frame", save_skops, "m.skops", {"trust_types": ["sklearn.tree._tree.Tree"]}),
    "skops, no trees": ("scikit-learn, texts", save_skops, "m.skops", {}),
    "onnx": ("ONNX of scikit-learn", save_onnx, "m.onnx", {}),
    "onnx, weights in a file of their own": ("ONNX, logits", save_onnx_in_two, "m.onnx", {}),
    "TorchScript": ("TorchScript", lambda case, folder: case.model.save(folder / "m.pt"), "m.pt", {}),
    "TorchScript, frozen": (
        "TorchScript, traced and frozen",
        lambda case, folder: case.model.save(folder / "m.pth"),
        "m.pth",
        {},
    ),
    "a whole module": (
        "torch",
        lambda case, folder: torch.save(case.model, folder / "m.pt"),
        "m.pt",
        {"trust_pickle": True},
    ),
    "torch.export": (
        "torch.export",
        lambda case, folder: torch.export.save(case.model, folder / "m.pt2"),
        "m.pt2",
        {},
    ),
    "torch.export, fixed batch": (
        "torch.export, fixed batch",
        lambda case, folder: torch.export.save(case.model, folder / "m.pt2"),
        "m.pt2",
        {},
    ),
    "XGBoost, ubj": ("XGBoost", save_booster("m.ubj"), "m.ubj", {}),
    "XGBoost's classifier, json": ("XGBoost's classifier", save_booster("m.json"), "m.json", {}),
    "LightGBM": ("LightGBM", save_booster("m.txt"), "m.txt", {}),
    "transformers, tokens": ("transformers, tokens", save_transformer, "", {}),
    "transformers, texts": ("transformers, texts", save_pipeline, "", {}),
    "transformers, images": ("transformers, images", save_transformer, "", {}),
    "Keras": ("Keras", lambda case, folder: case.model.save(folder / "m.keras"), "m.keras", {}),
}


def saved(name, folder):
    """The path of a saved model."""
    case, save, file, trust = SAVED[name]
    save(built(case), folder)
    return folder / file if file else folder, trust


def refused(path, **trust):
    """The line that a model gets."""
    start = time.monotonic()
    with pytest.raises(InvalidInput) as error:
        load_target(path, **trust)
    assert time.monotonic() - start < SECONDS
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("name", SAVED)
def test_a_saved_model_answers_as_before(name, tmp_path):
    path, trust = saved(name, tmp_path)
    model, case = load_target(path, **trust), built(SAVED[name][0])
    labels, chances = asked(model, case.rows)
    assert np.array_equal(labels, case.labels)
    np.testing.assert_allclose(chances, case.chances, atol=2e-6)
    if case.labels.dtype.kind in "OU":
        assert set(model.classes_) >= set(case.labels)


# Kinds of files that are read without trust, one of each.
READ = (
    *("skops", "onnx", "TorchScript", "torch.export", "XGBoost, ubj", "LightGBM"),
    *("transformers, tokens", "Keras"),
)


@pytest.mark.parametrize("name", READ)
def test_a_file_that_is_cut_off_gets_one_line(name, tmp_path):
    path, _ = saved(name, tmp_path)
    file = path if path.is_file() else path / "model.safetensors"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    assert "cannot be read" in refused(path)


@pytest.mark.parametrize("mark", [b"Tree=8", b"end of trees", b"feature_importances", b"end of parameters"])
def test_a_file_of_lightgbm_that_ends_between_its_parts_gets_one_line(mark, tmp_path):
    """LightGBM itself reads most of them, and answers without the trees or the categories that are missing."""
    path, _ = saved("LightGBM", tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[: content.index(mark)])
    assert "damaged or cut off" in refused(path)


@pytest.mark.parametrize("suffix", files.LOADERS)
@pytest.mark.parametrize("content", [b"not a model at all\n" * 50, b"", b"PK\x03\x04" + b"\0" * 200], ids=repr)
def test_other_content_under_a_name_gets_one_line(suffix, content, tmp_path):
    path = tmp_path / f"m{suffix}"
    path.write_bytes(content)
    assert refused(path, trust_pickle=True).startswith("target")


@pytest.mark.parametrize("suffix", [*files.LOADERS, ".py:load"])
def test_what_is_no_regular_file_gets_one_line(suffix, tmp_path):
    path = tmp_path / f"m{suffix.partition(':')[0]}"
    target = f"{tmp_path}/m{suffix}"
    assert "No such file" in refused(target, trust_pickle=True)
    path.symlink_to(tmp_path / "nowhere")
    assert "No such file" in refused(target, trust_pickle=True)
    path.unlink()
    path.symlink_to(path.name)
    assert "cannot be read" in refused(target, trust_pickle=True)
    path.unlink()
    path.symlink_to("/dev/zero")
    assert "must be a regular file, got a device" in refused(target, trust_pickle=True)
    path.unlink()
    os.mkfifo(path)
    assert "must be a regular file, got a pipe" in refused(target, trust_pickle=True)


def test_a_link_to_a_model_is_followed(tmp_path):
    path, _ = saved("onnx", tmp_path)
    (tmp_path / "link.onnx").symlink_to(path)
    assert load_target(tmp_path / "link.onnx").classes_.tolist() == ["no", "perhaps", "yes"]
    assert target_hash(tmp_path / "link.onnx") == target_hash(path)


def test_files_full_of_holes_and_files_larger_than_the_limit_get_one_line(tmp_path, monkeypatch):
    with (tmp_path / "m.onnx").open("wb") as file:
        file.truncate(2**40)
    assert "hardly any is on disk" in refused(tmp_path / "m.onnx")
    monkeypatch.setattr(files, "MOST_BYTES", 10)
    (tmp_path / "m.ubj").write_bytes(b"{" * 11)
    assert "must have at most 10 bytes, got 11" in refused(tmp_path / "m.ubj")


class Runs:
    """Pickled, it makes a folder when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("suffix", files.PICKLES)
def test_a_pickle_is_loaded_on_trust_only(suffix, tmp_path):
    path = tmp_path / f"m{suffix}"
    path.write_bytes(pickle.dumps(Runs(tmp_path / "ran")))
    line = "target is a pickle: loading it runs its code; add --trust-pickle or convert it to .skops"
    assert refused(path) == line
    assert not (tmp_path / "ran").exists()
    refused(path, trust_pickle=True)  # None is no model.
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize("suffix", sorted(set(files.LOADERS) - set(files.PICKLES)))
def test_a_pickle_under_another_name_runs_nothing(suffix, tmp_path):
    path = tmp_path / f"m{suffix}"
    for number, write in enumerate(
        (lambda what: path.write_bytes(pickle.dumps(what)), lambda what: torch.save(what, path))
    ):
        write(Runs(tmp_path / f"ran{number}"))
        refused(path)
        assert not (tmp_path / f"ran{number}").exists()


def test_files_of_torch_without_a_network_get_their_lines(tmp_path):
    path = tmp_path / "m.pt"
    torch.save(foreign_models.network().state_dict(), path)
    assert refused(path).startswith("target is a state_dict, which holds weights without a network: build")
    torch.save({"epoch": 3, "model_state_dict": foreign_models.network().state_dict()}, path)
    assert refused(path).startswith("target is a checkpoint of a training")
    torch.save(foreign_models.network(), path)
    assert refused(path).startswith("target is a pickled module: loading it runs its code; add --trust-pickle")


def double(x):
    return x * 2


def test_skops_lists_the_types_it_would_have_to_trust(tmp_path):
    from skops import io as skops

    model = foreign_models.make_pipeline(FunctionTransformer(double), LogisticRegression())
    skops.dump(model.fit(values(), foreign_models.classes()), tmp_path / "m.skops")
    name = f"{double.__module__}.double"
    assert refused(tmp_path / "m.skops") == (
        f"skops file holds types that are not trusted: {name}; --trust-type {name}"
    )
    trusted = load_target(tmp_path / "m.skops", trust_types=[name])
    assert np.array_equal(trusted.predict(values()), model.predict(values()))


def rewritten(path, **changes):
    """An archive with other content in the members whose names end with those of `changes`."""
    with zipfile.ZipFile(path) as archive:
        members = [(info, archive.read(info)) for info in archive.infolist()]
    with zipfile.ZipFile(path, "w") as archive:
        for info, payload in members:
            change = next((change for end, change in changes.items() if info.filename.endswith(end)), None)
            archive.writestr(info.filename, payload if change is None else change(payload))


def pickled_inputs(folder):
    stream = io.BytesIO()
    torch.save((Runs(folder / "ran"),), stream)
    return {"sample_inputs/model.pt": lambda payload: stream.getvalue()}


def replaced(member, old, new):
    def change(folder):
        code = new.replace(b"RAN", str(folder / "ran").encode())

        def written_in(payload):
            assert old in payload
            return payload.replace(old, code)

        return {member: written_in}

    return change


# Archives of torch.export that run code when torch.export.load reads them, or would without the checks.
HOSTILE_PROGRAMS = {
    "pickled sample inputs": (pickled_inputs, "sample inputs that are no plain tensors"),
    "pickled weights": (
        replaced("weights_config.json", b'"use_pickle": false', b'"use_pickle": true'),
        "the pickled weight",
    ),
    "an expression that calls": (
        replaced("models/model.json", b'"expr_str": "', b"\"expr_str\": \"__import__('os').mkdir('RAN')+"),
        "the expression",
    ),
    "an operation of Python": (
        replaced("models/model.json", b'"target": "torch.ops.aten.relu.default"', b'"target": "os.system"'),
        "the operation",
    ),
    "a name that is code": (replaced("models/model.json", b'"name": "relu"', b'"name": "x; import os"'), "the name"),
    "a guard": (replaced("models/model.json", b'"guards_code": []', b'"guards_code": ["print(1)"]'), "guards"),
}


def test_the_expression_would_run_without_the_check(tmp_path, monkeypatch):
    """Else the test of hostile programs shows nothing."""
    path, _ = saved("torch.export", tmp_path)
    rewritten(path, **HOSTILE_PROGRAMS["an expression that calls"][0](tmp_path))
    monkeypatch.setattr(files.archives, "check_program", lambda path: None)
    with pytest.raises(InvalidInput):
        load_target(path)
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", HOSTILE_PROGRAMS)
def test_exported_programs_that_hold_code_are_refused(name, tmp_path):
    change, line = HOSTILE_PROGRAMS[name]
    path, _ = saved("torch.export", tmp_path)
    before = path.read_bytes()
    rewritten(path, **change(tmp_path))
    assert path.read_bytes() != before
    assert f"holds {line}" in refused(path)
    assert not (tmp_path / "ran").exists()


def test_a_program_written_again_by_the_test_still_loads(tmp_path):
    path, _ = saved("torch.export", tmp_path)
    rewritten(path)
    labels, _ = asked(load_target(path), values())
    assert np.array_equal(labels, built("torch.export").labels)


def test_an_archive_that_unpacks_to_terabytes_gets_one_line(tmp_path):
    path, _ = saved("TorchScript", tmp_path)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("m/zeros", b"\0" * 2**24)
    assert "it promises" in refused(path)


def test_keras_files_with_classes_of_other_code_are_refused(tmp_path):
    import keras

    path, _ = saved("Keras", tmp_path)

    def foreign(payload):
        return payload.replace(b'"module": "keras.layers"', b'"module": "shutil"', 1)

    rewritten(path, **{"config.json": foreign})
    assert "of 'shutil', which is not Keras's own" in refused(path)
    model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Lambda(lambda x: x), keras.layers.Dense(3)])
    model.save(path)
    assert "holds code" in refused(path)
    model = foreign_models.keras_model(1, None)
    model.compile(loss="mse")
    model.save(path)
    assert "Keras model with the loss mse" in refused(path)


def test_folders_without_safetensors_or_without_a_classifier_get_one_line(tmp_path):
    path, _ = saved("transformers, tokens", tmp_path / "model")
    config = json.loads((path / "config.json").read_text())
    torch.save(foreign_models.bert().state_dict(), path / "pytorch_model.bin")
    (path / "model.safetensors").rename(tmp_path / "kept.safetensors")
    assert "must hold its weights as .safetensors" in refused(path)
    shutil.copy(tmp_path / "kept.safetensors", path / "model.safetensors")
    for changed, line in (
        ({"architectures": ["BertForMaskedLM"]}, "must be a classifier .*, got BertForMaskedLM"),
        ({"problem_type": "regression"}, "problem_type regression"),
        ({"num_hidden_layers": 3}, "lacks weights"),
        ({"model_type": "other", "auto_map": {"AutoModelForSequenceClassification": "evil.Model"}}, "cannot be read"),
    ):
        (path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
        (path / "config.json").write_text(json.dumps({**config, **changed}))
        with pytest.raises(InvalidInput, match=line):
            load_target(path)
    assert not (tmp_path / "ran").exists()
    (path / "config.json").write_text("{" * 1000)
    assert "must be JSON" in refused(path)
    (path / "config.json").unlink()
    assert "must be a folder with config.json" in refused(path)


def test_an_image_folder_says_how_pixels_are_processed(tmp_path):
    """Pixels 0 to 255 give what the network answers for pixels that are rescaled and normalised."""
    path, _ = saved("transformers, images", tmp_path)
    steps = {"do_resize": False, "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True}
    processing = {**steps, "image_mean": [0.5] * 3, "image_std": [0.25] * 3}
    (path / "preprocessor_config.json").write_text(json.dumps(processing))
    pictures = np.random.default_rng(1).integers(0, 256, (9, 3, 8, 8)).astype(np.float32)
    with torch.inference_mode():
        own = foreign_models.vit()(pixel_values=torch.from_numpy((pictures / 255 - 0.5) / 0.25)).logits
    labels, chances = asked(load_target(path), pictures)
    assert np.array_equal(labels, own.argmax(1).numpy())
    np.testing.assert_allclose(chances, own.double().softmax(1).numpy(), atol=2e-6)


def written(folder, code):
    (folder / "made.py").write_text(code)
    return f"{folder / 'made.py'}:load"


def test_a_function_gives_the_model(tmp_path):
    """It may import its neighbours, and its own classes reach other processes."""
    (tmp_path / "beside_the_target.py").write_text("CLASSES = 3\n")
    code = (
        "import torch\nfrom beside_the_target import CLASSES\n"
        "class Asked:\n    def ask(self, inputs, ids):\n        return inputs[:, 0].long() % CLASSES\n"
        "def load():\n    return Asked()\n"
        "def net(width=4):\n    return torch.nn.Linear(width, CLASSES)\n"
    )
    target = written(tmp_path, code)
    import cloudpickle

    oracle = pickle.loads(cloudpickle.dumps(load_target(target)))
    assert oracle.ask(torch.tensor([[4.0], [5.0]]), torch.arange(2)).tolist() == [1, 2]
    assert load_target(target.replace(":load", ":net"))(torch.zeros(2, 4)).shape == (2, 3)


FUNCTIONS = {
    "raises": ("def load():\n    raise KeyError('no such key')", "made.py:load raised KeyError: 'no such key'"),
    "leaves": ("def load():\n    raise SystemExit(3)", "made.py:load raised SystemExit: 3"),
    "several lines": ("def load():\n    raise ValueError('first\\nsecond')", "made.py:load raised ValueError: first"),
    "nothing": ("def load():\n    pass", "made.py:load must return a model or an oracle, got None: is there a return?"),
    "an argument": ("def load(path, x=1):\n    pass", "made.py:load must take no arguments, it asks for path"),
    "another name": ("def lode():\n    pass", "made.py:load must be a function of that file, whose functions are lode"),
    "no function": ("load = 3", "made.py:load must be a function"),
    "wrong syntax": ("def load(:\n", "made.py cannot be imported: SyntaxError in line 1"),
    "a missing module": ("import no_such_module\n", "made.py cannot be imported: ModuleNotFoundError: No module named"),
    "a regressor": (
        "from sklearn.dummy import DummyRegressor\ndef load():\n    return DummyRegressor().fit([[0]], [1.0])",
        "made.py:load must be a classifier",
    ),
    "weights": ("import torch\ndef load():\n    return {'w': torch.zeros(1)}", "made.py:load is a state_dict"),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_that_gives_no_model_gets_one_line_with_its_name(name, tmp_path):
    code, line = FUNCTIONS[name]
    assert refused(written(tmp_path, code)).startswith(f"target {line}")


def test_names_that_are_no_model_get_one_line(tmp_path):
    (tmp_path / "m.csv").write_text("a")
    assert "target must be .joblib, .pkl" in refused(tmp_path / "m.csv")
    (tmp_path / "m.py").write_text("")
    assert "must be followed by the name of a function: m.py:load" in refused(tmp_path / "m.py")
    assert "target must be a path" in refused(3)


@pytest.mark.parametrize(
    ("name", "package", "extra"),
    [
        *(("onnx", "onnx", "onnx"), ("skops, no trees", "skops", "skops"), ("Keras", "keras", "keras")),
        *(("XGBoost, ubj", "xgboost", "boosters"), ("LightGBM", "lightgbm", "boosters")),
        ("transformers, tokens", "transformers", "huggingface"),
    ],
)
def test_a_missing_package_gets_the_line_that_installs_it(name, package, extra, tmp_path, monkeypatch):
    path, _ = saved(name, tmp_path)

    def missing(module):
        raise ModuleNotFoundError(f"No module named {package!r}", name=package)

    monkeypatch.setattr(base.importlib, "import_module", missing)
    told = refused(path)
    assert "target needs " in told
    assert told.endswith(f": pip install 'hardlabel[{extra}]'")


def test_the_hash_is_that_of_the_content(tmp_path):
    path, _ = saved("onnx, weights in a file of their own", tmp_path)
    first = target_hash(path)
    (tmp_path / "elsewhere").mkdir()
    for file in tmp_path.glob("m.*"):
        shutil.copy(file, tmp_path / "elsewhere")
    assert target_hash(str(tmp_path / "elsewhere" / "m.onnx")) == first
    weights = tmp_path / "elsewhere" / "m.data"
    weights.write_bytes(bytes([weights.read_bytes()[0] ^ 1]) + weights.read_bytes()[1:])
    assert target_hash(tmp_path / "elsewhere" / "m.onnx") != first
    folder, _ = saved("transformers, tokens", tmp_path / "model")
    whole = target_hash(folder)
    (folder / "config.json").rename(folder / "other.json")
    assert target_hash(folder) != whole
    (folder / "other.json").rename(folder / "config.json")
    assert target_hash(folder) == whole
    plain = tmp_path / "m.ubj"
    plain.write_bytes(b"abc")
    # SHA-256 of "abc", as FIPS 180-2 has it.
    assert target_hash(plain) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    with pytest.raises(InvalidInput, match="content does not identify the model"):
        target_hash("made.py:load")
    with pytest.raises(InvalidInput, match="No such file"):
        target_hash(tmp_path / "nowhere.ubj")


def test_weights_of_onnx_outside_the_folder_are_refused(tmp_path):
    import onnx

    path, _ = saved("onnx, weights in a file of their own", tmp_path)
    model = onnx.load(path, load_external_data=False)
    for entry in model.graph.initializer[0].external_data:
        if entry.key == "location":
            entry.value = "../secret"
    Path(path).write_bytes(model.SerializeToString())
    assert "must keep its weights in its own folder" in refused(path)
    (tmp_path / "m.data").unlink()
    saved("onnx, weights in a file of their own", tmp_path)
    (tmp_path / "m.data").unlink()
    assert "m.data cannot be read: No such file" in refused(path)
