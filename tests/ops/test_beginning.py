"""The first outputs of a long convolution are as exact, for their size, as the last ones."""

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from hyena.ops import hyena_conv, kernel, long_conv, prepare
from hyena.ops.beginning import FRACTION, LEAST, LONG, beginnings
from tests import tolerances
from tests.helpers import loudness

L, D = 2**16, 4
BACKENDS = [name for name in ("native", "fft") if name != "native" or kernel.available()]


def growing() -> tuple[Tensor, Tensor]:
    """A signal and taps with a mean: outputs grow with the number of terms."""
    return torch.rand(2, D, L) + 0.5, torch.rand(D, L) + 0.5


def off(y: Tensor, wanted: Tensor) -> float:
    """The largest error of an output over the loudest one of its row so far."""
    return float(((y - wanted).abs() / wanted.abs().cummax(-1).values).max())


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("prepared", [True, False])
def test_no_output_drowns_in_later_ones(backend: str, prepared: bool):
    u, h = growing()
    y = long_conv(u, prepare(h, L, backend=backend) if prepared else h, backend=backend)
    assert off(y, long_conv(u.double(), h.double(), backend=backend)) < tolerances.BEGINNING


@pytest.mark.parametrize("backend", BACKENDS)
def test_gates_skip_and_short_convolutions_are_those_of_the_whole(backend: str):
    (u, h), skip = growing(), torch.randn(D)
    streams, taps, bias, offset = u.repeat(1, 3, 1), torch.randn(3 * D, 3), torch.randn(3 * D), torch.randn(3 * D)
    given = [t.double() for t in (streams, taps, bias, h, skip)]
    wanted = hyena_conv(*given, offset=offset.double(), backend=backend)
    assert off(hyena_conv(streams, taps, bias, h, skip, offset=offset, backend=backend), wanted) < 10 * tolerances.BEGINNING
    for n in (LEAST, LEAST * FRACTION):  # where the outputs of a shorter transform end
        first = [given[0][..., : n + 5], *given[1:]]
        direct = hyena_conv(*first, offset=offset.double(), backend="direct")[..., -10:]
        assert_close(wanted[..., n - 5 : n + 5] / loudness(direct), direct / loudness(direct), **tolerances.FLOAT64)


def test_which_outputs():
    assert beginnings(2**18) == [2**13, 2**8]
    assert beginnings(LONG - 1) == []
    assert all(n * FRACTION <= 10**6 for n in beginnings(10**6))
