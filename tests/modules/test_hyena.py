"""The Hyena recurrence against its definition, written out with an explicit convolution."""

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from hyena.configs.mixers import HyenaConfig, ImplicitFilterConfig
from hyena.modules import Hyena, build
from hyena.modules.fused import gated
from hyena.modules.layers import activation
from hyena.ops.plan import conv_flops
from tests import tolerances
from tests.modules.mixers import MAX_LENGTH, mixer, signal
from tests.ops.oracle import oracle


def recurrence(m: Hyena, x: Tensor, taps: Tensor) -> Tensor:
    """v = h_o conv (gate * v) + d_o gate * v for the gates in reverse, then W_out act(x_0 v); taps ((N - 1) D, K)."""
    N, D = m.config.order, m.width
    projected = m.in_proj(x).mT
    short = oracle(projected, m.short_conv.taps) + m.short_conv.bias[:, None]
    *gates, v = short.split(D, dim=1)
    for o in range(N - 1):
        gate = gates[N - 1 - o]
        if m.config.gating == "outer":
            gate = gate.sum(1, keepdim=True)
        v = gate * v
        rows = slice(o * D, (o + 1) * D)
        v = oracle(v, taps[rows], None if m.skip is None else m.skip[rows])
        if m.order_scale is not None:
            v = m.order_scale[o] * v
    return m.out_proj(activation(m.config.activation)(gates[0] * v).mT)


CONFIGS = {
    "order 2": HyenaConfig(),
    "order 3": HyenaConfig(order=3),
    "order 4": HyenaConfig(order=4),
    "no skip": HyenaConfig(skip=False),
    "outer": HyenaConfig(gating="outer"),
    "outer, order 3": HyenaConfig(gating="outer", order=3),
    "scaled orders": HyenaConfig(order=3, order_scale=True),
    "scaled, no skip": HyenaConfig(order=3, order_scale=True, skip=False),
    "activation": HyenaConfig(activation="silu"),
    "one short tap": HyenaConfig(short_taps=1),
    "many short taps": HyenaConfig(short_taps=9),
}


@pytest.mark.parametrize("L", [1, 2, 33, MAX_LENGTH])
@pytest.mark.parametrize("name", CONFIGS)
def test_it_is_the_recurrence(name: str, L: int):
    m, x = mixer(CONFIGS[name]), signal(L=L)
    if m.order_scale is not None:
        torch.nn.init.normal_(m.order_scale)
    assert_close(m(x), recurrence(m, x, m.filter(L)), **tolerances.FLOAT64)


@pytest.mark.parametrize("order", [2, 3])
def test_a_truncated_filter_is_zero_beyond(order: int):
    m, L = mixer(HyenaConfig(order=order), beyond="truncate"), 2 * MAX_LENGTH + 5
    x, taps = signal(L=L), m.filter(MAX_LENGTH)
    padded = torch.nn.functional.pad(taps, (0, L - MAX_LENGTH))
    assert_close(m(x), recurrence(m, x, padded), **tolerances.FLOAT64)


def test_a_truncated_filter_forgets_what_lies_further_back():
    m = mixer(HyenaConfig(), beyond="truncate")
    reach = MAX_LENGTH + m.config.short_taps - 1
    x = signal(L=reach + 20)
    other = torch.cat([signal(L=20), x[:, 20:]], dim=1)
    assert_close(m(x)[:, -1], m(other)[:, -1], **tolerances.FLOAT64)
    assert (m(x)[:, -2] - m(other)[:, -2]).abs().max() > 1e-6


def test_an_extended_filter_goes_on():
    m, L = mixer(HyenaConfig(), beyond="extend"), 2 * MAX_LENGTH + 5
    x, taps = signal(L=L), m.filter(L)
    assert taps.shape[1] == L
    assert taps[:, MAX_LENGTH:].abs().max() > 0
    assert_close(m(x), recurrence(m, x, taps), **tolerances.FLOAT64)


@pytest.mark.parametrize("order", [2, 3])
def test_the_streams_are_the_projection_after_the_short_convolution(order: int):
    m, x = mixer(HyenaConfig(order=order, short_taps=4)), signal(L=20)
    wanted = oracle(m.in_proj(x).mT, m.short_conv.taps) + m.short_conv.bias[:, None]
    assert wanted.shape == (2, (order + 1) * m.width, 20)
    assert_close(m.streams(x), wanted, **tolerances.FLOAT64)


def test_the_streams_are_what_the_operator_sees():
    m, x = mixer(HyenaConfig()), signal(L=20)
    q, k, v = m.streams(x).chunk(3, dim=1)
    y = oracle(v, m.filter(20), m.skip, pre=k, post=q)
    assert_close(m(x), m.out_proj(y.mT), **tolerances.FLOAT64)


@pytest.mark.parametrize("grad", [True, False], ids=["gradients", "no gradients"])
@pytest.mark.parametrize("name", ["order 2", "no skip", "many short taps"])
def test_the_one_operator_is_the_recurrence_of_many(name: str, grad: bool):
    m, x = mixer(CONFIGS[name]), signal(L=50)
    with torch.set_grad_enabled(grad):
        for _ in range(2):  # the second time the filter is found prepared
            one = gated(x, m.in_proj, m.short_conv, m.filter, m.skip)
            assert_close(one, m._recurrence(x), **tolerances.FLOAT64)


@pytest.mark.parametrize("order", [2, 3])
def test_no_sequence_has_an_empty_result(order: int):
    m, x = mixer(HyenaConfig(order=order)), signal(B=0, L=20).requires_grad_()
    y = m(x)
    assert y.shape == (0, 20, m.width)
    y.sum().backward()
    assert all(p.grad is None or not p.grad.any() for p in m.parameters())


def test_a_changed_filter_is_seen_by_the_mixer():
    m, x = mixer(HyenaConfig()), signal(L=50)
    with torch.no_grad():
        m(x)
        for change in (lambda: m.filter.out.weight.data.mul_(2), lambda: m.load_state_dict(mixer(HyenaConfig()).state_dict())):
            change()
            assert_close(m(x), recurrence(m, x, m.filter._taps(50)), **tolerances.FLOAT64)


def test_the_skip_starts_at_random_and_the_scales_at_one():
    wide = build(HyenaConfig(order=3, order_scale=True), 4000, 4, "error")
    assert wide.skip.shape == (8000,)
    assert_close(wide.skip.std(), torch.tensor(1.0), **tolerances.STATISTICS)
    assert torch.equal(wide.order_scale, torch.ones(2))


def test_dropout_is_for_training():
    m, plain = mixer(HyenaConfig(dropout=0.5)), mixer(HyenaConfig())
    plain.load_state_dict(m.state_dict())
    x = signal()
    assert torch.equal(m(x), plain(x))
    m.train()
    assert not torch.equal(m(x), m(x))
    # Half of the products are dropped and the others doubled: the mean of many draws is the plain result.
    wanted, mean = plain(x), torch.stack([m(x) for _ in range(400)]).mean(0)
    assert (mean - wanted).norm() < 0.15 * wanted.norm()


def test_operations_by_hand():
    m, D, L = mixer(HyenaConfig(order=3, short_taps=3)), 32, 50
    projections = 2 * L * (4 * D * D + D * D)
    short = 2 * 3 * 4 * D * L
    filters = 2 * L * (33 * 64 + 2 * 64 * 64 + 64 * 2 * D)
    assert m.flops(L) == projections + short + filters + 2 * conv_flops(1, D, L, L, D) + 3 * D * L


@pytest.mark.parametrize(("dtype", "size"), [(torch.bfloat16, 2), (torch.float32, 4), (torch.float64, 8)], ids=str)
def test_state_by_hand(dtype: torch.dtype, size: int):
    m, D, L = mixer(HyenaConfig(order=3, short_taps=3), dtype), 32, 50
    short, rows = 4 * D * 2 * size, 2 * D * max(4, size)
    assert m.state_bytes(L, "cached") == m.state_bytes(L) == short + rows * L
    # The inputs, what is computed ahead for 64 outputs, the current block twice, and the clock.
    assert m.state_bytes(L, "tiled") == short + rows * (L + 64 + 2 * 32) + 8


def test_the_state_of_a_truncated_filter_is_bounded():
    m = mixer(HyenaConfig(), beyond="truncate")
    assert m.state_bytes(10**7) == m.state_bytes(10**6)


def test_parameters_have_the_names_of_the_state_dict():
    names = set(dict(mixer(HyenaConfig(order_scale=True, filter=ImplicitFilterConfig(inner_layers=1))).state_dict()))
    maps = ("in_proj", "out_proj", "filter.layers.0", "filter.layers.1")
    assert names == {
        *(f"{part}.{kind}" for part in maps for kind in ("weight", "bias")),
        *("short_conv.taps", "short_conv.bias", "skip", "order_scale"),
        *("filter.t", "filter.z", "filter.decay", "filter.frequency", "filter.out.weight"),
    }  # fmt: skip
