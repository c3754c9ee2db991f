"""Which backend for which shape: a pure function of the shape and a table of measured costs, with its reason in words."""

import math
from typing import NamedTuple

import torch

from hyena.errors import HyenaError
from hyena.ops import blocked, fft
from hyena.ops.costs import Costs, in_force, read
from hyena.ops.kernel import available, points, rounded


class Plan(NamedTuple):
    """A backend and, in words, why."""

    backend: str
    reason: str


def transform_points(B: int, D: int, G: int, n: int, transforms: int) -> float:
    """n log2 n, times the rows that are transformed: `transforms` of each of B D signals, one of each of G filters."""
    return (transforms * B * D + G) * n * math.log2(n)


def conv_flops(B: int, D: int, L: int, K: int, G: int) -> int:
    """Operations of the long convolution by FFT: 2.5 n log2 n a real transform of n points, 6 a complex product.

    The convention of the field for a convolution that has no matrix product; the backend that runs may use fewer.
    """
    n = fft.length_for(L, min(K, L))
    return int(transform_points(B, D, G, n, 2) * 2.5) + 3 * B * D * n


def plan(
    B: int,
    D: int,
    L: int,
    K: int,
    G: int,
    dtype: torch.dtype = torch.float32,
    device: str | torch.device = "cpu",
    needs_grad: bool = False,
    gated: bool = False,
    threads: int | None = None,
    costs: Costs | None = None,
    kernel: bool | None = None,
) -> Plan:
    """Choose the backend of `long_conv` for u (B, D, L) and h (G, K).

    Pure: the same arguments give the same plan. It compares predicted times; `costs` replaces the table in force (the user's
    own where they measured one, else the shipped one). kernel: whether the compiled kernel may be used; None asks whether this
    process has one, which is the one thing that is not an argument. gated changes no choice
    today, and threads (1 where not given) only how much a call's fixed cost weighs: all backends gate and share work alike.
    """
    if min(B, D, L, K, G) < 1:
        raise HyenaError(f"B, D, L, K, G are {B}, {D}, {L}, {K}, {G}: use whole numbers of at least 1")
    if D % G:
        raise HyenaError(f"{D} channels cannot share {G} filters: make D a multiple of G")
    costs = costs or in_force()[0]
    K = min(K, L)
    times = _torch_times(B, D, L, K, G, needs_grad, costs, threads or 1)
    on_cpu = torch.device(device).type == "cpu"
    if on_cpu and (available() if kernel is None else kernel):
        times |= _kernel_times(B, D, L, K, G, dtype, needs_grad, costs, threads or 1)
    best = min(times, key=lambda name: times[name])
    others = ", ".join(f"{name} {times[name] / 1e6:.3g} ms" for name in times if name != best)
    cores = "one core" if not threads or threads == 1 else f"{threads} cores"
    measured = f"on {cores}" if on_cpu else "by a CPU core's figures, none being measured here"
    return Plan(best, f"predicted {times[best] / 1e6:.3g} ms {measured}, against {others}")


def _torch_times(B: int, D: int, L: int, K: int, G: int, needs_grad: bool, costs: Costs, threads: int) -> dict[str, float]:
    """Nanoseconds of PyTorch's backends."""
    curve, call = (costs.fft_grad, costs.fft_call_grad) if needs_grad else (costs.fft, costs.fft_call)
    token, tap = (costs.direct_grad, costs.direct_tap_grad) if needs_grad else (costs.direct, costs.direct_tap)
    n, block = fft.length_for(L, K), blocked.length_for(L, K)
    blocks = math.ceil(L / (block - K + 1))
    times = {
        "direct": B * D * L * (token + K * tap) / threads + (costs.direct_call_grad if needs_grad else costs.direct_call),
        "fft": conv_rows(B * D, G, needs_grad) * n * read(curve, n) / threads + call,
    }
    if blocks > 1:  # one block is the whole transform
        work = B * D * block * read(curve, block) / threads
        times["blocked"] = blocks * (work + costs.block) + call
    return times


def _kernel_times(
    B: int, D: int, L: int, K: int, G: int, dtype: torch.dtype, needs_grad: bool, costs: Costs, threads: int
) -> dict[str, float]:
    """Nanoseconds of the compiled kernel's."""
    N = rounded(points(L, K, needs_grad))
    wide = 2 if dtype == torch.float64 else 1  # half as many numbers a register
    if needs_grad:
        curve, row, token, tap = costs.native_grad, costs.row_grad, costs.fir_grad, costs.fir_tap_grad
    else:
        curve, row, token, tap = costs.native, costs.row, costs.fir, costs.fir_tap
    work = {
        "native": conv_rows(B * D * math.ceil(L / N), G, needs_grad) * N * read(curve, N) * wide,
        "fir": B * D * (row + L * (token + K * tap) * wide),
    }
    call = costs.kernel_call_grad if needs_grad else costs.kernel_call
    return {name: time / min(threads, B * D) + call for name, time in work.items()}


def conv_rows(signals: int, filters: int, needs_grad: bool) -> float:
    """Rows that are transformed there and back; a filter goes there alone, a half, and its gradient comes back, another."""
    return signals + filters * (1.0 if needs_grad else 0.5)
