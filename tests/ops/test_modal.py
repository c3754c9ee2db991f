"""Modal filters against their definition, exp(t log lam) for every t, and their state against the recurrence token by token."""

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from hyena.ops import modal
from hyena.ops.modal import log_poles_of, modal_advance, modal_past, modal_read, modal_state, modal_taps, step_weights
from tests import tolerances

LENGTHS = [1, 2, 3, 63, 64, 65, 1000]


def system(D: int = 3, S: int = 4, slowest: float = 1e-4) -> tuple[Tensor, Tensor]:
    """Poles from gone at once to hardly decaying, at all angles, and residues; (D, S, 2) each, float64."""
    decay = torch.exp(torch.empty(D, S, dtype=torch.float64).uniform_(torch.tensor(slowest).log(), 1.0))
    angle = torch.empty(D, S, dtype=torch.float64).uniform_(-torch.pi, torch.pi)
    return torch.stack([-decay, angle], -1), torch.randn(D, S, 2, dtype=torch.float64)


def complex_(pairs: Tensor) -> Tensor:
    return torch.view_as_complex(pairs.contiguous())


def plain(log_poles: Tensor, residues: Tensor, t: Tensor) -> Tensor:
    """The definition at times t (K,): (D, K), by way of (D, S, K)."""
    return (complex_(residues)[..., None] * torch.exp(complex_(log_poles)[..., None] * t)).real.sum(1)


def recurrence(u: Tensor, log_poles: Tensor, state: Tensor | None = None) -> Tensor:
    """x <- lam x + u over u (B, D, L), from `state`: (B, D, S, 2)."""
    lam = torch.exp(complex_(log_poles))
    x = torch.zeros(u.shape[0], *lam.shape, dtype=lam.dtype) if state is None else complex_(state).clone()
    for t in range(u.shape[2]):
        x = lam * x + u[:, :, t, None]
    return torch.view_as_real(x)


# --- taps -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("S", [1, 2, 16])
@pytest.mark.parametrize("L", LENGTHS)
def test_taps_are_the_definitions(L: int, S: int):
    log_poles, residues = system(S=S)
    assert_close(modal_taps(log_poles, residues, L), plain(log_poles, residues, torch.arange(L)), **tolerances.MODAL)


@pytest.mark.parametrize("start", [1, 7, 999])
def test_taps_may_begin_anywhere(start: int):
    log_poles, residues = system()
    taps = modal_taps(log_poles, residues, 100, start)
    assert_close(taps, plain(log_poles, residues, torch.arange(100) + start), **tolerances.MODAL)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_they_are_an_operator_of_exported_graphs(dtype: torch.dtype):
    log_poles, residues = system(D=5)
    arguments = (log_poles, residues.to(dtype), 200, 3)
    assert torch.equal(modal.modal_taps_op(*arguments), modal_taps(*arguments))
    torch.library.opcheck(modal.modal_taps_op, arguments, test_utils=["test_schema", "test_faketensor"])


def test_some_channels_at_a_time_are_the_same(monkeypatch: pytest.MonkeyPatch):
    log_poles, residues = system(D=5)
    whole = modal_taps(log_poles, residues, 200)
    monkeypatch.setattr(modal, "_ROOM", 1)
    assert_close(modal_taps(log_poles, residues, 200), whole, **tolerances.MODAL)


def test_float32_taps_are_right_at_a_million_tokens():
    # Poles that live for one token, for a thousand and for ten million; the parameters as float32 has them are exact.
    log_poles = torch.stack([-torch.logspace(-7, 0, 8), torch.linspace(-3, 3.1, 8)], -1)[None]
    residues = torch.randn(1, 8, 2)
    taps = modal_taps(log_poles, residues, 1_000_000)
    assert taps.dtype == torch.float32
    t = torch.cat([torch.arange(100), torch.randint(1_000_000, (1000,)), torch.tensor([999_999])])
    wanted = plain(log_poles.double(), residues.double(), t)
    assert (taps[:, t] - wanted).abs().max() <= tolerances.MODAL_FLOAT32 * wanted.abs().max()


def test_each_pole_keeps_its_relative_precision_over_its_life():
    log_poles, residues = torch.tensor([[[-1e-6, 2.5]]]), torch.tensor([[[1.0, 0.5]]])
    t = torch.arange(900_000, 1_000_000)
    taps = modal_taps(log_poles, residues, len(t), int(t[0]))
    wanted = plain(log_poles.double(), residues.double(), t)
    assert (taps - wanted).abs().max() <= tolerances.MODAL_FLOAT32 * wanted.abs().max()


def test_gradients_are_those_of_the_definition():
    given = [t.requires_grad_() for t in system()]
    weight = torch.randn(3, 130, dtype=torch.float64)
    ours = torch.autograd.grad((modal_taps(*given, 130, 3) * weight).sum(), given)
    wanted = torch.autograd.grad((plain(*given, torch.arange(130) + 3) * weight).sum(), given)
    for a, b in zip(ours, wanted, strict=True):
        assert_close(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("pole", [0.0, 1.0, -1.0, 1e-300])
def test_poles_at_the_borders(pole: float):
    log_poles = log_poles_of(torch.tensor([[[pole, 0.0]]], dtype=torch.float64))
    taps = modal_taps(log_poles, torch.tensor([[[2.0, 1.0]]], dtype=torch.float64), 5)
    assert_close(taps, 2 * torch.tensor([[pole**t for t in range(5)]], dtype=torch.float64), rtol=1e-12, atol=1e-12)


def test_log_poles_are_logarithms():
    poles = torch.randn(4, 3, 2)
    found = log_poles_of(poles)
    assert found.dtype == torch.float64
    assert_close(torch.exp(complex_(found)), complex_(poles.double()), **tolerances.FLOAT64)


def test_autocast_does_not_reach_the_taps():
    log_poles, residues = (t.float() for t in system())
    with torch.autocast("cpu", torch.bfloat16):
        cast = modal_taps(log_poles, residues, 100)
    assert torch.equal(cast, modal_taps(log_poles, residues, 100))


# --- the state --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("B", [1, 3])
@pytest.mark.parametrize("L", LENGTHS)
def test_the_state_is_the_recurrences(L: int, B: int):
    (log_poles, _), u = system(), torch.randn(B, 3, L, dtype=torch.float64)
    assert_close(modal_state(u, log_poles), recurrence(u, log_poles), rtol=0, atol=1e-11)
    before = torch.randn(B, 3, 4, 2, dtype=torch.float64)
    assert_close(modal_state(u, log_poles, before), recurrence(u, log_poles, before), rtol=0, atol=1e-11)


def test_channels_one_after_the_other_give_the_same_state(monkeypatch: pytest.MonkeyPatch):
    (log_poles, _), u = system(), torch.randn(2, 3, 100, dtype=torch.float64)
    whole = modal_state(u, log_poles)
    monkeypatch.setattr(modal, "_ROOM", 1)
    assert_close(modal_state(u, log_poles), whole, **tolerances.FLOAT64)


def test_rows_read_as_many_inputs_as_they_have():
    (log_poles, _), u = system(), torch.randn(4, 3, 70, dtype=torch.float64)
    before, lengths = torch.randn(4, 3, 4, 2, dtype=torch.float64), torch.tensor([0, 1, 69, 70])
    after = modal_state(u, log_poles, before, lengths)
    for b, n in enumerate(lengths):
        row = slice(b, b + 1)
        assert_close(after[row], recurrence(u[row, :, :n], log_poles, before[row]), rtol=0, atol=1e-11)
    u[0] = torch.nan  # what is not read does not matter
    assert modal_state(u, log_poles, before, lengths).isfinite().all()


def test_the_state_of_float32_signals_is_float64():
    (log_poles, _), u = system(slowest=1e-6), torch.randn(2, 3, 4000)
    state = modal_state(u, log_poles.float())
    assert state.dtype == torch.float64
    wanted = recurrence(u.double(), log_poles.float().double())
    assert (state - wanted).norm() <= tolerances.MODAL_FLOAT32 * wanted.norm()
    assert_close(modal_state(u.bfloat16(), log_poles), modal_state(u.bfloat16().float(), log_poles))


def test_strides_do_not_matter():
    (log_poles, _), u = system(), torch.randn(3, 2, 100, dtype=torch.float64).transpose(0, 1)
    assert_close(modal_state(u, log_poles), modal_state(u.contiguous(), log_poles), **tolerances.FLOAT64)


# --- what the past gives ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("B", [1, 3])
@pytest.mark.parametrize("n", LENGTHS)
def test_the_past_is_the_part_of_the_convolution_before_now(n: int, B: int):
    (log_poles, residues), L = system(), 50
    u = torch.randn(B, 3, L, dtype=torch.float64)
    h = plain(log_poles, residues, torch.arange(L + n))
    lags = L + torch.arange(n)[:, None] - torch.arange(L)  # (n, L)
    wanted = torch.einsum("dnl,bdl->bdn", h[:, lags], u)
    assert_close(modal_past(modal_state(u, log_poles), log_poles, residues, n), wanted, rtol=0, atol=1e-11)


def test_one_token_is_the_same_as_many():
    (log_poles, residues), u = system(), torch.randn(2, 3, 30, dtype=torch.float64)
    lam, read = step_weights(log_poles, residues)
    state = torch.zeros(2, 3, 4, 2, dtype=torch.float64)
    for t in range(30):
        assert_close(modal_read(state, read), modal_past(state, log_poles, residues, 1)[..., 0], **tolerances.FLOAT64)
        modal_advance(state, lam, u[:, :, t])
    assert_close(state, recurrence(u, log_poles), rtol=0, atol=1e-11)


def test_one_token_for_some_rows():
    (log_poles, residues), u = system(), torch.randn(3, 3, dtype=torch.float64)
    lam, _ = step_weights(log_poles, residues)
    state = torch.randn(3, 3, 4, 2, dtype=torch.float64)
    after = state.clone()
    modal_advance(after, lam, u, torch.tensor([1, 0, 1]))
    wanted = recurrence(u[..., None], log_poles, state)
    assert_close(after[[0, 2]], wanted[[0, 2]], **tolerances.FLOAT64)
    assert torch.equal(after[1], state[1])


# --- real modes -------------------------------------------------------------------------------------------------------------


def real_system(D: int = 3, S: int = 4) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Log poles and residues of real modes, (D, S, 1) each, and the same as complex ones without imaginary parts."""
    log_poles, residues = system(D, S)
    real = log_poles[..., :1].contiguous(), residues[..., :1].contiguous()
    return real, (torch.cat([real[0], 0 * real[0]], -1), torch.cat([real[1], 0 * real[1]], -1))


@pytest.mark.parametrize("L", LENGTHS)
def test_real_modes_are_complex_ones_without_imaginary_parts(L: int):
    real, complex_ones = real_system()
    u, before = torch.randn(2, 3, L, dtype=torch.float64), torch.randn(2, 3, 4, 1, dtype=torch.float64)
    assert_close(modal_taps(*real, L, 3), modal_taps(*complex_ones, L, 3), **tolerances.MODAL)
    both = torch.cat([before, 0 * before], -1)
    lengths = torch.tensor([L, L // 2])
    after = modal_state(u, real[0], before, lengths)
    assert after.shape == before.shape
    assert_close(after, modal_state(u, complex_ones[0], both, lengths)[..., :1], rtol=0, atol=1e-11)
    assert_close(
        modal_past(after, *real, L), modal_past(torch.cat([after, 0 * after], -1), *complex_ones, L), rtol=0, atol=1e-11
    )


def test_one_token_of_real_modes():
    (log_poles, residues), u = real_system()[0], torch.randn(2, 3, 30, dtype=torch.float64)
    lam, read = step_weights(log_poles, residues)
    state = torch.zeros(2, 3, 4, 1, dtype=torch.float64)
    for t in range(30):
        assert_close(modal_read(state, read), modal_past(state, log_poles, residues, 1)[..., 0], **tolerances.FLOAT64)
        modal_advance(state, lam, u[:, :, t], torch.tensor([1, 1]) if t % 2 else None)
    assert_close(state, modal_state(u, log_poles), **tolerances.FLOAT64)


def test_gradients_of_real_modes_are_those_of_the_definition():
    given = [t.requires_grad_() for t in real_system()[0]]
    weight, t = torch.randn(3, 130, dtype=torch.float64), torch.arange(130) + 3
    ours = torch.autograd.grad((modal_taps(*given, 130, 3) * weight).sum(), given)
    wanted = torch.autograd.grad(((given[1] * (given[0] * t).exp()).sum(1) * weight).sum(), given)
    for a, b in zip(ours, wanted, strict=True):
        assert_close(a, b, rtol=1e-10, atol=1e-10)
