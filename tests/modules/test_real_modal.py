"""The real modal filter: its taps against the formula in both forms, its stream against the convolution with them."""

import copy
import math
import random

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from hyena.configs.filters import RealModalFilterConfig
from hyena.modules.real_modal import FORMS, GAMMA, LogPoleFilter, RateFilter
from hyena.ops import long_conv
from tests import tolerances

G = 6
CONFIGS = {
    "rates": RealModalFilterConfig(),
    "log poles": RealModalFilterConfig(form="log_poles"),
    "one rate": RealModalFilterConfig(order=1),
    "three log poles": RealModalFilterConfig(order=3, form="log_poles"),
}
every_config = pytest.mark.parametrize("name", CONFIGS)


def make(name: str = "rates", dtype: torch.dtype = torch.float64) -> RateFilter | LogPoleFilter:
    """A filter in evaluation mode."""
    config = CONFIGS[name]
    return FORMS[config.form](config, G).to(dtype).eval()


def formula(filter: RateFilter | LogPoleFilter, K: int) -> Tensor:
    """sum_n R_n exp(log_poles_n t), log_poles = -exp(p) gamma where those are stored; differentiable."""
    log_poles = -filter.p.exp() * filter.log_gamma.exp() if isinstance(filter, RateFilter) else filter.log_poles
    return (filter.residues[..., None] * (log_poles[..., None] * torch.arange(K)).exp()).sum(1)


@every_config
@pytest.mark.parametrize("K", [1, 2, 7, 100, 1000])
def test_taps_are_the_formulas(name: str, K: int):
    filter = make(name)
    assert_close(filter(K), formula(filter, K), **tolerances.MODAL)
    with torch.no_grad():
        assert_close(filter(K), formula(filter, K), **tolerances.MODAL)


@every_config
def test_gradients_are_the_formulas(name: str):
    filter = make(name).train()
    weight, parameters = torch.randn(G, 50, dtype=torch.float64), list(filter.parameters())
    ours = torch.autograd.grad((filter(50) * weight).sum(), parameters)
    wanted = torch.autograd.grad((formula(filter, 50) * weight).sum(), parameters)
    for a, b in zip(ours, wanted, strict=True):
        assert_close(a, b, rtol=1e-10, atol=1e-10)


def test_a_million_taps_in_float32():
    filter = make("log poles", torch.float32)
    filter.log_poles.data = -torch.logspace(-7, 0, 16).expand(G, 16).clone()
    with torch.no_grad():
        taps = filter(1_000_000)
        t = torch.cat([torch.arange(100), torch.randint(1_000_000, (1000,)), torch.tensor([999_999])])
        double = copy.deepcopy(filter).double()
        wanted = (double.residues[..., None] * (double.log_poles[..., None] * t).exp()).sum(1)
    assert (taps[:, t] - wanted).abs().max() <= tolerances.MODAL_FLOAT32 * wanted.abs().max()


def test_they_start_as_published():
    filter = FORMS["rates"](RealModalFilterConfig(order=16), 2000)
    gamma = filter.log_gamma.detach().exp()
    assert (filter.p == -1).all()
    assert GAMMA[0] - 1e-6 <= gamma.min() <= gamma.max() <= GAMMA[1] + 1e-6
    assert_close(gamma.mean(), torch.tensor(0.055), **tolerances.STATISTICS)
    assert_close(filter.residues.detach().std(), torch.tensor(0.1 / 4), **tolerances.STATISTICS)
    other = FORMS["log_poles"](RealModalFilterConfig(order=16, form="log_poles"), 2000)
    rates = -other.log_poles.detach() * math.e
    assert_close(rates.mean(), torch.tensor(0.055), **tolerances.STATISTICS)


@pytest.mark.parametrize(
    ("name", "names"), [("rates", {"p", "log_gamma", "residues"}), ("log poles", {"log_poles", "residues"})]
)
def test_parameters_are_those_of_the_form(name: str, names: set[str]):
    filter = make(name)
    assert {key: tuple(t.shape) for key, t in filter.state_dict().items()} == dict.fromkeys(names, (G, 16))


def test_a_rate_is_above_zero_whatever_its_parameters_are():
    filter = make()
    filter.p.data.fill_(30.0)
    assert filter(20).isfinite().all()
    filter.p.data.fill_(-30.0)
    assert filter.exponents().max() < 0


@every_config
@pytest.mark.parametrize("seed", range(3))
def test_any_split_is_the_convolution(name: str, seed: int):
    random.seed(seed)
    filter, u, parts, at = make(name), torch.randn(2, G, 200, dtype=torch.float64), [], 0
    with torch.no_grad():
        state = filter.init_state(2)
        while at < 200:
            n = min(random.choice([1, 1, 2, 3, 40, 90]), 200 - at) if seed else 1
            x = u[..., at : at + n]
            parts.append(filter.present(state, x))
            filter.commit(state, x)
            at += n
            assert state.nbytes == 2 * filter.state_bytes(at) == 2 * G * filter.config.order * 8
        assert_close(torch.cat(parts, 2), long_conv(u, formula(filter, 200)), **tolerances.FLOAT64)


def test_the_state_is_the_recurrences():
    filter, u = make("three log poles"), torch.randn(2, G, 70, dtype=torch.float64)
    state, x = filter.init_state(2), torch.zeros(2, G, 3, dtype=torch.float64)
    filter.commit(state, u)
    for t in range(70):
        x = x * filter.log_poles.detach().exp() + u[:, :, t, None]
    assert_close(state.modes[..., 0], x, **tolerances.FLOAT64)


@every_config
def test_rows_take_in_as_many_inputs_as_they_have(name: str):
    filter, u = make(name), torch.randn(3, G, 60, dtype=torch.float64)
    with torch.no_grad():
        state = filter.init_state(3)
        for n, lengths in ((50, [0, 1, 50]), (1, [1, 0, 1])):
            filter.commit(state, u[..., :n], torch.tensor(lengths))
        past = filter.past(state, 9)
        for b, seen in enumerate([[0], [0], [*range(50), 0]]):
            alone = filter.init_state(1)
            filter.commit(alone, u[b : b + 1, :, seen])
            assert_close(past[b : b + 1], filter.past(alone, 9), **tolerances.FLOAT64)


def test_operations_are_half_those_of_complex_modes():
    assert make("three log poles").flops(100) == 2 * 3 * G * 100
