"""Transform lengths: long enough that nothing wraps, even, and cheap."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from hyena.ops import fft
from hyena.ops.taps import Taps


def is_5_smooth(n: int) -> bool:
    """Whether n has no prime factor above 5."""
    for prime in (2, 3, 5):
        while n % prime == 0:
            n //= prime
    return n == 1


@given(st.integers(1, 2**24))
def test_a_good_length_is_even_smooth_and_not_much_longer(least: int):
    n = fft.good_length(least)
    assert n % 2 == 0
    assert n >= least
    assert is_5_smooth(n)
    assert n <= 1.34 * least + 1


def test_good_lengths_by_hand():
    # 2049 would need 4096 as a power of two; 5 * 512 costs a quarter less, 9 * 256 = 2304 less still.
    assert [fft.good_length(n) for n in (1, 2, 3, 64, 65, 1024, 2049)] == [2, 2, 4, 64, 72, 1024, 2304]


@given(st.integers(1, 5000), st.integers(1, 5000))
def test_the_whole_product_fits(L: int, K: int):
    assert fft.length_for(L, K) >= L + K - 1


def test_the_spectrum_is_that_of_the_taps_that_the_sequence_meets():
    h = torch.randn(2, 9, dtype=torch.float64)
    taps = fft.transform(h, 5)
    assert torch.equal(taps.h, h[:, :5])
    assert taps.n == fft.length_for(5, 5)
    assert torch.equal(taps.spectrum, torch.fft.rfft(h[:, :5], n=taps.n))


def test_the_transform_never_wraps_around():
    # The last tap on the last token lands at index L + K - 2; one point fewer and it would come back at index 0.
    for L in range(1, 40):
        x, h = torch.zeros(1, 1, L, dtype=torch.float64), torch.zeros(1, L, dtype=torch.float64)
        x[..., -1] = h[..., -1] = 1e6
        y = fft.forward(x, fft.transform(h, L))
        assert (y - (1e12 if L == 1 else 0.0)).abs().max() < 1e-2


def test_some_groups_of_the_taps():
    taps = Taps(torch.arange(6.0).view(3, 2), torch.arange(9.0).view(3, 3), 4)
    some = taps.groups(slice(1, 3))
    assert some.h.tolist() == [[2, 3], [4, 5]]
    assert some.spectrum.tolist() == [[3, 4, 5], [6, 7, 8]]
    assert some.n == 4
    assert Taps(taps.h).groups(slice(0, 1)).spectrum is None
