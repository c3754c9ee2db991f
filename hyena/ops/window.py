"""The window of an implicit filter as one operator: made while it is applied, and made again for the gradient, never kept."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from hyena.ops import kernel
from hyena.ops.native import calls

_PIECE = 4096
"""Taps whose window is made at a time where there is no kernel."""


def windowed(
    taps: Float[Tensor, "G K"], decay: Float[Tensor, "G"], t: Float[Tensor, "K"], shift: float
) -> Float[Tensor, "G K"]:
    """taps * (exp(-|decay| t) + shift), one decay a filter (arXiv 2302.10866, section 3.3), in float32 or float64.

    Differentiable with respect to the taps; decay and t are constants.
    """
    return window_op(taps, decay, t, shift)


@torch.no_grad()
def windowed_(
    taps: Float[Tensor, "G K"], decay: Float[Tensor, "G"], t: Float[Tensor, "K"], shift: float
) -> Float[Tensor, "G K"]:
    """The same in place, for contiguous taps and inference."""
    if taps.device.type == "cpu" and taps.dtype == decay.dtype == t.dtype and kernel.available():
        return calls.window(taps, decay, t, shift, out=taps)
    for start in range(0, taps.shape[1], _PIECE):
        piece = slice(start, start + _PIECE)
        taps[:, piece] *= torch.exp(-decay.abs()[:, None] * t[piece]) + shift
    return taps


@torch.library.custom_op("hyena::window", mutates_args=())
def window_op(taps: Tensor, decay: Tensor, t: Tensor, shift: float) -> Tensor:
    """The operator; its own gradient, as it is linear in the taps."""
    if taps.device.type == "cpu" and taps.dtype == decay.dtype == t.dtype and kernel.available():
        return calls.window(taps, decay, t, shift)
    return taps * (torch.exp(-decay.abs()[:, None] * t) + shift)


@window_op.register_fake
def _(taps: Tensor, decay: Tensor, t: Tensor, shift: float) -> Tensor:
    return taps.new_empty(taps.shape)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    _, decay, t, ctx.shift = inputs
    ctx.save_for_backward(decay, t)


def _backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
    return window_op(g, *ctx.saved_tensors, ctx.shift), None, None, None


window_op.register_autograd(_backward, setup_context=_setup_context)
