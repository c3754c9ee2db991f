"""FLOOR 1: functions on tensors, and the online convolution with its state. No modules, no configuration.

The alphabet, the same in every room: B batch, L sequence, D channels, K filter taps, G filter groups (D / G consecutive
channels share a filter), N Hyena order, H heads, P head width, V rows of the head. Convolutions speak (B, D, L), modules
(B, L, D).
"""

from hyena.ops.costs import Costs
from hyena.ops.hyena_conv import hyena_conv
from hyena.ops.long_conv import long_conv, prepare
from hyena.ops.modal import modal_taps
from hyena.ops.plan import Plan, plan
from hyena.ops.projected import projected_hyena_conv
from hyena.ops.spectrum import Spectrum
from hyena.ops.window import windowed

__all__ = [
    "Costs",
    "Plan",
    "Spectrum",
    "hyena_conv",
    "long_conv",
    "modal_taps",
    "plan",
    "prepare",
    "projected_hyena_conv",
    "windowed",
]
