"""Attention against the textbook formula: groups of heads, windows, rotary positions."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from hyena.configs.mixers import AttentionConfig
from hyena.modules import Attention
from hyena.modules.attention import heads_for, windowed_op
from tests import tolerances
from tests.helpers import refused


def attention(width: int = 16, **options: object) -> Attention:
    """A float64 mixer."""
    return Attention(AttentionConfig(**options), width).double().eval()


def textbook(m: Attention, x: Tensor) -> Tensor:
    """One query at a time: softmax over the keys in reach, each query head with its own copy of its key/value head."""
    B, L, _ = x.shape
    P, group = m.head_width, m.heads // m.kv_heads
    q, k, v = m.qkv_proj(x).split([m.heads * P, m.kv_heads * P, m.kv_heads * P], dim=-1)
    y = torch.zeros(B, L, m.heads, P, dtype=x.dtype)
    for head in range(m.heads):
        mine = slice(head * P, (head + 1) * P)
        shared = slice(head // group * P, (head // group + 1) * P)
        queries, keys, values = q[..., mine], k[..., shared], v[..., shared]
        if m.rotary is not None:
            queries, keys = turned(queries, m), turned(keys, m)
        for t in range(L):
            reach = slice(0 if m.window is None else max(0, t - m.window + 1), t + 1)
            scores = torch.einsum("bp,bsp->bs", queries[:, t], keys[:, reach]) / math.sqrt(P)
            y[:, t, head] = torch.einsum("bs,bsp->bp", scores.softmax(-1), values[:, reach])
    return m.out_proj(y.flatten(2))


def turned(x: Tensor, m: Attention) -> Tensor:
    """Channels i and i + w/2 of x (B, L, P) as one complex number, turned by t inv_freq_i."""
    half = m.rotary.inv_freq.shape[0]
    z = torch.complex(x[..., :half], x[..., half : 2 * half])
    z = z * torch.exp(1j * torch.arange(x.shape[1])[:, None] * m.rotary.inv_freq)
    return torch.cat([z.real, z.imag, x[..., 2 * half :]], dim=-1)


OPTIONS = {
    "defaults": {},
    "four heads": {"heads": 4},
    "grouped": {"heads": 4, "kv_heads": 2},
    "one key head": {"heads": 4, "kv_heads": 1},
    "partly rotated": {"heads": 2, "rotary_width": 4, "rotary_base": 100.0},
    "no positions": {"heads": 2, "rotary_width": 0},
    "odd heads": {"heads": 16},  # of one channel: nothing to rotate
    "no biases": {"qkv_bias": False, "out_bias": False},
}


@pytest.mark.parametrize("L", [1, 2, 13])
@pytest.mark.parametrize("options", OPTIONS)
def test_it_is_the_textbook_formula(options: str, L: int):
    m, x = attention(**OPTIONS[options]), torch.randn(2, L, 16).double()
    assert_close(m(x), textbook(m, x), **tolerances.FLOAT64)


@pytest.mark.parametrize("L", [1, 2, 7, 16, 33])
@pytest.mark.parametrize("window", [1, 2, 5, 16, 32, 33, 100])
def test_a_window_is_a_masked_attention(window: int, L: int):
    m, x = attention(heads=4, kv_heads=2, window=window), torch.randn(2, L, 16).double()
    assert_close(m(x), textbook(m, x), **tolerances.FLOAT64)


def test_a_window_of_one_sees_itself_alone():
    m, x = attention(heads=2, window=1), torch.randn(2, 9, 16).double()
    values = m.qkv_proj(x)[..., 32:]
    assert_close(m(x), m.out_proj(values), **tolerances.FLOAT64)


def test_a_window_as_long_as_the_sequence_is_full_attention():
    m, x = attention(window=9), torch.randn(2, 9, 16).double()
    full = attention()
    full.load_state_dict(m.state_dict())
    assert_close(m(x), full(x), **tolerances.FLOAT64)


def test_shared_heads_are_repeated_heads():
    grouped, full = attention(heads=4, kv_heads=2), attention(heads=4)
    state = grouped.state_dict()
    for kind in ("weight", "bias"):
        rows = state[f"qkv_proj.{kind}"].unflatten(0, (8, 4))  # four query, two key, two value heads of 4 channels
        order = [0, 1, 2, 3, 4, 4, 5, 5, 6, 6, 7, 7]
        state[f"qkv_proj.{kind}"] = rows[order].flatten(0, 1)
    full.load_state_dict(state)
    x = torch.randn(2, 11, 16).double()
    assert_close(grouped(x), full(x), **tolerances.FLOAT64)


@pytest.mark.parametrize("window", [None, 4], ids=["full", "window"])
def test_only_distances_matter(window: int | None):
    # A common start, of which a later token has no memory but its place, moves all positions by 5.
    m = attention(heads=2, window=window)
    with torch.no_grad():
        m.qkv_proj.bias.zero_()
    x = torch.randn(1, 6, 16).double()
    x[:, 4:] = x[:, 4:].clone()
    moved = torch.cat([torch.zeros(1, 5, 16).double(), x], dim=1)
    if window is None:  # zero tokens have zero keys and values, but their share of the softmax: compare the ratios of scores
        q, k, _ = m.qkv_proj(moved).unflatten(-1, (3, 2, 8)).permute(2, 0, 3, 1, 4)
        q, k = m.rotary(q), m.rotary(k)
        q0, k0, _ = m.qkv_proj(x).unflatten(-1, (3, 2, 8)).permute(2, 0, 3, 1, 4)
        assert_close(q[:, :, 5:] @ k[:, :, 5:].mT, m.rotary(q0) @ m.rotary(k0).mT, **tolerances.FLOAT64)
    else:
        assert_close(m(moved)[:, 5 + 3 :], m(x)[:, 3:], **tolerances.FLOAT64)


@pytest.mark.parametrize("window", [None, 3], ids=["full", "window"])
def test_dropout_is_for_training(window: int | None):
    m, x = attention(heads=2, dropout=0.5, window=window), torch.randn(2, 9, 16).double()
    assert torch.equal(m(x), m(x))
    assert_close(m(x), textbook(m, x), **tolerances.FLOAT64)
    m.train()
    assert not torch.equal(m(x), m(x))


def test_windowed_memory_does_not_grow_with_the_square():
    m, x = attention(8, heads=1, window=16, rotary_width=0), torch.zeros(1, 2**15, 8).double()
    assert m(x).shape == x.shape  # 8 GB of float64 scores where all keys were kept


@pytest.mark.parametrize(("width", "heads"), [(32, 1), (64, 1), (65, 5), (96, 2), (128, 2), (768, 12), (67, 67), (864, 16)])
def test_the_fewest_heads_of_at_most_64_channels(width: int, heads: int):
    assert heads_for(width) == heads


def test_the_parts_have_their_widths():
    m = attention(heads=4, kv_heads=2)
    assert m.qkv_proj.weight.shape == (4 * 4 + 2 * 2 * 4, 16)
    assert isinstance(m.out_proj, nn.Linear)
    assert m.rotary.inv_freq.shape == (2,)


def test_costs_by_hand():
    L = 10
    m = attention(heads=4, kv_heads=2)
    assert m.flops(L) == 2 * L * (32 * 16 + 16 * 16) + 4 * L * L * 16
    assert m.state_bytes(L) == 2 * 2 * 4 * L * 8 + 8  # and the position
    narrow = attention(window=3)
    assert narrow.flops(L) == 2 * L * (48 * 16 + 16 * 16) + 4 * L * 6 * 16
    assert narrow.state_bytes(2) == 2 * 16 * 2 * 8 + 8
    assert narrow.state_bytes(10**6) == 2 * 16 * (2 + 64) * 8 + 8  # two before the present one, and room to move in


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ({"heads": 3}, ["3 heads", "width 16"]),
        ({"heads": 0}, ["0 heads", "width 16"]),
        ({"heads": 4, "kv_heads": 3}, ["kv_heads 3", "heads 4"]),
        ({"kv_heads": 0}, ["kv_heads 0", "heads 1"]),
        ({"heads": 4, "rotary_width": 6}, ["rotary_width 6", "4 channels"]),
        ({"rotary_width": 3}, ["rotary_width is 3", "even"]),
        ({"rotary_width": -2}, ["rotary_width is -2", "even"]),
        ({"window": 0}, ["window is 0", "at least 1"]),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_what_cannot_be_built_is_refused(options: dict[str, int], parts: list[str]):
    with refused(*parts):
        attention(**options)


@pytest.mark.parametrize("L", [1, 4, 5, 6, 23])
def test_a_window_is_an_operator_of_exported_graphs(L: int):
    m, x = attention(window=5, heads=4, kv_heads=2), torch.randn(2, L, 16, dtype=torch.float64)
    q, k, v = m._heads(x)
    y = windowed_op(q, k, v, 5)
    assert_close(m.out_proj(y.transpose(1, 2).flatten(2)), m(x), **tolerances.FLOAT64)
    given = tuple(t.detach() for t in (q, k, v))
    torch.library.opcheck(windowed_op, (*given, 5), test_utils=["test_schema", "test_faketensor"])
