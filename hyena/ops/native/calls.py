"""The kernel's functions on tensors. Mirrors native/abi.h; nothing here decides or checks.

A transform of N points serves rows of any length: a longer row is worked in blocks of N. N = 0 means tap by tap.
"""

import ctypes
import functools
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from hyena.errors import HyenaError
from hyena.ops.native.library import library, status

_I64, _POINTER = ctypes.c_int64, ctypes.c_void_p
_DTYPES = {torch.float32: 0, torch.float64: 1, torch.bfloat16: 2, torch.float16: 3}
_LARGE = 2**22
LONGEST = 2**30
"""Tokens of a row and points of a transform at most: indices of a transform's constants must stay exact."""


class _Tensor(ctypes.Structure):
    _fields_ = (("data", _POINTER), ("dtype", _I64), ("b", _I64), ("d", _I64), ("l", _I64))


class _Short(ctypes.Structure):
    _fields_ = (("taps", _POINTER), ("bias", _POINTER), ("offset", _POINTER))


class _Conv(ctypes.Structure):
    _fields_ = (
        *((name, _I64) for name in ("B", "D", "L", "G", "K", "N", "S", "threads")),
        *((name, _Tensor) for name in ("u", "pre", "post", "y", "h")),
        *((name, _POINTER) for name in ("spectrum", "skip")),
        *((name, _Short) for name in ("short_u", "short_pre", "short_post")),
    )


class _Gradient(ctypes.Structure):
    _fields_ = (
        *((name, _Tensor) for name in ("gy", "gu", "gpre", "gpost")),
        *((name, _POINTER) for name in ("gh", "gskip")),
        *((f"g{what}_{of}", _POINTER) for of in ("u", "pre", "post") for what in ("taps", "bias", "offset")),
    )


class Short(NamedTuple):
    """A short convolution: taps (D, S), bias (D,), and offset (D,) that is added to the signal first; None: none.

    Contiguous, in the dtype of the computation.
    """

    taps: Tensor
    bias: Tensor | None
    offset: Tensor | None


class Signals(NamedTuple):
    """u, pre and post (B, D, L), and the short convolutions (u's, pre's, post's) that they pass first, or None."""

    u: Tensor
    pre: Tensor | None
    post: Tensor | None
    shorts: tuple[Short, Short, Short] | None = None


class Filter(NamedTuple):
    """Taps h (G, K), their spectrum (G, 2 N) where it was prepared, N, and skip (D,) in the dtype of the computation."""

    h: Tensor
    spectrum: Tensor | None
    N: int
    skip: Tensor | None


def fresh(t: Tensor) -> Tensor:
    """t itself, fresh from its allocation, with huge pages where it is large and the system has them."""
    if t.nbytes >= _LARGE and t.device.type == "cpu" and library() is not None:
        loaded().hyena_advise(t.data_ptr(), t.nbytes)
    return t


def good_length(n: int, dtype: torch.dtype) -> int:
    """Points of the shortest transform of at least n points."""
    return int(loaded().hyena_good_length(n, dtype == torch.float64))


def spectrum(h: Tensor, N: int) -> Tensor:
    """The transform of taps h (G, K), K <= N, in h's dtype: (G, 2 N) numbers in the kernel's own order, divided by N."""
    G, K = h.shape
    out = fresh(h.new_empty(G, 2 * N))
    conv = _Conv(B=1, D=G, L=N, G=G, K=K, N=N, S=0, threads=torch.get_num_threads())
    conv.h = _tensor(h[None])
    done(loaded().hyena_spectrum(ctypes.byref(conv), _address(out), h.dtype == torch.float64))
    return out


def window(raw: Tensor, decay: Tensor, t: Tensor, shift: float, out: Tensor | None = None) -> Tensor:
    """raw (G, K) times (exp(-|decay| t) + shift), decay (G,) and t (K,), in their one dtype; out: room, or raw itself."""
    raw, decay, t = raw.contiguous(), decay.contiguous(), t.contiguous()
    out = fresh(torch.empty_like(raw)) if out is None else out
    addresses = (raw.data_ptr(), decay.data_ptr(), t.data_ptr())
    wide = raw.dtype == torch.float64
    done(loaded().hyena_window(*addresses, *raw.shape, shift, torch.get_num_threads(), out.data_ptr(), wide))
    return out


def gelu(x: Tensor, bias: Tensor | None) -> None:
    """x (n, D) = GELU, in its tanh form, of x + bias (D,), in place; contiguous and of one dtype."""
    wide = x.dtype == torch.float64
    done(loaded().hyena_gelu(x.data_ptr(), _address(bias), *x.shape, torch.get_num_threads(), wide))


def forward(x: Signals, f: Filter, y: Tensor, dtype: torch.dtype) -> None:
    """y (B, D, L) = post (h conv (pre u) + skip pre u), each signal through its short convolution first; computed in dtype."""
    conv = _conv(x, f)
    conv.y = _tensor(y)
    done(loaded().hyena_forward(ctypes.byref(conv), dtype == torch.float64))


def backward(
    x: Signals,
    f: Filter,
    gy: Tensor,
    signals: Sequence[Tensor | None],
    filters: Sequence[Tensor | None],
    shorts: Sequence[Tensor | None],
    dtype: torch.dtype,
) -> None:
    """Gradients for gy (B, D, L) into what is given, None where not wanted.

    signals: of u, pre, post (B, D, L); filters: of h (G, K) and skip (D,); shorts: of the short convolutions' taps (D, S), bias
    (D,) and offset (D,), u's, pre's and post's. The last two contiguous and in dtype.
    """
    conv = _conv(x, f)
    grads = [_tensor(t) for t in (gy, *signals)] + [_address(t) for t in (*filters, *shorts)]
    grads += [None] * (len(_Gradient._fields_) - len(grads))
    done(loaded().hyena_backward(ctypes.byref(conv), ctypes.byref(_Gradient(*grads)), dtype == torch.float64))


def _conv(x: Signals, f: Filter) -> _Conv:
    (B, D, L), (G, K) = x.u.shape, f.h.shape
    conv = _Conv(B=B, D=D, L=L, G=G, K=K, N=f.N, S=0, threads=torch.get_num_threads())
    conv.u, conv.pre, conv.post, conv.h = _tensor(x.u), _tensor(x.pre), _tensor(x.post), _tensor(f.h[None])
    conv.spectrum, conv.skip = _address(f.spectrum), _address(f.skip)
    if x.shorts is not None:
        conv.S = x.shorts[0].taps.shape[1]
        conv.short_u, conv.short_pre, conv.short_post = (_Short(*map(_address, s)) for s in x.shorts)
    return conv


def _tensor(t: Tensor | None) -> _Tensor:
    return _Tensor() if t is None else _Tensor(t.data_ptr(), _DTYPES[t.dtype], *t.stride())


def _address(t: Tensor | None) -> int | None:
    return None if t is None else t.data_ptr()


def loaded() -> ctypes.CDLL:
    """The library in use, its functions' types declared; `HyenaError` where there is none."""
    found = library()
    if found is None:
        raise HyenaError(f"there is no native kernel here ({status().reason}): use backend='auto'")
    return _declared(found)


@functools.cache
def _declared(library: ctypes.CDLL) -> ctypes.CDLL:
    """The library with its functions' types: undeclared, ctypes would cut an address to 32 bits."""
    wide = ctypes.c_int
    library.hyena_good_length.restype = _I64
    library.hyena_good_length.argtypes = (_I64, wide)
    library.hyena_advise.restype, library.hyena_advise.argtypes = None, (_POINTER, _I64)
    library.hyena_spectrum.argtypes = (ctypes.POINTER(_Conv), _POINTER, wide)
    library.hyena_window.argtypes = (*3 * (_POINTER,), _I64, _I64, ctypes.c_double, ctypes.c_int, _POINTER, wide)
    library.hyena_gelu.argtypes = (_POINTER, _POINTER, _I64, _I64, ctypes.c_int, wide)
    library.hyena_forward.argtypes = (ctypes.POINTER(_Conv), wide)
    library.hyena_backward.argtypes = (ctypes.POINTER(_Conv), ctypes.POINTER(_Gradient), wide)
    for name in ("hyena_step_peek", "hyena_step_commit", "hyena_block"):  # what they take is in `tokens`
        getattr(library, name).argtypes = (_POINTER, wide)
    return library


def done(code: int) -> None:
    """Raise what a status code of the kernel stands for."""
    if code == 1:
        raise HyenaError("the native kernel ran out of memory for its workspace: use shorter sequences or fewer threads")
    if code:
        raise HyenaError("the native kernel refused its arguments: this is an error of hyena, please report it")
