"""The short depthwise convolution against an explicit loop."""

import math

import pytest
import torch
from torch.testing import assert_close

from hyena.modules.short_conv import ShortConv
from tests import tolerances


@pytest.mark.parametrize("L", [1, 2, 3, 10])
@pytest.mark.parametrize("K", [1, 3, 7])
def test_it_is_a_sum_over_the_last_taps(K: int, L: int):
    conv, x = ShortConv(4, K).double(), torch.randn(2, 4, L).double()
    terms = [[conv.taps[:, k] * x[..., t - k] for k in range(min(K, t + 1))] for t in range(L)]
    wanted = torch.stack([sum(at) for at in terms], dim=-1)
    assert_close(conv(x), wanted + conv.bias[:, None], **tolerances.FLOAT64)


@pytest.mark.parametrize("K", [1, 3, 16])
def test_it_starts_as_pytorch_starts_a_depthwise_convolution(K: int):
    conv, bound = ShortConv(10_000, K), 1 / math.sqrt(K)
    reference = torch.nn.Conv1d(10_000, 10_000, K, groups=10_000)
    for ours, theirs in ((conv.taps, reference.weight), (conv.bias, reference.bias)):
        assert ours.abs().max() <= bound
        assert_close(ours.std(), theirs.std(), **tolerances.STATISTICS)
        assert abs(ours.mean().item()) < 0.05 * bound


def test_it_costs_two_operations_a_tap():
    assert ShortConv(4, 3).flops(10) == 2 * 3 * 4 * 10
