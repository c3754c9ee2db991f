"""The definition's own backend, by hand; and the depthwise convolution that short filters use."""

import pytest
import torch
from torch.testing import assert_close

from hyena.ops import direct
from tests import tolerances


def test_the_first_tap_multiplies_the_present_token():
    x = torch.tensor([[[1.0, 10.0, 100.0, 1000.0]]])
    y = direct.forward(x, direct.transform(torch.tensor([[1.0, 2.0, 3.0]]), 4))
    assert y.tolist() == [[[1, 12, 123, 1230]]]


def test_a_group_serves_consecutive_channels():
    x = torch.ones(1, 4, 1)
    assert direct.forward(x, direct.transform(torch.tensor([[2.0], [5.0]]), 1)).flatten().tolist() == [2, 2, 5, 5]


def test_depthwise_by_hand():
    x = torch.tensor([[[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]]])
    y = direct.depthwise(x, torch.tensor([[1.0, 10.0], [100.0, 0.0]]), torch.tensor([0.5, 0.0]))
    assert y.tolist() == [[[1.5, 12.5, 23.5], [100, 200, 300]]]


@pytest.mark.parametrize("K", [1, 4, 9])
def test_depthwise_is_differentiable(K: int):
    x, h, bias = torch.randn(2, 3, 5).double(), torch.randn(3, K).double(), torch.randn(3).double()
    leaves = [t.requires_grad_() for t in (x, h, bias)]
    assert torch.autograd.gradcheck(direct.depthwise, leaves)


@pytest.mark.parametrize("K", [1, 3, 5, 8])
def test_gradients_by_finite_differences(K: int):
    x, h, gy = torch.randn(2, 4, 5).double(), torch.randn(2, K).double(), torch.randn(2, 4, 5).double()

    def loss(x: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
        return (direct.forward(x, direct.transform(h, 5)) * gy).sum()

    step = 1e-6
    _, gx, gh = direct.backward(x, direct.transform(h, 5), gy, (False, True, True))
    gh = torch.nn.functional.pad(gh, (0, K - gh.shape[1]))
    for gradient, at in ((gx, x), (gh, h)):
        for index in range(at.numel()):
            at.view(-1)[index] += step
            above = loss(x, h)
            at.view(-1)[index] -= 2 * step
            below = loss(x, h)
            at.view(-1)[index] += step
            assert_close(gradient.reshape(-1)[index], (above - below) / (2 * step), **tolerances.FINITE_DIFFERENCES)
