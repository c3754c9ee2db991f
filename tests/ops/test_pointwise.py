"""GELU behind a bias against PyTorch's in float64, by the kernel and without it."""

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from hyena.ops import kernel
from hyena.ops.pointwise import gelu_tanh_
from tests import tolerances

TOLERANCE = {torch.float32: tolerances.FLOAT32, torch.float64: tolerances.FLOAT64}


@pytest.fixture(params=["kernel", "torch"], autouse=True)
def by(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the kernel, where there is one, and without."""
    if request.param == "torch":
        monkeypatch.setattr(kernel, "available", lambda: False)
    elif not kernel.available():
        pytest.skip("there is no native kernel here")


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("shape", [(1, 1), (3, 7), (17, 16), (40, 100), (100, 256)])
@pytest.mark.parametrize("with_bias", [True, False])
def test_gelu(dtype: torch.dtype, shape: tuple[int, int], with_bias: bool):
    x, bias = 4 * torch.randn(shape, dtype=dtype), torch.randn(shape[1], dtype=dtype) if with_bias else None
    wanted = F.gelu(x.double() + (0 if bias is None else bias.double()), approximate="tanh")
    assert_close(gelu_tanh_(x, bias).double(), wanted, **TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_gelu_of_the_largest_numbers(dtype: torch.dtype):
    x = torch.tensor([[-1e18, -200.0, -30.0, -6.0, -0.0, 0.0, 1e-30, 30.0, 200.0, 1e18, torch.nan]], dtype=dtype)
    wanted = torch.tensor([[0.0, 0.0, 0.0, -0.0, 0.0, 0.0, 5e-31, 30.0, 200.0, 1e18, torch.nan]], dtype=dtype)
    assert_close(gelu_tanh_(x.clone()), wanted, equal_nan=True, **tolerances.FLOAT32)


def test_rows_that_are_not_contiguous():
    x, bias = torch.randn(6, 8).T, torch.randn(6)
    wanted = F.gelu(x + bias, approximate="tanh")
    assert_close(gelu_tanh_(x, bias), wanted, **tolerances.FLOAT32)


def test_half_precision():
    x = torch.randn(4, 8, dtype=torch.bfloat16)
    assert_close(gelu_tanh_(x.clone()).float(), F.gelu(x.float(), approximate="tanh"), **tolerances.BFLOAT16)
