"""Gradients of networks in the ids they are given: taken where the network embeds them."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from hardlabel.checks import InvalidInput


def id_gradient(
    network: nn.Module, ids: Tensor, vocabulary: int, gain: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor]:
    """The gradient of gains at the embedded ids, and the vectors of all ids.

    Args:
        network: Has a `torch.nn.Embedding` of at least `vocabulary` rows; the first such layer embeds the ids.
        ids: What the network is given, (n, t).
        vocabulary: Number of ids.
        gain: The gains (n,) of the network at what it is called with.

    Returns:
        The gradient (n, t, w) and the vectors (vocabulary, w), both float64.

    Raises:
        InvalidInput: The network has no such layer, or the layer is not called with the ids.
    """
    layers = (layer for layer in network.modules() if isinstance(layer, nn.Embedding))
    embedding = next((layer for layer in layers if layer.num_embeddings >= vocabulary), None)
    if embedding is None:
        raise InvalidInput(
            f"crafters for tokens must have a torch.nn.Embedding of the {vocabulary} ids, whose gradient says which id "
            f"to put in, got {type(network).__name__} without it: train them by 'embedding-{vocabulary}'"
        )
    leaves: list[Tensor] = []

    def tap(layer: nn.Module, given: object, vectors: Tensor) -> Tensor:
        del layer, given
        leaves.append(vectors.detach().requires_grad_())
        return leaves[-1]

    hook = embedding.register_forward_hook(tap)
    try:
        with torch.enable_grad():
            gains = gain(ids)
            if len(leaves) != 1 or leaves[0].shape[:-1] != ids.shape:
                shapes = [tuple(leaf.shape) for leaf in leaves]
                raise InvalidInput(
                    f"crafters for tokens must embed each of the ids {tuple(ids.shape)} once, got vectors {shapes}"
                )
            (gradient,) = torch.autograd.grad(gains.sum(), leaves[0])
    finally:
        hook.remove()
    return gradient.double(), embedding.weight.detach()[:vocabulary].double()
