"""One token of a gated convolution by the kernel against the same in PyTorch, tap by tap and mode by mode in float64."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from hyena.configs.filters import ExplicitFilterConfig, ModalFilterConfig
from hyena.configs.mixers import ExplicitConvConfig, GatedConfig, GatedConvConfig, Mixers
from hyena.modules.gated_conv import GatedConv
from hyena.ops import kernel, modal
from hyena.ops.gated_step import StepState, StepWeights, Token
from tests import tolerances
from tests.helpers import loudness

TOLERANCE = {torch.float32: tolerances.FLOAT32, torch.float64: tolerances.FLOAT64}
needs_the_kernel = pytest.mark.skipif(not kernel.available(), reason="there is no native kernel here")


def case(
    B: int, D: int, K: int, S: int, H: int, dtype: torch.dtype, skip: bool = True, parts: int = 2
) -> tuple[Tensor, StepWeights, StepState]:
    """A token, weights and what was kept; parts: numbers a mode."""

    def normal(*shape: int, dtype: torch.dtype = dtype) -> Tensor:
        return torch.randn(*shape, dtype=torch.float64).to(dtype)

    lam, read = modal.step_weights(-normal(D, S, parts, dtype=torch.float64).abs(), normal(D, S, parts))
    weights = StepWeights(normal(3 * D, K), normal(3 * D), lam, read, normal(D, 1), normal(D, H), normal(D) if skip else None)
    kept = normal(B, D, H) if H else None
    return normal(B, 3 * D), weights, StepState(normal(B, 3 * D, K - 1), kept, normal(B, D, S, parts, dtype=torch.float64))


def definition(x: Tensor, w: StepWeights, s: StepState) -> tuple[Tensor, Tensor, StepState]:
    """y, u and what is kept afterwards, in float64."""
    x = x.double()
    window = torch.cat([s.window.double(), x[..., None]], 2)
    q, k, v = ((window * w.taps.double().flip(1)).sum(2) + w.bias.double()).chunk(3, 1)
    u = k * v
    numbers = [s.modes, w.lam, w.read.unflatten(1, (-1, w.lam.shape[2]))]
    modes, lam, read = [torch.view_as_complex(t) for t in numbers] if w.lam.shape[2] == 2 else [t[..., 0] for t in numbers]
    y = (modes * read.conj()).real.sum(2) + (w.now[:, 0].double() + (0 if w.skip is None else w.skip.double())) * u
    entering, kept = u, None
    if s.kept is not None:
        y = y + (s.kept.double() * w.head.double()).sum(2)
        kept = torch.cat([s.kept.double(), u[..., None]], 2)
        entering, kept = kept[..., 0], kept[..., 1:]
    after = modes * lam + entering[..., None]
    after = torch.view_as_real(after) if after.is_complex() else after[..., None]
    return q * y, u, StepState(window[..., 1:], kept, after)


@needs_the_kernel
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("sizes", [(1, 1, 1, 1, 0), (2, 5, 3, 8, 0), (3, 33, 2, 3, 1), (1, 8, 4, 16, 7), (2, 1500, 3, 16, 20)])
@pytest.mark.parametrize("skip", [True, False])
@pytest.mark.parametrize("parts", [1, 2])
def test_a_token(dtype: torch.dtype, sizes: tuple[int, int, int, int, int], skip: bool, parts: int):
    x, weights, state = case(*sizes, dtype, skip, parts)
    before = [None if t is None else t.clone() for t in state]
    y, u, after = definition(x, weights, state)
    found = Token(weights).peek(x, state)
    assert found is not None
    bound = {"rtol": 0.0, "atol": TOLERANCE[dtype]["atol"] * max(1.0, loudness(y))}
    assert_close(found[0].double(), y, **bound)
    assert_close(found[1].double(), u, **TOLERANCE[dtype])
    for a, b in zip(state, before, strict=True):
        assert a is b is None or torch.equal(a, b)
    assert Token(weights).commit(x, found[1], state)
    for a, b in zip(state, after, strict=True):
        assert a is b is None or assert_close(a.double(), b, **TOLERANCE[dtype]) is None


@needs_the_kernel
def test_what_the_kernel_cannot_read_is_left_to_others():
    x, weights, state = case(2, 4, 3, 2, 5, torch.float32)
    strange = [
        (x.double(), weights, state),
        (x.bfloat16(), weights, state),
        (x, weights._replace(taps=weights.taps.bfloat16()), state),
        (x, weights._replace(now=torch.randn(4, 2)[:, :1]), state),
        (x, weights, state._replace(modes=state.modes.float())),
        (x.T.contiguous().T, weights, state),
        (x.to("meta"), weights, state),
    ]
    for token, *others in strange:
        assert Token(others[0]).peek(token, others[1]) is None
        assert not Token(others[0]).commit(token, torch.randn(2, 4), others[1])
    assert not Token(weights).commit(x, torch.randn(4, 2).T, state)


@needs_the_kernel
@pytest.mark.parametrize(
    "config",
    [
        GatedConvConfig(),
        GatedConvConfig(skip=False, filter=ModalFilterConfig(order=3, head=4)),
        GatedConvConfig(short_bias=False, filter=ModalFilterConfig(order=3, form="cartesian")),
        Mixers().S,
        Mixers().L,
        ExplicitConvConfig(skip=True, filter=ExplicitFilterConfig(taps=20, groups=12, decay="strong", decay_length=40)),
        Mixers().D,
    ],
)
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_a_stream_takes_it_and_gives_the_same_without(config: GatedConfig, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch):
    m, x = GatedConv(config, 48).to(dtype).eval(), torch.randn(2, 30, 48, dtype=dtype)
    calls, peek = [], Token.peek

    def counted(*given: Any) -> tuple[Tensor, Tensor] | None:
        calls.append(peek(*given))
        return calls[-1]

    def streamed() -> Tensor:
        state, parts = m.init_state(2), []
        for t in range(30):
            y, state = m.extend(x[:, t : t + 1], state)
            parts.append(y)
        return torch.cat(parts, 1)

    monkeypatch.setattr(Token, "peek", counted)
    found = streamed()
    assert len(calls) == 30
    assert None not in calls
    monkeypatch.setattr(kernel, "available", lambda: False)
    assert_close(found, streamed(), **TOLERANCE[dtype])
    assert calls[30:] == 30 * [None]
