"""Measure this machine's table of costs for `plan`: every backend on one thread over a few shapes, a minute or two.

A cost is fitted where it dominates: calls on a row of nothing, taps by the difference of two filters, transforms length by
length. Shapes lie apart from those that `benchmarks/costs.py` judges the choices on.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from hyena.bench.ops import time_backends
from hyena.bench.rivals import Shape
from hyena.ops import kernel
from hyena.ops.costs import CPU, Costs, Curve
from hyena.ops.plan import conv_rows

_POINTS = 2**19
"""Numbers of a row's worth of work: some milliseconds."""
_NATIVE, _FFT = (6, 8, 10, 12, 14, 16, 18, 20), (7, 10, 13, 16, 19, 21)
"""log2 of the transforms' points that are measured."""

Report = Callable[[int, int], None]


@contextmanager
def _one_thread() -> Iterator[None]:
    """Costs are a core's."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def calibrate(report: Report | None = None) -> Costs:
    """The costs of this machine; what is not available here keeps the shipped figure. report(done, total) counts steps."""
    steps: list[Callable[[Costs], dict[str, Any]]] = [_calls]
    steps += [partial(step, gradient=g) for step in (_direct, _fft) for g in (False, True)]
    if kernel.available():
        steps += [partial(step, gradient=g) for step in (_fir, _native) for g in (False, True)]
    costs = CPU
    with _one_thread():
        for i, step in enumerate(steps):
            costs = replace(costs, **step(costs))
            if report is not None:
                report(i + 1, len(steps))
    return costs


def _time(backend: str, shape: Shape, gradient: bool) -> float:
    """Nanoseconds: the lower quartile, since what else runs on a machine only ever adds."""
    return time_backends(shape, (backend,), gradient, rounds=7, seconds=0.4).seconds(backend).lower * 1e9


def _calls(costs: Costs) -> dict[str, float]:
    """Fixed costs, on a row of next to nothing."""
    nothing = Shape(1, 1, 8, 2, 1)
    names = {"direct_call": "direct", "fft_call": "fft"} | ({"kernel_call": "fir"} if kernel.available() else {})
    found = {cost: _time(backend, nothing, gradient=False) for cost, backend in names.items()}
    blocks = _time("blocked", Shape(1, 4, 16384, 16, 4), gradient=False)
    return found | {"block": max(0.0, (blocks - found["fft_call"]) / 33 - 4 * 512 * 3.0)}


def _line(backend: str, gradient: bool, few: int, many: int, call: float) -> tuple[float, float]:
    """(a token, a multiply-add) of a backend that works tap by tap, from filters of few and of many taps."""
    tokens = 16 * 4096
    a, b = (_time(backend, Shape(1, 16, 4096, K, 16), gradient) for K in (few, many))
    tap = max(0.0, (b - a) / tokens / (many - few))
    return max(0.0, (a - call) / tokens - few * tap), tap


def _direct(costs: Costs, gradient: bool) -> dict[str, float]:
    token, tap = _line("direct", gradient, 3, 24, costs.direct_call)
    return {"direct_grad": token, "direct_tap_grad": tap} if gradient else {"direct": token, "direct_tap": tap}


def _fir(costs: Costs, gradient: bool) -> dict[str, float]:
    token, tap = _line("fir", gradient, 4, 60, costs.kernel_call)
    rows = 4096
    short = _time("fir", Shape(1, rows, 16, 4, rows), gradient)
    row = max(0.0, (short - costs.kernel_call) / rows - 16 * (token + 4 * tap))
    if gradient:
        return {"fir_grad": token, "fir_tap_grad": tap, "row_grad": row}
    return {"fir": token, "fir_tap": tap, "row": row}


def _native(costs: Costs, gradient: bool) -> dict[str, Curve]:
    curve = tuple(_point("native", 2**bits, 2**bits, costs.kernel_call, gradient) for bits in _NATIVE)
    return {"native_grad" if gradient else "native": curve}


def _fft(costs: Costs, gradient: bool) -> dict[str, Curve]:
    curve = tuple(_point("fft", 2**bits, 2 ** (bits - 1), costs.fft_call, gradient) for bits in _FFT)  # a row is padded to two
    return {"fft_grad" if gradient else "fft": curve}


def _point(backend: str, n: int, L: int, call: float, gradient: bool) -> tuple[float, float]:
    """(log2 n, nanoseconds a point) of transforms of n points for rows of L tokens."""
    B, D = 2, max(2, _POINTS // 2 // L)
    time = _time(backend, Shape(B, D, L, L, D), gradient)
    return math.log2(n), max(0.0, time - call) / conv_rows(B * D, D, gradient) / n
