"""`projected_hyena_conv` against the projection and `hyena_conv`, one after the other."""

import pytest
import torch
from torch.testing import assert_close

from hyena.ops import hyena_conv, prepare, projected, projected_hyena_conv
from tests import tolerances
from tests.helpers import refused
from tests.ops.oracle import BACKENDS

B, L, C, K = 2, 70, 5, 33


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("block", [1, 3, 4, 64])
@pytest.mark.parametrize("bare", [False, True])
@pytest.mark.parametrize("G", [8, 4, 2, 1])
def test_it_is_projection_and_convolution(G: int, bare: bool, block: int, backend: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(projected, "BLOCK", block)
    D = 8
    x, weight, taps, bias = (torch.randn(s, dtype=torch.float64) for s in ((B, L, C), (3 * D, C), (3 * D, 3), (3 * D,)))
    offset, skip = (None, None) if bare else (torch.randn(3 * D, dtype=torch.float64), torch.randn(D, dtype=torch.float64))
    h = prepare(torch.randn(G, K, dtype=torch.float64) / K**0.5, L, channels=D, backend=backend)
    bias = None if bare else bias
    streams = (x @ weight.T).transpose(1, 2)
    wanted = hyena_conv(streams if offset is None else streams + offset[:, None], taps, bias, h, skip)
    found = projected_hyena_conv(x, weight, offset, taps, bias, h, skip)
    assert_close(found, wanted, **tolerances.FLOAT64)
    assert found.transpose(0, 1).is_contiguous()


def test_it_has_no_gradient():
    weight = torch.randn(6, C, requires_grad=True)
    with torch.no_grad():
        h = prepare(torch.randn(2, K), L)
    assert not projected_hyena_conv(torch.randn(B, L, C), weight, None, torch.randn(6, 3), torch.randn(6), h).requires_grad


def test_a_longer_sequence_than_prepared_is_refused():
    h = prepare(torch.randn(2, K), L - 1)
    with refused(f"{L} tokens", f"prepared for {L - 1}"):
        projected_hyena_conv(torch.randn(B, L, C), torch.randn(6, C), None, torch.randn(6, 3), torch.randn(6), h)
