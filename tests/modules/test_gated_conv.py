"""The gated convolution against its formula, written out; its stream and the numbers it keeps."""

import copy
import random

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.testing import assert_close

from hyena.configs.mixers import GatedConvConfig, ModalFilterConfig
from hyena.modules.gated_conv import GatedConv
from hyena.ops import hyena_conv
from tests import tolerances
from tests.modules.mixers import ALL, WIDTH, mixer, signal
from tests.ops.oracle import oracle

VARIANTS = [name for name in ALL if name[0] in "RSMLD"]
every_variant = pytest.mark.parametrize("name", VARIANTS)


def formula(m: GatedConv, x: Tensor) -> Tensor:
    """W_out (q * (h conv (k * v) + d * k * v)), every convolution a term a tap, by the filter's own taps."""
    streams = F.linear(x, m.in_proj.weight, m.in_proj.bias).transpose(1, 2)
    if m.short_conv is not None:
        streams = oracle(streams, m.short_conv.taps)
        streams = streams if m.short_conv.bias is None else streams + m.short_conv.bias[:, None]
    q, k, v = streams.chunk(3, dim=1)
    y = oracle(v, m.filter(x.shape[1]), m.skip, k, q)
    return F.linear(y.transpose(1, 2), m.out_proj.weight, m.out_proj.bias)


@every_variant
@pytest.mark.parametrize("L", [1, 2, 40])
def test_it_is_the_formula(name: str, L: int):
    m, x = mixer(ALL[name]), signal(2, L)
    assert_close(m(x), formula(m, x), **tolerances.FLOAT64)
    with torch.no_grad():
        assert_close(m(x), formula(m, x), **tolerances.FLOAT64)


@every_variant
def test_gradients_are_the_formulas(name: str):
    m, x = mixer(ALL[name]).train(), signal(2, 60)
    weight, parameters = torch.randn(2, 60, WIDTH, dtype=torch.float64), list(m.parameters())
    ours = torch.autograd.grad((m(x) * weight).sum(), parameters)
    wanted = torch.autograd.grad((formula(m, x) * weight).sum(), parameters)
    for a, b in zip(ours, wanted, strict=True):
        assert_close(a, b, rtol=1e-10, atol=1e-10)


def test_a_projection_with_a_hook_is_called(monkeypatch: pytest.MonkeyPatch):
    m, x = mixer(ALL["R"]), signal()
    wanted = m(x)
    m.in_proj.register_forward_hook(lambda module, args, out: 2 * out)
    with torch.no_grad():
        y = m(x)
    m.in_proj = nn.Linear(WIDTH, 3 * WIDTH).double()
    assert not torch.allclose(y, wanted)


def test_it_is_order_two_of_hyena_over_another_filter():
    m, x = mixer(ALL["R"]), signal()
    streams = F.linear(x, m.in_proj.weight, m.in_proj.bias).transpose(1, 2)
    y = hyena_conv(streams, m.short_conv.taps, m.short_conv.bias, m.filter(x.shape[1]), m.skip, backend="direct")
    assert_close(m(x), m.out_proj(y.transpose(1, 2)), **tolerances.FLOAT64)


@every_variant
@pytest.mark.parametrize("seed", range(3))
def test_any_split_is_the_whole(name: str, seed: int):
    random.seed(seed)
    m, x, parts, at = mixer(ALL[name]), signal(2, 130), [], 0
    state = m.init_state(2)
    while at < 130:
        n = min(random.choice([1, 1, 2, 3, 5, 40, 41, 90]), 130 - at) if seed else 1
        y, state = m.extend(x[:, at : at + n], state)
        parts.append(y)
        at += n
        assert state.nbytes == 2 * m.state_bytes(at)
    with torch.no_grad():
        assert_close(torch.cat(parts, 1), m(x), **tolerances.FLOAT64)


@every_variant
def test_a_half_precision_stream_is_close_to_float32(name: str):
    single, x = mixer(ALL[name], torch.float32), signal(2, 100, torch.bfloat16)
    m = copy.deepcopy(single).bfloat16()
    state, parts = m.init_state(2), []
    for t in (60, *40 * [1]):
        y, state = m.extend(x[:, sum(p.shape[1] for p in parts) :][:, :t], state)
        parts.append(y)
    assert parts[0].dtype == torch.bfloat16
    wanted = single(x.float())
    assert (torch.cat(parts, 1).float() - wanted).norm() <= tolerances.BFLOAT16_MODEL * wanted.norm()


def test_the_letter_d_is_lfm2s():
    """Gate, three taps a channel, gate, between two projections, and not a bias anywhere (as its configuration has it)."""
    m, x = mixer(ALL["D"]), signal(2, 40)
    assert {name: tuple(p.shape) for name, p in m.named_parameters()} == {
        "in_proj.weight": (3 * WIDTH, WIDTH),
        "filter.taps": (WIDTH, 3),
        "out_proj.weight": (WIDTH, WIDTH),
    }
    after, before, signal_ = F.linear(x, m.in_proj.weight).transpose(1, 2).chunk(3, dim=1)
    padded = F.pad(before * signal_, (2, 0))  # conv1d correlates: its last tap meets the present token
    y = after * F.conv1d(padded, m.filter.taps.flip(1)[:, None], groups=WIDTH)
    assert_close(m(x), F.linear(y.transpose(1, 2), m.out_proj.weight), **tolerances.FLOAT64)
    assert m.state_bytes(10**6) == 2 * WIDTH * 8, "two inputs a channel"


def test_operations_by_hand():
    m = GatedConv(GatedConvConfig(filter=ModalFilterConfig(order=2)), 8)
    without = m.flops(10) - m.filter.flops(10) - m.short_conv.flops(10)
    assert m.filter.flops(10) == 4 * 2 * 8 * 10
    assert without > 2 * 10 * (3 * 8 * 8 + 8 * 8) + 2 * 8 * 10
