"""Classifiers of Hugging Face's transformers: images and token ids as torch modules, texts with their tokenizer."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from hardlabel.checks import InvalidInput, shown
from hardlabel.models.modes import evaluating
from hardlabel.targets.frameworks.base import OWN_CODE, comes_from, forwarding, logits_of, not_classifier

HEADS = ("ForSequenceClassification", "ForImageClassification", "ForAudioClassification")
TEXTS_AT_ONCE = 64  # Texts in one forward pass.
FEWEST_JUDGED = 20  # Images from which on values of at most 1 are taken for a mistake.
FILTERS = {0: "nearest", 2: "bilinear", 3: "bicubic"}  # Numbers of Pillow's filters.


class TokenNetwork(nn.Module):
    """A text classifier asked about token ids (q, length), whole numbers of any type.

    The attention mask leaves out the padding id, where the configuration names one.

    Args:
        model: A classifier of transformers with `logits`.
        role: What errors call it.
    """

    exact: Tensor

    def __init__(self, model: Any, *, role: str = "target") -> None:
        super().__init__()
        # Whoever casts inputs to the type of the first parameter must not cast ids to 16 bits, which rounds them.
        self.exact = nn.Parameter(torch.empty(0), requires_grad=False)
        self.model, self.role = model, role
        config = model.config.get_text_config() if hasattr(model.config, "get_text_config") else model.config
        self._padding = getattr(config, "pad_token_id", None)
        self._vocabulary = int(config.vocab_size)
        self._longest = getattr(config, "max_position_embeddings", None)

    def forward(self, inputs: Tensor) -> Tensor:
        ids = inputs.long()
        if ids.ndim != 2 or not ids.numel():
            raise InvalidInput(f"{self.role} wants token ids (q, length), got {tuple(inputs.shape)}")
        low, high = int(ids.min()), int(ids.max())
        if low < 0 or high >= self._vocabulary:
            raise InvalidInput(f"{self.role} wants token ids from 0 to {self._vocabulary - 1}, got {low} to {high}")
        if isinstance(self._longest, int) and self._longest > 0 and ids.shape[1] > self._longest:
            raise InvalidInput(f"{self.role} wants at most {self._longest} tokens, got {ids.shape[1]}")
        mask = torch.ones_like(ids) if self._padding is None else (ids != self._padding).long()
        with forwarding(inputs, self.role):
            return logits_of(self.model(input_ids=ids, attention_mask=mask), self.role)


class PixelNetwork(nn.Module):
    """An image classifier asked about pixels (q, channels, height, width), or about sound (q, length).

    Args:
        model: A classifier of transformers with `logits`.
        processing: The settings of the image processor beside the model; then images are pixels from 0 to 255, which
            are resized, rescaled and normalised here. None if the inputs are what the network itself takes.
        role: What errors call it.

    Raises:
        InvalidInput: The settings ask for a step that is not known here.
    """

    def __init__(self, model: Any, *, processing: dict[str, Any] | None = None, role: str = "target") -> None:
        super().__init__()
        self.model, self.role = model, role
        self._size: tuple[Any, ...] | None = None
        self._filter = "bilinear"
        self._mean = self._std = None
        self._factor = 1.0
        self._processed = processing is not None
        self._judged = False  # Whether pixels above 1 were seen.
        if processing is not None:
            self._set(processing)

    def forward(self, inputs: Tensor) -> Tensor:
        images = inputs
        weight = next(self.model.parameters())
        if self._processed:
            images = self._pixels(inputs.float())
        with forwarding(inputs, self.role):
            outputs = self.model(**{self.model.main_input_name: images.to(weight.dtype)})
            return logits_of(outputs, self.role)

    def _set(self, processing: dict[str, Any]) -> None:
        for step in ("do_center_crop", "do_pad", "do_flip_channel_order", "crop_pct"):
            if processing.get(step):
                raise InvalidInput(
                    f"{self.role}: its image processor asks for {step}, which is not known here: process images in a "
                    f"function of your own, {OWN_CODE}"
                )
        size = processing.get("size")
        if processing.get("do_resize"):
            sides = (size.get("height"), size.get("width")) if isinstance(size, dict) else (size, size)
            if not all(isinstance(side, int) and 0 < side <= 4096 for side in sides):
                raise InvalidInput(
                    f"{self.role}: its image processor must name height and width, got size {shown(size)}: process "
                    f"images in a function of your own, {OWN_CODE}"
                )
            self._size = sides
            self._filter = FILTERS.get(processing.get("resample", 2), "bilinear")
        if processing.get("do_rescale", True):
            self._factor = float(processing.get("rescale_factor", 1 / 255))
        if processing.get("do_normalize"):
            self._mean, self._std = processing["image_mean"], processing["image_std"]

    def _pixels(self, images: Tensor) -> Tensor:
        if images.ndim != 4:
            raise InvalidInput(f"{self.role} wants images (q, channels, height, width), got {tuple(images.shape)}")
        channels = int(getattr(getattr(self.model, "config", None), "num_channels", 3))
        if images.shape[1] != channels and images.shape[3] == channels:
            images = images.permute(0, 3, 1, 2)  # Channels last, as pictures are stored.
        low, high = float(images.min()), float(images.max())
        self._judged = self._judged or high > 1
        if low < 0 or high > 255 or (not self._judged and len(images) >= FEWEST_JUDGED):
            raise InvalidInput(
                f"{self.role} wants pixels from 0 to 255, as its preprocessor_config.json says, got {low:.3g} to "
                f"{high:.3g}: give the pictures as they are, or remove that file if inputs are processed already"
            )
        if self._size is not None and tuple(images.shape[2:]) != self._size:
            smooth: dict[str, Any] = {} if self._filter == "nearest" else {"antialias": True, "align_corners": False}
            images = functional.interpolate(images, size=self._size, mode=self._filter, **smooth)
            images = images.round().clamp(0, 255)  # Pictures are resized in whole numbers.
        images = images * self._factor
        if self._mean is None or self._std is None:
            return images
        mean = torch.tensor(self._mean, device=images.device).reshape(1, -1, 1, 1)
        return (images - mean) / torch.tensor(self._std, device=images.device).reshape(1, -1, 1, 1)


class TextRows:
    """A text classifier with its tokenizer, asked about texts, or about arrays of token ids.

    Texts longer than the model can take are cut.

    Args:
        model: A classifier of transformers with `logits`.
        tokenizer: Its tokenizer.
        role: What errors call it.
    """

    def __init__(self, model: Any, tokenizer: Any, *, role: str = "target") -> None:
        self._network, self._tokenizer, self._role = TokenNetwork(model, role=role), tokenizer, role
        self.classes_ = names_of(model.config)
        limits = [getattr(tokenizer, "model_max_length", None), getattr(model.config, "max_position_embeddings", None)]
        known = [limit for limit in limits if isinstance(limit, int) and 0 < limit < 2**20]
        self._longest = min(known) if known else None
        if tokenizer.pad_token_id is None:
            raise InvalidInput(f"{role} must name a padding token, got a tokenizer without one: set pad_token and save")

    @property
    def network(self) -> TokenNetwork:
        """The network without the tokenizer, asked about token ids."""
        return self._network

    def predict(self, rows: Any) -> NDArray[Any]:
        """Labels (q,), as `classes_` names them."""
        return np.asarray(self.classes_[self._logits(rows).argmax(1).numpy()])

    def predict_proba(self, rows: Any) -> NDArray[np.float64]:
        """Probabilities (q, classes)."""
        return np.asarray(self._logits(rows).double().softmax(1).numpy())

    def _logits(self, rows: Any) -> Tensor:
        texts = _texts(rows)
        if not len(rows):
            raise InvalidInput("inputs must hold at least one row, got none")
        answers = []
        with evaluating(self._network), torch.inference_mode():
            device = next(self._network.model.parameters()).device
            for start in range(0, len(rows), TEXTS_AT_ONCE):
                if texts is None:
                    ids = torch.as_tensor(np.asarray(rows[start : start + TEXTS_AT_ONCE]))
                    answers.append(self._network(ids.to(device)).float().cpu())
                else:
                    answers.append(self._read(texts[start : start + TEXTS_AT_ONCE], device))
        return torch.cat(answers)

    def _read(self, texts: Sequence[str], device: torch.device) -> Tensor:
        tokens = self._tokenizer(
            list(texts), padding=True, truncation=self._longest is not None, max_length=self._longest,
            return_tensors="pt",
        )  # fmt: skip
        with forwarding(tokens["input_ids"], self._role):
            return logits_of(self._network.model(**tokens.to(device)), self._role).float().cpu()


def is_transformer(model: object) -> bool:
    """Whether this is a model of transformers."""
    return comes_from(model, "transformers") and isinstance(model, nn.Module)


def is_pipeline(model: object) -> bool:
    """Whether this is a pipeline of transformers."""
    return comes_from(model, "transformers") and hasattr(model, "tokenizer") and hasattr(model, "model")


def plain_transformer(model: Any, role: str) -> nn.Module:
    """The classifier as a torch module, asked about what the network itself takes: token ids, or processed pixels.

    Token ids (q, t) or pixels (q, c, height, width) become logits (q, classes).

    Raises:
        InvalidInput: It has another head, is a regressor, or has several labels for each row.

    Example:
        >>> import torch, transformers
        >>> from hardlabel.targets.frameworks.huggingface import plain_transformer
        >>> config = transformers.BertConfig(
        ...     vocab_size=16, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, num_labels=3
        ... )
        >>> network = plain_transformer(transformers.BertForSequenceClassification(config).eval(), "target")
        >>> network(torch.ones(2, 5)).shape
        torch.Size([2, 3])
    """
    check_classifier(model, role)
    return TokenNetwork(model, role=role) if model.main_input_name == "input_ids" else PixelNetwork(model, role=role)


def plain_pipeline(model: Any, role: str) -> TextRows:
    """A pipeline for texts as an object with `predict`, `predict_proba` and `classes_`.

    Texts, q of them, become labels (q,) and probabilities (q, classes).

    Raises:
        InvalidInput: It is no pipeline for texts, or no classifier.

    Example:
        >>> import transformers
        >>> from tokenizers import Tokenizer, models, pre_tokenizers
        >>> from hardlabel.targets.frameworks.huggingface import plain_pipeline
        >>> words = Tokenizer(models.WordLevel({"[PAD]": 0, "[UNK]": 1, "good": 2, "bad": 3}, unk_token="[UNK]"))
        >>> words.pre_tokenizer = pre_tokenizers.Whitespace()
        >>> tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=words, pad_token="[PAD]")
        >>> config = transformers.BertConfig(
        ...     vocab_size=4, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8
        ... )
        >>> model = transformers.BertForSequenceClassification(config).eval()
        >>> texts = transformers.pipeline("text-classification", model=model, tokenizer=tokenizer)
        >>> plain_pipeline(texts, "target").predict_proba(["good", "not bad"]).shape
        (2, 2)
    """
    if getattr(model, "task", None) != "text-classification" or model.tokenizer is None:
        raise not_classifier(role, f"a pipeline for {shown(getattr(model, 'task', None))}", "give pipeline.model")
    check_classifier(model.model, role)
    return TextRows(model.model, model.tokenizer, role=role)


def check_classifier(model: Any, role: str) -> None:
    """Refuses a model of transformers that does not answer each row with one class.

    Raises:
        InvalidInput: It has another head, is a regressor, or has several labels for each row.
    """
    name, config = type(model).__name__, model.config
    if not any(head in kind.__name__ for kind in type(model).__mro__ for head in HEADS):
        raise not_classifier(role, name, f"load it as Auto{HEADS[0]}, or give a function of your own, {OWN_CODE}")
    problem = getattr(config, "problem_type", None)
    if problem == "regression" or int(config.num_labels) < 2:
        raise not_classifier(role, f"{name} with problem_type regression")
    if problem == "multi_label_classification":
        raise not_classifier(role, f"{name} with problem_type {problem}", "audit one model for each label")


def names_of(config: Any) -> NDArray[Any]:
    """The classes of a configuration: their names, or numbers from 0 where they have no names of their own."""
    names = [config.id2label.get(place) for place in range(int(config.num_labels))]
    if names == [f"LABEL_{place}" for place in range(len(names))] or None in names:
        return np.arange(len(names))
    return np.array(names, dtype=object)


def _texts(rows: Any) -> list[str] | None:
    """Rows as texts; None if they are numbers."""
    if hasattr(rows, "columns"):
        if len(rows.columns) != 1:
            raise InvalidInput(f"texts must lie in one column, got {len(rows.columns)}")
        rows = rows.iloc[:, 0]
    if isinstance(rows, Tensor) or np.asarray(rows).dtype.kind in "biuf":
        return None
    texts = np.asarray(rows, dtype=object).reshape(-1).tolist()
    bad = [row for row, text in enumerate(texts) if not isinstance(text, str)]
    if bad:
        raise InvalidInput(f"texts must be str, got {shown(texts[bad[0]])} in row {bad[0]}, the first of {len(bad)}")
    return texts
