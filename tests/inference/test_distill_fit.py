"""Taps to modes: exact where they are modes, bounded below by the Hankel singular values, stable, and sane for odd taps."""

import math

import pytest
import torch
from torch import Tensor

from hyena.inference.distillation import exponentials, fit, hankel
from hyena.inference.distillation.choose import TAPS
from hyena.inference.distillation.grid import Grid


def systems(D: int, S: int, T: int) -> Tensor:
    """Taps (D, T) of random systems of S poles that last for 1/100 to 1/4 of the taps, slower than any step taken here."""
    decay = torch.exp(-torch.rand(D, S).double() * math.log(25)) * 100 / T
    angle = torch.rand(D, S).double() * min(3.0, 1.5 * TAPS / T) + 0.02 * TAPS / max(T, TAPS)
    R = torch.complex(*torch.randn(2, D, S).double().unbind())
    t = torch.arange(T).double()
    return (R[..., None] * torch.exp(torch.complex(-decay, angle)[..., None] * t)).real.sum(1)


def off(modes: fit.Modes, g: Tensor) -> Tensor:
    """Relative error (D,)."""
    return (modes.taps(g.shape[1]) - g).norm(dim=1) / g.norm(dim=1)


def dense(g: Tensor) -> Tensor:
    """The square Hankel matrices, from their definition."""
    index = torch.arange(hankel.rows(g.shape[1]))
    return g[:, index[:, None] + index]


@pytest.mark.parametrize("steps", [0, 5])
@pytest.mark.parametrize(("S", "T"), [(1, 40), (2, 200), (8, 200), (8, 700), (16, 1000), (4, 3000), (8, 20000)])
def test_a_system_of_so_many_poles_is_recovered(S: int, T: int, steps: int):
    torch.manual_seed(0)
    g = systems(4, S, T)
    modes = fit.fit(g, S, steps)
    assert off(modes, g).max() < 1e-9
    assert modes.log_poles.real.max() < 0


def test_poles_are_those_of_the_system_and_conjugates_are_implied():
    p = torch.tensor([[-0.02 + 0.3j, -0.1 + 2.0j, -0.01 + 0j]], dtype=torch.complex128)
    R = torch.tensor([[1 - 2j, 0.5j, 3 + 0j]], dtype=torch.complex128)
    modes = fit.fit(exponentials.values(p, R, 300), 3)
    order = [int((modes.log_poles[0] - pole).abs().argmin()) for pole in p[0]]
    torch.testing.assert_close(modes.log_poles[:, order], p, rtol=0, atol=1e-9)
    torch.testing.assert_close(modes.residues[:, order], R, rtol=0, atol=1e-7)


def rough(D: int = 3, T: int = 181) -> Tensor:
    """Decaying noise, which no few poles follow."""
    torch.manual_seed(1)
    return torch.randn(D, T).double() * torch.exp(-torch.arange(T) / 40.0)


def test_the_error_falls_with_the_order_and_never_below_the_singular_values():
    g = rough()
    before = torch.full((3,), torch.inf)
    for order in (1, 2, 4, 8, 16):
        rest = g - fit.fit(g, order).taps(g.shape[1])
        error = rest.norm(dim=1)
        assert (error < before).all()
        before = error
        bound = hankel.singular_values(g, 2 * order + 1)[:, -1]
        assert (torch.linalg.matrix_norm(dense(rest), 2) >= bound * (1 - 1e-9)).all()


def test_refinement_helps_and_never_harms():
    g = rough(6)
    plain, refined = (off(fit.fit(g, 4, steps), g) for steps in (0, 30))
    assert (refined <= plain + 1e-12).all()
    assert refined.mean() < 0.98 * plain.mean()


def test_random_projection_finds_the_same_singular_values_and_poles(monkeypatch: pytest.MonkeyPatch):
    torch.manual_seed(0)
    g = systems(2, 5, 401)
    exact = torch.linalg.svdvals(dense(g))[:, :10]
    poles = hankel.poles(g, 10)
    torch.testing.assert_close(hankel.singular_values(g, 10), exact, rtol=1e-9, atol=0)
    monkeypatch.setattr(hankel, "_DENSE", 1)
    torch.testing.assert_close(hankel.singular_values(g, 10), exact, rtol=1e-9, atol=0)
    found = hankel.poles(g, 10)
    assert (found[:, :, None] - poles[:, None]).abs().amin(2).max() < 1e-8


@pytest.mark.parametrize("growth", [0.0, 0.01])
def test_no_pole_grows(growth: float):
    t = torch.arange(300).double()
    g = torch.stack([torch.exp(growth * t), torch.cos(0.3 * t) * torch.exp(growth * t)])
    for lasting in (2.0, math.inf):
        modes = fit.fit(g, 3, lasting=lasting)
        assert modes.log_poles.real.max() <= -1 / (lasting * 300)
        assert torch.isfinite(modes.taps(3000)).all()
        if not growth:
            assert modes.taps(3000).abs().max() < 1.1


def test_a_constant_is_nearly_one_and_with_lasting_modes_exactly():
    g = torch.full((1, 256), 0.7).double()
    modes = fit.fit(g, 4)
    assert off(modes, g).max() < 1e-4, "waves help the mode out that may not last for ever"
    assert modes.taps(4096)[:, 2048:].abs().max() < 0.7
    assert off(fit.fit(g, 1, lasting=math.inf), g).max() < 1e-9


@pytest.mark.parametrize("T", [0, 1, 2, 3, 4, 5, 7])
def test_few_taps_and_zeros(T: int):
    torch.manual_seed(0)
    g = torch.randn(3, T).double()
    g[1] = 0
    modes = fit.fit(g, 4)
    assert modes.log_poles.shape == modes.residues.shape == (3, 4)
    assert torch.isfinite(torch.view_as_real(modes.residues)).all()
    assert (modes.residues[1] == 0).all()
    if T <= 3:
        torch.testing.assert_close(modes.taps(T), g, rtol=0, atol=1e-5)


def test_one_impulse_and_one_exponential():
    g = torch.zeros(2, 100).double()
    g[0, 0] = 1
    g[1] = torch.exp(-torch.arange(100) / 9.0)
    modes = fit.fit(g, 2)
    torch.testing.assert_close(modes.taps(100), g, rtol=0, atol=1e-6)


def test_a_single_pole_of_many_is_not_lost_in_the_others_that_are_free():
    torch.manual_seed(0)
    g = systems(3, 1, 500)
    modes = fit.fit(g, 16)
    assert off(modes, g).max() < 1e-9
    assert modes.residues.abs().max() < 100 * g.abs().max()


def test_residues_are_the_least_squares_over_all_taps():
    torch.manual_seed(0)
    p = torch.complex(-torch.rand(2, 3).double() / 20 - 0.01, torch.rand(2, 3).double() * 3)
    g = torch.randn(2, 400).double()
    R = exponentials.residues(p, g)
    powers = torch.exp(p[:, None] * torch.arange(400)[:, None])
    A = torch.cat([powers.real, -powers.imag], dim=2)
    best = torch.linalg.lstsq(A, g[..., None]).solution[..., 0]
    torch.testing.assert_close(torch.cat([R.real, R.imag], dim=1), best, rtol=0, atol=1e-10)
    torch.testing.assert_close(exponentials.values(p, R, 400), (A @ best[..., None])[..., 0], rtol=0, atol=1e-10)
    gram = torch.cat([powers.real, powers.imag], dim=2)
    torch.testing.assert_close(exponentials.gram(p, 400), gram.mT @ gram, rtol=0, atol=1e-9)
    total = exponentials.values(p, R, 400)[:, 7:].square().sum(1)
    torch.testing.assert_close(exponentials.energy(p, R, 7, 400), total, rtol=1e-9, atol=0)


@pytest.mark.parametrize("taps", [1, 5, 64, 65, 100, 1000])
def test_bins_cover_every_lag_once_and_agree_with_the_closed_form(taps: int):
    grid = Grid.over(taps, fine=64)
    lags = torch.cat([torch.arange(int(a), int(a + w)) for a, w in zip(grid.first, grid.width, strict=True)])
    assert torch.equal(lags, torch.arange(taps))
    p = torch.tensor([[-0.01 + 0.02j, 0j, -0.3 + 3j]], dtype=torch.complex128)
    powers = torch.exp(p[0] * torch.arange(taps)[:, None])
    found = grid.powers(p)[0]
    for part in ("real", "imag"):
        torch.testing.assert_close(getattr(found, part), grid.of(getattr(powers, part).T.contiguous()).T, rtol=0, atol=1e-9)


@pytest.mark.parametrize("T", [200, 1024, 1025, 5000])
@pytest.mark.parametrize("angle", [0.0, 1e-9, 1e-6, 2e-5, 1e-4, 1e-3])
def test_a_pole_that_is_nearly_real_makes_no_noise(T: int, angle: float):
    """Its imaginary part is nearly nothing; a closed form that loses it to rounding once gave residues of 1e15."""
    p = torch.tensor([[complex(-2.0 / T, angle), -20.0 / T + 0.5j, -40 + 1e-7j, -40 + 0j]], dtype=torch.complex128)
    R = torch.tensor([[2 + 1j, 1 - 1j, 0.3 + 0j, 0j]], dtype=torch.complex128)
    g = exponentials.values(p, R, T)
    found = exponentials.residues(p, g)
    assert (exponentials.values(p, found, T) - g).norm() / g.norm() < 1e-6
    noisy = g + torch.randn_like(g)
    found = exponentials.residues(p, noisy)
    assert (noisy - exponentials.values(p, found, T)).norm() <= (1 + 1e-9) * (noisy - g).norm()
    assert found.abs().max() < 1e6


@pytest.mark.parametrize("T", [300, 1500, 5000])
def test_smooth_filters_of_every_kind_are_off_by_less_than_their_norm(T: int):
    """Bumps and waves under windows, fitted with more poles than they need, and poles rounded as a model stores them."""
    torch.manual_seed(0)
    t = torch.arange(T).double() / T
    centres, widths, waves, decays = torch.rand(4, 24, 1).double().unbind()
    g = torch.exp(-(((t - centres / 2) / (0.05 + widths)) ** 2)) * torch.cos(40 * waves * t) * torch.exp(-20 * decays * t)
    for order in (6, 16):
        modes = fit.fit(g, order, 10)
        assert off(modes, g).max() < 0.5
        rounded = torch.complex(-(-modes.log_poles.real).log().float().double().exp(), modes.log_poles.imag.float().double())
        R = exponentials.residues(rounded, g)
        again = fit.Modes(rounded, torch.complex(R.real.float().double(), R.imag.float().double()))
        assert (off(again, g) <= 1.5 * off(modes, g) + 1e-4).all()
