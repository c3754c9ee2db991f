"""The kernel's functions that take one token through a gated convolution or its whole block. Mirrors native/abi.h."""

import ctypes
from collections.abc import Iterable

import torch
from torch import Tensor

from hyena.ops.native.calls import done, loaded

_I64, _POINTER = ctypes.c_int64, ctypes.c_void_p
ACTIVATIONS = {"identity": 0, "gelu": 1, "gelu_tanh": 2, "relu": 3, "silu": 4}
"""Those that a block may have, by their number."""


class Step(ctypes.Structure):
    """Arguments of one token of a gated convolution."""

    _fields_ = (
        *((name, _I64) for name in ("B", "D", "K", "S", "P", "H", "threads")),
        *((name, _POINTER) for name in ("taps", "bias", "lam", "read", "now", "head", "skip")),
        *((name, _POINTER) for name in ("window", "kept", "modes", "x", "u", "y")),
    )


class Linear(ctypes.Structure):
    """Weight and bias."""

    _fields_ = (("weight", _POINTER), ("bias", _POINTER))


class Norm(ctypes.Structure):
    """Weight, bias, epsilon and where it stands."""

    _fields_ = (("weight", _POINTER), ("bias", _POINTER), ("eps", ctypes.c_double), ("outside", _I64))


class Block(ctypes.Structure):
    """Arguments of one token of a block."""

    _fields_ = (
        ("step", Step),
        *((name, Norm) for name in ("mixer_norm", "mlp_norm")),
        *((name, Linear) for name in ("in_", "mixed", "gate", "up", "down")),
        *((name, _I64) for name in ("hidden", "activation")),
        *((name, _POINTER) for name in ("x", "out")),
    )


def addresses(tensors: Iterable[Tensor | None]) -> list[int | None]:
    """Where contiguous tensors are; they must outlive whatever reads there."""
    return [None if t is None else t.data_ptr() for t in tensors]


def peek(s: Step, dtype: torch.dtype) -> None:
    """u and y of x."""
    done(loaded().hyena_step_peek(ctypes.byref(s), dtype == torch.float64))


def commit(s: Step, dtype: torch.dtype) -> None:
    """The state takes in x and u."""
    done(loaded().hyena_step_commit(ctypes.byref(s), dtype == torch.float64))


def extend(b: Block, dtype: torch.dtype) -> None:
    """`out` of x, and the state takes the token in."""
    done(loaded().hyena_block(ctypes.byref(b), dtype == torch.float64))
