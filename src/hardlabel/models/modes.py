"""Networks in evaluation mode for a while, whatever mode their owner left them in."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluating(*models: nn.Module) -> Iterator[None]:
    """Puts networks in evaluation mode, and each of their modules back into its own mode after.

    Module by module, for some may deliberately be in another mode than the whole: a frozen normalisation.
    """
    training = [module for model in models for module in model.modules() if module.training]
    if training:
        for model in models:
            model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
