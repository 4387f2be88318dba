"""The networks targets, shadows and surrogates are made of, by name; a seed fixes their first weights.

Every network is a sequence whose last layer is linear: inputs float32 (n, *shape) to logits (n, classes).
Weights start as PyTorch starts them, but for residual networks and the vectors of ids.
"""

import re

import torch
from torch import Tensor, nn

from hardlabel import checks
from hardlabel.checks import InvalidInput
from hardlabel.data.domain import Domain
from hardlabel.data.tokens import Tokens
from hardlabel.randomness import derive

ARCHITECTURES = {
    "cnn": "the paper's network for images: four 3x3 convolutions with two poolings, 512 dense, ReLU",
    "cnn1d": "for series: three convolutions along time, their mean over time, 128 dense, ReLU",
    "fc": "the paper's network for vectors: one hidden layer of 128 tanh units (fc-2, fc-3, ... have more)",
    "resnet18": "ResNet-18 for small images: 3x3 stem without pooling, batch normalisation",
    "resnet8": "a small residual network: three blocks of 16, 32 and 64 channels, else as ResNet-18",
    "logistic": "logistic regression: one linear layer",
}

SMALLEST_CNN_SIDE = 16  # Smaller pictures get the fully connected network by default.
SMALLEST_CNN1D_LENGTH = 8  # Steps of a series; shorter ones get the fully connected network by default.
_SMALLEST_SIDE = {"cnn": 10, "resnet18": 8, "resnet8": 8}  # Below, a pooling or a stage would have no pixel left.
_RESIDUAL = {"resnet18": ((64, 128, 256, 512), 2), "resnet8": ((16, 32, 64), 1)}  # Channels of stages, blocks of each.
_HIDDEN_UNITS = 128
_DEEPER = ("fc-2", "fc-3")  # Examples of names with a number, for errors.
_FC = re.compile(r"fc-([1-9]\d?)")
_EMBEDDING = re.compile(r"embedding-([1-9]\d{0,7})(?:-(\d{1,8}))?")
_EMBEDDING_WIDTH, _EMBEDDING_SPREAD = 32, 0.1


def build(name: str, *, shape: tuple[int, ...], classes: int, seed: int) -> nn.Sequential:
    """A new network with weights fixed by `seed`, on the CPU; the global generator is left as it was.

    Args:
        name: One of ARCHITECTURES, or "fc-N" for N hidden layers, 1 to 99 ("fc" is "fc-1"). For sequences of token ids
            "embedding-N", N the number of ids, or "embedding-N-P" where id P is padding.
        shape: One sample's: (C, H, W) for images, (t,) or (t, c) for series, any for fc and logistic, which flatten it.
        classes: Number of logits, 2 or more.
        seed: Fixes the first weights and nothing else.

    Raises:
        InvalidInput: An unknown name, fewer than two classes, or a shape the network cannot take.
    """
    check_name(name)
    checks.at_least(2, classes=classes)
    _check_shape(name, shape)
    with torch.random.fork_rng(devices=[]):
        # Not torch.manual_seed, which would also reseed every GPU.
        torch.default_generator.manual_seed(derive(seed, "first weights"))
        if name == "cnn":
            return _cnn(shape, classes)
        if name in _RESIDUAL:
            return _residual(shape[0], classes, *_RESIDUAL[name])
        if name == "cnn1d":
            return _cnn1d(shape[1] if len(shape) == 2 else 1, classes)
        if of_tokens := _EMBEDDING.fullmatch(name):
            vocabulary, padding = int(of_tokens[1]), None if of_tokens[2] is None else int(of_tokens[2])
            return _embedding(vocabulary, padding, classes)
        return _fully_connected(_hidden_layers(name), int(torch.Size(shape).numel()), classes)


def usual_architecture(domain: Domain) -> str:
    """ "cnn" for images of SMALLEST_CNN_SIDE pixels and more, "cnn1d" for series that are long enough for it,
    "embedding-..." for tokens, "fc" for all else."""
    if isinstance(domain, Tokens):
        padding = "" if domain.padding is None else f"-{domain.padding}"
        return f"embedding-{domain.vocabulary}{padding}"
    if domain.kind == "series":
        return "cnn1d" if domain.shape[0] >= SMALLEST_CNN1D_LENGTH else "fc"
    large = domain.kind == "image" and min(domain.shape[1:]) >= SMALLEST_CNN_SIDE
    return "cnn" if large else "fc"


def convolves(name: str) -> bool:
    """Whether the network's time goes to convolutions."""
    return name == "cnn" or normalises(name)


def normalises(name: str) -> bool:
    """Whether the network keeps running statistics of its batches."""
    return name in _RESIDUAL


def check_name(name: str, *, argument: str = "architecture") -> None:
    """Refuses a name that `build` does not know, and offers the nearest one; `argument` is what the error calls it."""
    if not isinstance(name, str) or not (_FC.fullmatch(name) or _EMBEDDING.fullmatch(name)):
        if isinstance(name, str) and name.startswith("embedding"):
            raise InvalidInput(
                f"{argument} must tell the number of ids, as 'embedding-5000' does, and which is padding, as "
                f"'embedding-5000-0' does, got {name!r}"
            )
        checks.one_of((*ARCHITECTURES, *_DEEPER), **{argument: name})


def penultimate(model: nn.Sequential, inputs: Tensor) -> Tensor:
    """What the last layer of a network made by `build` sees of `inputs`: features (n, width)."""
    features: Tensor = model[:-1](inputs)
    return features


def _hidden_layers(name: str) -> int:
    numbered = _FC.fullmatch(name)
    return int(numbered[1]) if numbered else int(name == "fc")


def _check_shape(name: str, shape: tuple[int, ...]) -> None:
    if not shape or min(shape) < 1:
        raise InvalidInput(f"shape must list positive sizes, got {shape}")
    if _EMBEDDING.fullmatch(name) and len(shape) != 1:
        raise InvalidInput(f"shape must be (positions,) for architecture {name!r}, got {shape}")
    if name == "cnn1d" and (len(shape) > 2 or shape[0] < SMALLEST_CNN1D_LENGTH):
        raise InvalidInput(
            f"shape must be (steps,) or (steps, channels) with at least {SMALLEST_CNN1D_LENGTH} steps for architecture "
            f"'cnn1d', got {shape}"
        )
    smallest = _SMALLEST_SIDE.get(name)
    if smallest and (len(shape) != 3 or min(shape[1:]) < smallest):
        raise InvalidInput(
            f"shape must be (channels, height, width) of at least {smallest} x {smallest} pixels "
            f"for architecture {name!r}, got {shape}"
        )


def _cnn(shape: tuple[int, ...], classes: int) -> nn.Sequential:
    channels, height, width = shape
    across, down = (((side - 2) // 2 - 2) // 2 for side in (width, height))
    return nn.Sequential(
        nn.Conv2d(channels, 32, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 32, 3),
        nn.MaxPool2d(2),  # Before the ReLU: the same values and gradients for a quarter of the work.
        nn.ReLU(),
        nn.Conv2d(32, 64, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(64, 64, 3),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(64 * across * down, 512),
        nn.ReLU(),
        nn.Linear(512, classes),
    )


def _cnn1d(channels: int, classes: int) -> nn.Sequential:
    return nn.Sequential(
        _ChannelsSecond(),
        nn.Conv1d(channels, 32, 7, padding=3),
        nn.ReLU(),
        nn.Conv1d(32, 64, 5, padding=2),
        nn.MaxPool1d(2),  # Before the ReLU, as in the network for images.
        nn.ReLU(),
        nn.Conv1d(64, 64, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool1d(1),
        nn.Flatten(),
        nn.Linear(64, _HIDDEN_UNITS),
        nn.ReLU(),
        nn.Linear(_HIDDEN_UNITS, classes),
    )


class _ChannelsSecond(nn.Module):
    """Series as convolutions take them."""

    def forward(self, inputs: Tensor) -> Tensor:
        """(n, t) to (n, 1, t); (n, t, c) to (n, c, t)."""
        return inputs[:, None] if inputs.ndim == 2 else inputs.transpose(1, 2)


def _fully_connected(hidden_layers: int, inputs: int, classes: int) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Flatten()]
    width = inputs
    for _ in range(hidden_layers):
        layers += [nn.Linear(width, _HIDDEN_UNITS), nn.Tanh()]
        width = _HIDDEN_UNITS
    return nn.Sequential(*layers, nn.Linear(width, classes))


def _embedding(vocabulary: int, padding: int | None, classes: int) -> nn.Sequential:
    if padding is not None and padding >= vocabulary:
        raise InvalidInput(f"padding of an embedding must be below its {vocabulary} ids, got {padding}")
    return nn.Sequential(
        _MeanEmbedding(vocabulary, _EMBEDDING_WIDTH, padding),
        nn.Linear(_EMBEDDING_WIDTH, _HIDDEN_UNITS),
        nn.Tanh(),
        nn.Linear(_HIDDEN_UNITS, classes),
    )


class _MeanEmbedding(nn.Module):
    """The mean of the vectors of all ids but padding; 0 where there is nothing else."""

    def __init__(self, vocabulary: int, width: int, padding: int | None) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width, padding_idx=padding)
        # Small, so that an id of which training says nothing counts for little.
        nn.init.normal_(self.embedding.weight, std=_EMBEDDING_SPREAD)
        if padding is not None:
            nn.init.zeros_(self.embedding.weight[padding])
        self.padding = padding

    def forward(self, inputs: Tensor) -> Tensor:
        """Ids (n, t), whole numbers of any type, to means (n, width)."""
        ids = inputs.long()
        vectors: Tensor = self.embedding(ids)
        if self.padding is None:
            return vectors.mean(1)
        shown = (ids != self.padding).to(vectors.dtype)
        return (vectors * shown[..., None]).sum(1) / shown.sum(1, keepdim=True).clamp_min(1)


def _residual(channels: int, classes: int, widths: tuple[int, ...], blocks: int) -> nn.Sequential:
    """As He et al. (2016) for small images; every stage but the first halves the image in its first block."""
    first, last = widths[0], widths[-1]
    stages: list[nn.Module] = []
    for narrow, wide in zip((first, *widths), widths, strict=False):
        stages.append(_ResidualBlock(narrow, wide, stride=1 if narrow == wide else 2))
        stages += [_ResidualBlock(wide, wide, stride=1) for _ in range(blocks - 1)]
    stem = [_convolution(channels, first, 3, 1), nn.BatchNorm2d(first), nn.ReLU()]
    model = nn.Sequential(*stem, *stages, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(last, classes))
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):  # As He et al. (2015) start rectifier networks.
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return model


class _ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut (He et al. 2016, "basic block"); only the first has the stride."""

    def __init__(self, narrow: int, wide: int, stride: int) -> None:
        super().__init__()
        self.path = nn.Sequential(
            _convolution(narrow, wide, 3, stride),
            nn.BatchNorm2d(wide),
            nn.ReLU(),
            _convolution(wide, wide, 3, 1),
            nn.BatchNorm2d(wide),
        )
        same_form = narrow == wide and stride == 1
        self.shortcut = (
            nn.Identity() if same_form else nn.Sequential(_convolution(narrow, wide, 1, stride), nn.BatchNorm2d(wide))
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """(n, narrow, h, w) to (n, wide, ceil(h / stride), ceil(w / stride))."""
        return torch.relu(self.path(inputs) + self.shortcut(inputs))


def _convolution(narrow: int, wide: int, side: int, stride: int) -> nn.Conv2d:
    # No bias: the normalisation that follows has one.
    return nn.Conv2d(narrow, wide, side, stride=stride, padding=side // 2, bias=False)
