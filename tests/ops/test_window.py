"""The filter's window, made while it is applied, against its formula."""

import pytest
import torch
from torch.testing import assert_close

from hyena.ops import kernel, windowed
from hyena.ops.window import window_op
from tests import tolerances
from tests.ops.oracle import KERNEL

WAYS = [pytest.param(True, marks=KERNEL, id="kernel"), pytest.param(False, id="PyTorch")]


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """By the kernel, or without it."""
    if not request.param:
        monkeypatch.setattr(kernel, "available", lambda: False)
    return request.param


def formula(taps: torch.Tensor, decay: torch.Tensor, t: torch.Tensor, shift: float) -> torch.Tensor:
    """In float64."""
    return taps.double() * (torch.exp(-decay.double().abs()[:, None] * t.double()) + shift)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize(("G", "K"), [(1, 1), (3, 7), (5, 64), (4, 20_001)])
def test_it_is_the_formula_with_its_gradient(G: int, K: int, dtype: torch.dtype, way: bool):
    taps = torch.randn(G, K, dtype=dtype, requires_grad=True)
    decay, t = 40 * torch.randn(G, dtype=dtype), torch.linspace(0, 1, K, dtype=dtype)
    found = windowed(taps, decay, t, 0.05)
    bound = tolerances.FLOAT64 if dtype == torch.float64 else tolerances.FLOAT32
    assert found.dtype == dtype
    assert_close(found.double(), formula(taps, decay, t, 0.05), **bound)
    g = torch.randn(G, K, dtype=dtype)
    (gradient,) = torch.autograd.grad(found, taps, g)
    assert_close(gradient.double(), formula(g, decay, t, 0.05), **bound)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_an_exponential_is_right_to_its_last_bits_wherever_it_is_a_normal_number(dtype: torch.dtype, way: bool):
    most = 708.0 if dtype == torch.float64 else 87.0
    t = torch.linspace(0, most, 10_007, dtype=dtype)
    found = windowed(torch.ones(1, len(t), dtype=dtype), torch.ones(1, dtype=dtype), t, 0.0)
    wanted = torch.exp(-t.double())
    error = ((found[0].double() - wanted) / wanted).abs().max()
    assert error < 2 * torch.finfo(dtype).eps


def test_what_is_too_small_is_zero_and_what_is_no_number_stays_none(way: bool):
    t = torch.tensor([0.0, 1e3, 1e30, torch.inf, torch.nan])
    found = windowed(torch.ones(1, 5), torch.ones(1), t, 0.0)[0]
    assert found[:4].tolist() == [1.0, 0.0, 0.0, 0.0]
    assert found[4].isnan()


def test_pytorch_finds_nothing_wrong_with_it(way: bool):
    taps = torch.randn(3, 9, requires_grad=True)
    torch.library.opcheck(window_op, (taps, torch.rand(3), torch.rand(9), 0.1))


def test_non_contiguous_taps(way: bool):
    taps, decay, t = torch.randn(9, 3).T, torch.rand(6)[::2], torch.rand(18)[::2]
    assert_close(windowed(taps, decay, t, 0.1).double(), formula(taps, decay, t, 0.1), **tolerances.FLOAT32)
