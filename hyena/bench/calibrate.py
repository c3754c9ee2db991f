"""Measure this machine's table of costs for `plan`: every backend on one thread over a few shapes, about a minute.

A cost is fitted where it dominates: calls on a row of nothing, taps by the difference of two filters, transforms length by
length. All measurements take turns, round after round, so that a drifting machine hits all costs alike. The shapes are none of
those that `benchmarks/costs.py` judges the choices on.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch

from hyena.bench.rivals import Shape, operands, sampler_of, with_backend
from hyena.bench.timing import Sampler, Samples, interleave
from hyena.ops import kernel
from hyena.ops.costs import CPU, Costs, Curve
from hyena.ops.plan import conv_rows

_POINTS = 2**16
"""Numbers of a signal: what a filter tap by tap and a transform work on must lie in the same cache."""
_LEAST_TAP = 0.01
"""Nanoseconds: no processor that this runs on is faster, so a smaller difference is noise."""
_LENGTHS = {"native": (6, 8, 10, 12, 14, 16, 18, 20), "fft": (7, 9, 11, 13, 15, 17, 19, 21)}
"""log2 of the transforms' points that are measured."""
_NOTHING, _BLOCKS = Shape(1, 1, 8, 2, 1), Shape(1, 4, 16384, 16, 4)
_ROWS = Shape(1, 2048, 16, 4, 2048)
_FEW, _MANY = {"direct": 3, "fir": 4}, {"direct": 72, "fir": 72}
_ROUNDS, _STEP = 9, 3

Report = Callable[[int, int], None]


class Case(NamedTuple):
    """One measurement."""

    backend: str
    shape: Shape
    gradient: bool = False


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
    """The costs of this machine; what is not available here keeps the shipped figure. report(done, total) counts rounds."""
    with _one_thread():
        samplers = {
            str(i): _warm(sampler_of(with_backend(operands(case.shape, case.gradient), case.backend), case.gradient))
            for i, case in enumerate(_cases())
        }
        all_rounds = Samples()
        for done in range(0, _ROUNDS, _STEP):
            all_rounds.rounds += interleave(samplers, rounds=_STEP, seconds=math.inf).rounds
            if report is not None:
                report(done + _STEP, _ROUNDS)
    times = {case: all_rounds.seconds(str(i)).median * 1e9 for i, case in enumerate(_cases())}
    return fit(times)


def _warm(sample: Sampler) -> Sampler:
    """Calls before those that are timed: its turn comes after others, whose memory and caches are not its own."""

    def warm(calls: int) -> float:
        sample(3)
        return min(sample(calls) for _ in range(2))

    return warm


def _cases() -> list[Case]:
    """Everything that is measured, in a fixed order."""
    kernels = kernel.available()
    cases = [Case("blocked", _BLOCKS)]
    for gradient in (False, True):
        cases += [Case(backend, _NOTHING, gradient) for backend in ("direct", "fft", "fir") if kernels or backend != "fir"]
        for backend in ("direct", "fir") if kernels else ("direct",):
            cases += [Case(backend, _line(K), gradient) for K in (_FEW[backend], _MANY[backend])]
        cases += [Case("fir", _ROWS, gradient)] if kernels else []
        for backend in ("fft", "native") if kernels else ("fft",):
            cases += [Case(backend, _row(backend, bits), gradient) for bits in _LENGTHS[backend]]
    return cases


def _line(K: int) -> Shape:
    return Shape(1, 16, 4096, K, 16)


def _row(backend: str, bits: int) -> Shape:
    """Signals whose transforms have 2^bits points: as long as those, or half as long where PyTorch pads them to twice."""
    L = 2**bits if backend == "native" else 2 ** (bits - 1)
    B = max(1, min(8, 2**18 // L))
    D = max(2, _POINTS // B // L)
    return Shape(B, D, L, L, D)


def fit(times: dict[Case, float]) -> Costs:
    """The costs behind the nanoseconds of all cases."""
    found: dict[str, Any] = {}
    kernels = Case("fir", _NOTHING) in times
    for gradient in (False, True):
        end = "_grad" if gradient else ""
        calls = {"direct": "direct", "fft": "fft"} | ({"kernel": "fir"} if kernels else {})
        found |= {f"{name}_call{end}": times[Case(backend, _NOTHING, gradient)] for name, backend in calls.items()}
        for backend in ("direct", "fir") if kernels else ("direct",):
            found |= _taps(backend, gradient, found[f"{'kernel' if backend == 'fir' else backend}_call{end}"], times)
        for backend in ("fft", "native") if kernels else ("fft",):
            call = found[f"{'kernel' if backend == 'native' else backend}_call{end}"]
            found[f"{backend}{end}"] = _curve(backend, gradient, call, times)
    # Thirty-four blocks take as much longer than one transform of all as each costs by itself, but for the shorter transforms.
    blocks = times[Case("blocked", _BLOCKS)] - found["fft_call"] - 34 * 4 * 512 * dict(found["fft"])[9.0]
    return Costs(**vars(CPU) | found | {"block": max(0.0, blocks / 34)})


def _taps(backend: str, gradient: bool, call: float, times: dict[Case, float]) -> dict[str, float]:
    """Costs of a token, of a multiply-add, and of a row for the kernel, from filters of few and of many taps."""
    shape, few, many = _line(1), _FEW[backend], _MANY[backend]
    a, b = (times[Case(backend, _line(K), gradient)] for K in (few, many))
    tap = max(_LEAST_TAP, (b - a) / shape.points / (many - few))
    token = max(0.0, (a - call) / shape.points - few * tap)
    end = "_grad" if gradient else ""
    found = {f"{backend}{end}": token, f"{backend}_tap{end}": tap}
    if backend == "fir":
        rows = times[Case("fir", _ROWS, gradient)] - call
        found[f"row{end}"] = max(0.0, rows / _ROWS.D - _ROWS.L * (token + _ROWS.K * tap))
    return found


def _curve(backend: str, gradient: bool, call: float, times: dict[Case, float]) -> Curve:
    """(log2 of the points, nanoseconds a point of a row)."""
    curve = []
    for bits in _LENGTHS[backend]:
        shape = _row(backend, bits)
        rows = conv_rows(shape.B * shape.D, shape.G, gradient)
        curve.append((float(bits), max(0.0, times[Case(backend, shape, gradient)] - call) / rows / 2**bits))
    return tuple(curve)
