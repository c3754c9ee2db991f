"""Which backend for which shape: a pure function of the shape and a table of measured costs, with its reason in words."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch

from hyena.errors import HyenaError
from hyena.ops import blocked, fft


class Plan(NamedTuple):
    """A backend and, in words, why."""

    backend: str
    reason: str


@dataclass(frozen=True)
class Costs:
    """Nanoseconds on one core, float32: what `plan` compares; fitted to figures like those of
    `reports/long_conv_cpu.md`, which also shows how far its choices are from the best."""

    tap: float = 0.05
    """A multiply-add of the direct convolution, forward."""
    tap_grad: float = 1.2
    """The same, forward and backward together."""
    point: float = 0.2
    """A point of a transform, per log2 of its length."""
    block: float = 40_000.0
    """Fixed cost of one more block of the blocked convolution."""
    call: float = 60_000.0
    """Fixed cost of the transforms over the direct convolution."""


CPU = Costs()


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
    kernel: bool = False,
) -> Plan:
    """Choose the backend of `long_conv` for u (B, D, L) and h (G, K).

    Pure: the same arguments give the same plan. It compares predicted times; `costs` replaces the measured table (for tests
    and other machines). gated and threads change no choice today: every backend gates alike, and threads divide all alike.
    """
    if min(B, D, L, K, G) < 1:
        raise HyenaError(f"B, D, L, K, G are {B}, {D}, {L}, {K}, {G}: use whole numbers of at least 1")
    if D % G:
        raise HyenaError(f"{D} channels cannot share {G} filters: make D a multiple of G")
    costs = costs or CPU
    K = min(K, L)
    if kernel:
        return Plan("fir" if K <= 48 else "native", "TODO")
    transforms, tap = (6, costs.tap_grad) if needs_grad else (2, costs.tap)
    n, block = fft.length_for(L, K), blocked.length_for(L, K)
    blocks = math.ceil(L / (block - K + 1))
    times = {
        "direct": B * D * L * K * tap,
        "fft": transform_points(B, D, G, n, transforms) * costs.point + costs.call,
        "blocked": blocks * (transform_points(B, D, 0, block, transforms) * costs.point + costs.block) + costs.call,
    }
    if blocks == 1:
        del times["blocked"]  # one block is the whole transform
    best = min(times, key=lambda name: times[name])
    others = ", ".join(f"{name} {times[name] / 1e6:.3g} ms" for name in times if name != best)
    measured = "on one core" if torch.device(device).type == "cpu" else "by a CPU core's figures, none being measured here"
    return Plan(best, f"predicted {times[best] / 1e6:.3g} ms {measured}, against {others}")
