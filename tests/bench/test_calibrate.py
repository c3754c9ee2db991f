"""Calibration: costs come back out of the times that they predict, and a real run gives a table that plans."""

import math
from collections.abc import Callable

import pytest
import torch

from hyena.bench import calibrate as module
from hyena.bench.calibrate import Case, calibrate, fit
from hyena.ops import Costs, kernel, plan
from hyena.ops.costs import read
from hyena.ops.plan import conv_rows

KNOWN = Costs(
    direct_call=5e4, direct_call_grad=2e5, direct=3.0, direct_tap=0.1, direct_grad=9.0, direct_tap_grad=1.0,
    fft_call=7e4, fft_call_grad=3e5, kernel_call=2e4, kernel_call_grad=8e4,
    row=100.0, fir=0.5, fir_tap=0.05, row_grad=300.0, fir_grad=2.0, fir_tap_grad=0.2,
    fft=tuple((b, 2.0 + b / 10) for b in range(7, 22, 2)), fft_grad=tuple((b, 6.0 + b / 5) for b in range(7, 22, 2)),
    native=tuple((b, 1.0 + b / 10) for b in range(6, 21, 2)), native_grad=tuple((b, 3.0 + b / 5) for b in range(6, 21, 2)),
)  # fmt: skip


def predicted(case: Case) -> float:
    """Nanoseconds of a case by the known costs, in the words of each cost."""
    backend, (B, D, L, K, G), gradient = case.backend, vars(case.shape).values(), case.gradient
    end = "_grad" if gradient else ""

    def cost(name: str) -> float:
        return getattr(KNOWN, name + end)

    nothing = (B, D, L, K, G) == (1, 1, 8, 2, 1)
    if backend in ("direct", "fir"):
        call = cost("kernel_call" if backend == "fir" else "direct_call")
        row = cost("row") if backend == "fir" and D > 100 else 0.0  # else lost in the tokens
        return call if nothing else call + B * D * (row + L * (cost(backend) + K * cost(f"{backend}_tap")))
    if backend == "blocked":
        return KNOWN.fft_call + 34 * (4 * 512 * read(KNOWN.fft, 512) + KNOWN.block)
    n = L if backend == "native" else 2 * L
    call = cost("kernel_call" if backend == "native" else "fft_call")
    return call if nothing else call + conv_rows(B * D, G, gradient) * n * read(getattr(KNOWN, backend + end), n)


@pytest.fixture
def kernel_or_not(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """A process with the kernel, or without."""
    monkeypatch.setattr(kernel, "available", lambda: request.param)
    return request.param


@pytest.mark.parametrize("kernel_or_not", [True, False], indirect=True, ids=["kernel", "no kernel"])
def test_costs_come_back_out_of_the_times_that_they_predict(kernel_or_not: bool):
    found = fit({case: predicted(case) for case in module._cases()})
    unmeasured = (
        set() if kernel_or_not else {name for name in vars(KNOWN) if name.startswith(("kernel", "row", "fir", "native"))}
    )
    for name, value in vars(KNOWN).items():
        if name in unmeasured:
            assert getattr(found, name) == getattr(Costs(), name)
        elif isinstance(value, tuple):
            assert [y for _, y in getattr(found, name)] == pytest.approx([y for _, y in value], rel=1e-6), name
        else:
            assert getattr(found, name) == pytest.approx(value, rel=1e-6, abs=1e-6), name


def test_noise_makes_no_tap_free():
    times = dict.fromkeys(module._cases(), 1e6)
    assert min(fit(times).direct_tap, fit(times).direct_tap_grad) > 0
    assert fit(times).block == 0


def test_a_real_calibration_plans(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "_POINTS", 2**8)
    monkeypatch.setattr(module, "_LENGTHS", {"native": (6, 8), "fft": (7, 9)})
    monkeypatch.setattr(module, "_ROUNDS", 3)
    threads, seen = torch.get_num_threads(), []
    report: Callable[[int, int], None] = lambda done, total: seen.append((done, total))  # noqa: E731
    costs = calibrate(report)
    assert seen == [(3, 3)]
    assert torch.get_num_threads() == threads
    assert all(math.isfinite(y) for _, y in costs.fft_grad)
    assert plan(2, 64, 4096, 4096, 64, costs=costs, kernel=False).backend in ("fft", "direct")
