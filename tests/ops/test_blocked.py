"""Overlap-save: blocks shorter than the sequence, each output once, the same numbers as the whole transform."""

import pytest
import torch
from torch.testing import assert_close

from hyena.ops import blocked, fft
from tests import tolerances
from tests.ops.oracle import inputs, oracle


@pytest.mark.parametrize("L", [1, 7, 100, 5000])
@pytest.mark.parametrize("V", [1, 3, 100])
def test_blocks_tile_the_sequence(L: int, V: int):
    blocks = blocked._blocks(L, V)
    assert [t for start, stop in blocks for t in range(start, stop)] == list(range(L))
    assert all(0 < stop - start <= V for start, stop in blocks)


@pytest.mark.parametrize(("L", "K"), [(10_000, 16), (10_000, 300), (10_000, 10_000), (5, 3)])
def test_a_block_is_about_four_filters_and_no_longer_than_the_whole(L: int, K: int):
    n = blocked.length_for(L, K)
    assert n >= 2 * K
    assert n <= fft.length_for(L, K)
    assert n <= 1.34 * max(4 * K, 512)


def test_a_window_before_the_sequence_holds_zeros():
    x = torch.arange(1.0, 6.0)
    assert blocked._window(x, -2, 2).tolist() == [0, 0, 1, 2]
    assert blocked._window(x, 1, 4).tolist() == [2, 3, 4]


@pytest.mark.parametrize("n", [8, 10, 16, 64], ids="{} points".format)
@pytest.mark.parametrize("L", [1, 5, 31, 64])
def test_any_number_of_blocks_gives_the_same(monkeypatch: pytest.MonkeyPatch, L: int, n: int):
    given = inputs(2, 4, L, 5, 2).leaves()
    cotangent = torch.randn(2, 4, L, dtype=torch.float64)
    x = (given.pre * given.u).detach()
    y = oracle(x, given.h)
    monkeypatch.setattr(blocked, "length_for", lambda L, K: n)
    taps = blocked.transform(given.h.detach(), L)
    assert taps.n == n
    assert_close(blocked.forward(x, taps), y.detach(), **tolerances.FLOAT64)
    again, gx, gh = blocked.backward(x, taps, cotangent, (True, True, True))
    x.requires_grad_()
    wanted = torch.autograd.grad(oracle(x, given.h), [x, given.h], cotangent)
    assert_close(again, y.detach(), **tolerances.FLOAT64)
    assert_close(gx, wanted[0], **tolerances.FLOAT64)
    assert_close(gh, wanted[1][:, : gh.shape[1]], **tolerances.FLOAT64)


def test_only_what_is_needed_is_returned():
    x, taps = torch.randn(1, 2, 9), blocked.transform(torch.randn(2, 3), 9)
    found = [
        [g is not None for g in blocked.backward(x, taps, x, needs)] for needs in [(True, False, False), (False, True, True)]
    ]
    assert found == [[True, False, False], [False, True, True]]
