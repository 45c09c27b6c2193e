"""Trade time for memory: a layer's activations are forgotten after the forward pass and recomputed for the backward."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint


def run_layer(layer: Callable[..., Tensor], *inputs: Any, recompute: bool) -> Tensor:
    """Apply a layer; with ``recompute``, keep only its inputs for the backward pass.

    Random numbers and autocast are as they were in the first pass, so that loss and gradients are the same, bit for
    bit (Chen et al. 2016, Training deep nets with sublinear memory cost, arXiv 1604.06174). Without gradients nothing
    is kept anyway, and the layer is simply applied.
    """
    if recompute and torch.is_grad_enabled():
        output: Tensor = checkpoint(layer, *inputs, use_reentrant=False, preserve_rng_state=True)
        return output
    return layer(*inputs)
