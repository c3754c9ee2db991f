"""The compiled kernel as two backends of the long convolution on a CPU: `native` transforms, `fir` works tap by tap.

Gates, skip, precision, layouts and threads are the kernel's affair: a row is read once and written once. Before the first use
its results are compared with the definition; a kernel that is wrong on this machine is switched off, loudly.
"""

import functools

import torch
from torch import Tensor

from hyena.errors import HyenaError
from hyena.ops import native
from hyena.ops.beginning import beginnings
from hyena.ops.native import calls
from hyena.ops.native.calls import LONGEST, Filter, Short, Signals
from hyena.ops.taps import Taps

KERNELS = ("native", "fir")
ALIGNMENT = 64
"""Bytes of the largest register."""
BLOCK = 256
"""Points of a block at least: a shorter transform costs no less a point."""
WHOLE = 16
"""With gradients, a filter of at least 1 / WHOLE of the sequence is worked in one transform: blocks take five for its four."""


def available() -> bool:
    """Whether there is a kernel that passed its check on this machine."""
    _checked()
    return native.library() is not None


@functools.cache
def _checked() -> None:
    """Compare the kernel with the definition, once a process; a mismatch disables it with a warning."""
    from hyena.ops.kernel_check import mismatch

    if native.library() is None:
        return
    found = mismatch()
    if found is not None:
        native.disable(f"its self-check failed, {found}")


def points(L: int, K: int, gradient: bool) -> int:
    """N to ask for: the whole sequence in one transform, or blocks as short as the filter lets them be."""
    K = min(K, L)
    return L if 2 * K >= L or (gradient and WHOLE * K >= L) else min(L, max(K, BLOCK))


def rounded(n: int) -> int:
    """The next length that the kernel's transforms have, on registers of 32 bytes: 1, 3 or 5 times a power of two."""
    return min(odd * max(64, 2 ** max(0, -(-n // odd) - 1).bit_length()) for odd in (1, 3, 5))


def transform(h: Tensor, length: int, backend: str) -> Taps:
    """Taps (G, K) in the dtype of the computation with what the backend prepares of them."""
    _require()
    h = h[:, :length]
    if backend == "fir":
        return Taps(h)
    check_size(h.shape[1], h.shape[1])
    N = calls.good_length(points(length, h.shape[1], gradient=False), h.dtype)
    return Taps(h, calls.spectrum(h, N), N)


def forward(
    u: Tensor,
    h: Tensor,
    skip: Tensor | None,
    gates: tuple[Tensor | None, Tensor | None],
    prepared: Taps | None,
    backend: str,
    dtype: torch.dtype,
    shorts: tuple[Short, Short, Short] | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """y (B, D, L) in u's dtype, in `out` where that is given.

    gates: pre and post; shorts: the short convolutions that u, pre and post pass first.
    """
    f = _filter(u, h, skip, prepared, backend, dtype, gradient=False)
    y = calls.fresh(torch.empty_like(u) if out is None else out)
    if u.shape[0]:
        calls.forward(Signals(u, *gates, shorts), f, y, dtype)
        for n in beginnings(min(f.N, u.shape[-1])):
            pre, post = (None if gate is None else gate[..., :n] for gate in gates)
            shorter = Filter(h[:, :n], None, calls.good_length(n, dtype), f.skip)
            calls.forward(Signals(u[..., :n], pre, post, shorts), shorter, y[..., :n], dtype)
    return y


def backward(
    gy: Tensor,
    u: Tensor,
    h: Tensor,
    skip: Tensor | None,
    gates: tuple[Tensor | None, Tensor | None],
    prepared: Taps | None,
    backend: str,
    dtype: torch.dtype,
    grads: list[Tensor | None],
    shorts: tuple[Short, Short, Short] | None = None,
    gshorts: list[Tensor | None] | None = None,
) -> None:
    """Fill the gradients for u, h, skip, pre and post, None where not wanted; gshorts: taps and bias of u, pre and post."""
    if u.shape[0] == 0:
        for sums in (*grads, *(gshorts or ())):
            if sums is not None:
                sums.zero_()
        return
    gu, gh, gskip, gpre, gpost = grads
    x = Signals(u, *gates, shorts)
    f = _filter(u, h, skip, prepared, backend, dtype, gradient=True)
    calls.backward(x, f, gy, (gu, gpre, gpost), (gh, gskip), gshorts or (), dtype)


def _filter(
    u: Tensor,
    h: Tensor,
    skip: Tensor | None,
    prepared: Taps | None,
    backend: str,
    dtype: torch.dtype,
    gradient: bool,
) -> Filter:
    """What the kernel takes of a filter."""
    _require()
    L = u.shape[-1]
    check_size(L, h.shape[1])
    skip = None if skip is None else skip.to(dtype).contiguous()
    if backend == "fir":
        return Filter(h, None, 0, skip)
    if prepared is not None and _fits(prepared, dtype):
        return Filter(h, prepared.spectrum, prepared.n, skip)
    return Filter(h, None, calls.good_length(points(L, h.shape[1], gradient), dtype), skip)


def check_size(L: int, K: int) -> None:
    """One clear line for what is too long; where it is computed, memory is not yet asked for."""
    if max(L, K) > LONGEST:
        raise HyenaError(f"the sequence has {L} tokens and the filter {K} taps: the kernel takes up to {LONGEST}")


def _fits(prepared: Taps, dtype: torch.dtype) -> bool:
    """Whether the kernel can read a spectrum where it lies: registers are loaded from it, at addresses that they divide."""
    s = prepared.spectrum
    return s is not None and s.dtype == dtype and s.is_contiguous() and s.data_ptr() % ALIGNMENT == 0


def _require() -> None:
    """One clear line where there is no kernel."""
    if not available():
        raise HyenaError(f"there is no native kernel here ({native.status().reason}): use backend='auto'")
