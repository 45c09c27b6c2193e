"""How much of each Fourier mode a codec leaves: the error that an optimizer of Adam's kind feels.

The relative error of a whole gradient is that of its largest modes. Adam divides each weight by its own gradient's
size, so that small modes count as much, and a codec may look fine in total while it drowns them.
"""

import torch
from torch import Tensor

from training.compression.codec import Codec
from training.compression.keys import stream_key


def mode_errors(gradient: Tensor, codec: Codec, *, seed: int) -> Tensor:
    """Relative squared error of one encoding, mode by mode.

    Parameters
    ----------
    gradient
        Mode-major spectral gradient ``[*modes, in, out, 2]``; of a matrix ``[out, in]``, rows take the place of modes.

    Returns
    -------
    Tensor
        ``[modes]``; modes without any gradient are left out.
    """
    flat = gradient.detach().contiguous().flatten()
    message = torch.empty(codec.nbytes(flat.numel()), dtype=torch.uint8, device=flat.device)
    codec.encode(flat, message, key=stream_key(seed))
    decoded = torch.empty_like(flat)
    codec.decode(message, decoded)
    blocks = gradient.shape[:-3] if gradient.dim() > 3 else gradient.shape[:1]
    rows = blocks.numel()
    size = flat.reshape(rows, -1).square().sum(1)
    error = (decoded - flat).reshape(rows, -1).square().sum(1)
    return (error / size)[size > 0]
