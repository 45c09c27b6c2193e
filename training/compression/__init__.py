"""Gradients in few bits: quantizers, adapted levels and the exchange of codes between ranks."""

from training.compression.adaptive import ALQ, AMQ
from training.compression.codec import Cast
from training.compression.hook import GradientExchange, compress_gradients
from training.compression.layerwise import LayerWise
from training.compression.quantizer import Codes, Quantizer
from training.compression.quantizers import NUQSGD, QSGD, Ternary
from training.compression.sharded import ShardedExchange, compress_reduce_scatter

__all__ = [
    "ALQ",
    "AMQ",
    "NUQSGD",
    "QSGD",
    "Cast",
    "Codes",
    "GradientExchange",
    "LayerWise",
    "Quantizer",
    "ShardedExchange",
    "Ternary",
    "compress_gradients",
    "compress_reduce_scatter",
]
