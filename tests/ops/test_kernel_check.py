"""The kernel's check of itself: what is right passes; whatever is wrong is told in words and switches the kernel off."""

import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from hyena.ops import chunked, direct, kernel, kernel_check, long_conv, native
from hyena.ops.native import calls
from hyena.ops.native.library import Kernels
from hyena.ops.taps import Taps
from tests import tolerances
from tests.helpers import loudness, refused
from tests.ops.oracle import KERNEL, gradients, inputs, oracle

pytestmark = KERNEL


def spoil(monkeypatch: pytest.MonkeyPatch, name: str, spoiling: Callable[..., None]) -> None:
    """Have a function of the kernel followed by a change of its results."""
    right = getattr(calls, name)

    def wrong(*args: Any) -> None:
        right(*args)
        spoiling(*args)

    monkeypatch.setattr(calls, name, wrong)


def nudge(t: Tensor) -> None:
    """A single number of it is off by a little: a hundred times what rounding does."""
    t.view(-1)[t.numel() // 2] += 100 * kernel_check.BOUND[t.dtype] * max(1.0, float(t.abs().max()))


def test_this_kernel_is_right():
    assert kernel_check.mismatch() is None


def test_the_check_leaves_the_callers_random_numbers_alone():
    torch.manual_seed(3)
    wanted = torch.randn(4)
    torch.manual_seed(3)
    assert kernel_check.mismatch() is None
    assert torch.equal(torch.randn(4), wanted)


def test_one_wrong_output_is_reported(monkeypatch: pytest.MonkeyPatch):
    spoil(monkeypatch, "forward", lambda x, f, y, dtype: nudge(y))
    found = kernel_check.mismatch()
    assert found is not None
    for part in ("output", "3 tokens", "3 taps", "torch.float64", "off by"):
        assert part in found


@pytest.mark.parametrize("which", range(3), ids=["u", "pre", "post"])
def test_one_wrong_gradient_of_a_signal_is_reported(which: int, monkeypatch: pytest.MonkeyPatch):
    spoil(monkeypatch, "backward", lambda x, f, gy, signals, filters, shorts, dtype: nudge(signals[which]))
    assert "gradient" in (kernel_check.mismatch() or "")


@pytest.mark.parametrize("which", range(2), ids=["h", "skip"])
def test_one_wrong_gradient_of_a_filter_is_reported(which: int, monkeypatch: pytest.MonkeyPatch):
    spoil(monkeypatch, "backward", lambda x, f, gy, signals, filters, shorts, dtype: nudge(filters[which]))
    assert "gradient" in (kernel_check.mismatch() or "")


def test_every_wrong_gradient_of_the_short_convolutions_is_reported(monkeypatch: pytest.MonkeyPatch):
    numbers: set[int] = set()

    def spoiling(*args: Any) -> None:
        shorts = args[5]
        numbers.update(range(len(shorts)))
        if which < len(shorts):
            nudge(shorts[which])

    spoil(monkeypatch, "backward", spoiling)
    which = 99
    assert kernel_check.mismatch() is None
    assert len(numbers) >= 6  # taps and bias of each of three
    for which in sorted(numbers):
        assert "gradient" in (kernel_check.mismatch() or ""), which


@pytest.mark.parametrize("what", ["float32 alone", "NaN", "in blocks alone", "tap by tap alone"])
def test_what_goes_wrong_only_sometimes_is_reported(what: str, monkeypatch: pytest.MonkeyPatch):
    def spoiling(x: Any, f: Any, y: Tensor, dtype: torch.dtype) -> None:
        if what == "NaN":
            y[-1, -1, -1] = torch.nan
        elif {
            "float32 alone": dtype == torch.float32,
            "in blocks alone": 0 < f.N < y.shape[-1],
            "tap by tap alone": f.N == 0,
        }[what]:
            nudge(y)

    spoil(monkeypatch, "forward", spoiling)
    found = kernel_check.mismatch()
    assert found is not None
    assert ("torch.float32" in found) == (what == "float32 alone")


def test_the_definition_of_the_check_is_differentiated_rightly():
    # It does without autograd, which does not reach into an operator; here autograd says the same.
    x, h, gy = torch.randn(1, 2, 20).double(), torch.randn(1, 7).double().requires_grad_(), torch.randn(1, 2, 20).double()
    y = direct.forward(x, Taps(h))
    gh = torch.zeros_like(h)
    chunked.backward(gy, x, Taps(h.detach()), None, None, None, "direct", torch.float64, [None, gh, None, None, None])
    torch.testing.assert_close(gh, torch.autograd.grad(y, h, gy)[0])


def test_where_there_is_no_kernel_it_says_so(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(native, "library", lambda: None)
    assert kernel_check.mismatch() == "there is none"
    assert not kernel.available()


@pytest.fixture
def unused(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As in a process that has not used the kernel yet, which may switch it off for itself."""
    module = sys.modules[Kernels.__module__]  # the package's attribute of that name is the function
    ours = module._PACKAGE
    monkeypatch.setattr(module, "_PACKAGE", Kernels(ours.libraries, ours.source))
    kernel._checked.cache_clear()
    yield
    kernel._checked.cache_clear()


@pytest.mark.usefixtures("unused")
@pytest.mark.parametrize(("name", "what"), [("forward", "output"), ("backward", "gradient")])
def test_a_kernel_that_is_wrong_is_switched_off_and_pytorch_computes(name: str, what: str, monkeypatch: pytest.MonkeyPatch):
    result: Callable[..., Tensor] = (lambda *args: args[2]) if name == "forward" else (lambda *args: args[3][0])
    spoil(monkeypatch, name, lambda *args: nudge(result(*args)))
    given = inputs(2, 4, 60, 60, 2, torch.float32).leaves()
    with pytest.warns(RuntimeWarning, match="disabled in this process, torch computes alone") as warned:
        y = long_conv(given.u, given.h, given.skip, **given.gates())  # finds out, inside the operator
    assert len(warned) == 1
    assert not kernel.available()
    exact = given.to(torch.float64).leaves()
    wanted = oracle(*exact)
    again = long_conv(given.u, given.h, given.skip, **given.gates())  # a second warning would be an error
    cotangent = torch.randn(y.shape)
    found, rights = gradients(again, given, cotangent), gradients(wanted, exact, cotangent.double())
    for a, w in [(y, wanted), (again, wanted), *((found[n], rights[n]) for n in found)]:
        torch.testing.assert_close(a.double(), w, rtol=0, atol=tolerances.FLOAT32["atol"] * loudness(w))
    assert f"{what} for 3 tokens and 3 taps in torch.float64 is off by" in str(warned[0].message)
    assert "self-check failed" in native.status().reason
    for backend in kernel.KERNELS:
        with refused("no native kernel", "self-check failed", "off by", "backend='auto'"):
            long_conv(given.u, given.h, backend=backend)
