"""Optimizers of the communication-efficient training line."""

from training.optim.qgenx import QGenX
from training.optim.qoda import QODA
from training.optim.sgdem import SGDEM
from training.optim.two_phase import TwoPhase

__all__ = ["QODA", "SGDEM", "QGenX", "TwoPhase"]
