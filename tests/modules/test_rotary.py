"""Rotary positions: the formula, distances alone matter, and float32 at least."""

import math

import pytest
import torch
from torch.testing import assert_close

from hyena.modules.rotary import Rotary
from tests import tolerances


@pytest.mark.parametrize(("width", "base"), [(2, 10000.0), (4, 10000.0), (6, 100.0)])
def test_it_is_a_turn_of_pairs_of_channels(width: int, base: float):
    P, L = 8, 7
    rotary = Rotary(width, base).double()
    x = torch.randn(2, 3, L, P).double()
    y = rotary(x)
    for t in range(L):
        for i in range(width // 2):
            angle = t * float(rotary.inv_freq[i])
            a, b = x[..., t, i], x[..., t, i + width // 2]
            assert_close(y[..., t, i], a * math.cos(angle) - b * math.sin(angle), **tolerances.FLOAT64)
            assert_close(y[..., t, i + width // 2], a * math.sin(angle) + b * math.cos(angle), **tolerances.FLOAT64)
    assert torch.equal(y[..., width:], x[..., width:])


def test_frequencies_fall_from_one_by_powers_of_the_base():
    wanted = [10000 ** (-2 * i / 8) for i in range(4)]
    assert_close(Rotary(8, 10000.0).inv_freq.tolist(), wanted, rtol=1e-7, atol=0)


def test_products_depend_on_the_distance_alone():
    rotary, L = Rotary(8, 100.0).double(), 20
    q, k = torch.randn(2, 8).double()
    turned_q, turned_k = rotary(q.expand(1, 1, L, 8)), rotary(k.expand(1, 1, L, 8))
    products = (turned_q @ turned_k.mT)[0, 0]
    for distance in range(L):
        diagonal = products.diagonal(-distance)
        assert_close(diagonal, diagonal[:1].expand_as(diagonal), **tolerances.FLOAT64)
    assert_close(products[0, 0], q @ k, **tolerances.FLOAT64)


def test_half_precision_keeps_distant_tokens_apart():
    # In bfloat16 the positions 1000 and 1001 are one number, and so would be their angles.
    rotary = Rotary(4, 10000.0).bfloat16()
    assert rotary.inv_freq.dtype == torch.float32
    x = torch.randn(4).bfloat16().expand(1, 1, 1002, 4)
    y = rotary(x)
    assert y.dtype == torch.bfloat16
    wanted = Rotary(4, 10000.0).double()(x.double())
    assert_close(y.double(), wanted, **tolerances.BFLOAT16)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(rotary(x), y)


def test_the_frequencies_are_loaded_not_recomputed():
    rotary = Rotary(4, 10000.0)
    rotary.load_state_dict({"inv_freq": torch.tensor([0.5, 0.25])})
    x = torch.tensor([1.0, 0.0, 0.0, 0.0]).expand(1, 1, 2, 4)
    assert_close(rotary(x)[0, 0, 1], torch.tensor([math.cos(0.5), 0.0, math.sin(0.5), 0.0]), rtol=1e-6, atol=1e-7)


def test_positions_are_divided_by_the_scale():
    plain, scaled = Rotary(6, 100.0).double(), Rotary(6, 100.0, scale=4.0).double()
    assert torch.equal(plain.inv_freq, scaled.inv_freq)
    x = torch.randn(2, 3, 30, 8).double()
    assert_close(scaled(x)[:, :, ::4], plain(x[:, :, ::4]), **tolerances.FLOAT64)
    begin = torch.tensor([8, 40])
    assert_close(scaled(x[:, :, :1], begin), plain(x[:, :, :1], begin // 4), **tolerances.FLOAT64)
