"""The modal filter: its taps against the formula, its stream against the convolution with them, and what it keeps."""

import copy
import math
import pickle
import random

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from hyena.configs.mixers import ModalFilterConfig
from hyena.modules.modal_filter import FORMS, CartesianFilter, ModalFilter
from hyena.ops import Spectrum, long_conv
from tests import tolerances

G = 6
CONFIGS = {
    "defaults": ModalFilterConfig(),
    "one pole": ModalFilterConfig(order=1),
    "head of one tap": ModalFilterConfig(order=2, head=1),
    "head": ModalFilterConfig(order=3, head=7),
    "cartesian": ModalFilterConfig(order=3, form="cartesian"),
    "cartesian with a head": ModalFilterConfig(order=2, head=7, form="cartesian"),
    "long head over fast poles": ModalFilterConfig(order=3, head=40, r_min=0.05, r_max=0.3),
}
every_config = pytest.mark.parametrize("name", CONFIGS)


def make(name: str = "head", dtype: torch.dtype = torch.float64) -> ModalFilter | CartesianFilter:
    """A filter in evaluation mode."""
    config = CONFIGS[name]
    return FORMS[config.form](config, G).to(dtype).eval()


def formula(filter: ModalFilter | CartesianFilter, K: int) -> Tensor:
    """The head, then Re sum R lam^(t - K_head); |lam| = exp(-exp(log_decay)) where its parts are not stored."""
    if isinstance(filter, CartesianFilter):
        lam = torch.view_as_complex(filter.poles.detach())
    else:
        lam = torch.polar(torch.exp(-torch.exp(filter.log_decay.detach())), filter.angle.detach())
    t = torch.arange(max(K - filter.head_taps, 0))
    tail = (torch.view_as_complex(filter.residues.detach())[..., None] * lam[..., None] ** t).real.sum(1)
    return tail if filter.head is None else torch.cat([filter.head.detach()[:, :K], tail], 1)


@every_config
@pytest.mark.parametrize("K", [1, 6, 7, 8, 100])
def test_taps_are_the_formulas(name: str, K: int):
    filter = make(name)
    assert_close(filter(K).detach(), formula(filter, K), **tolerances.FLOAT64)
    with torch.no_grad():
        assert_close(filter(K), formula(filter, K), **tolerances.FLOAT64)
        assert_close(filter.shared(K), formula(filter, K), **tolerances.FLOAT64)


@every_config
def test_sections_side_by_side_are_the_filter(name: str):
    filter = make(name)
    with torch.no_grad():
        parts = [filter.section(start, stop) for start, stop in ((0, 1), (1, 5), (5, 30), (30, 60))]
        assert filter._cached is None, "a section is never kept"
        assert_close(torch.cat(parts, 1), filter(60), **tolerances.FLOAT64)


@every_config
def test_poles_start_where_the_options_say_and_stay_inside(name: str):
    filter = make(name)
    size = filter.exponents()[..., 0].detach().exp()
    assert filter.config.r_min - 1e-6 <= float(size.min()) <= float(size.max()) <= filter.config.r_max + 1e-6
    if isinstance(filter, CartesianFilter):
        return
    filter.log_decay.data.fill_(-40.0)
    assert filter.exponents()[..., 0].max() <= 0
    filter.log_decay.data.fill_(40.0)
    assert filter(50).isfinite().all()


def test_filters_start_with_an_energy_of_one():
    filter = ModalFilter(ModalFilterConfig(order=8), 500).double()
    assert_close(filter(20_000).square().sum(1).mean(), torch.tensor(1.0).double(), rtol=0.1, atol=0)
    head = ModalFilter(ModalFilterConfig(head=50), 500).double().head
    assert_close(head.square().sum(1).mean(), torch.tensor(1.0).double(), rtol=0.1, atol=0)


def test_any_length_is_read_and_nothing_is_tied_to_one():
    filter = make()
    taps = filter(100)
    assert filter.used(10**6) == 10**6
    assert not filter.bounded()
    filter.check_length(10**6)
    filter.resized(5)
    assert torch.equal(filter(100), taps)
    assert filter.flops(107) == 2 * (2 * 3) * G * 100


def test_half_precision_and_autocast_do_not_reach_the_filter():
    filter = make(dtype=torch.float32)
    taps = filter(50)
    assert torch.equal(copy.deepcopy(filter).bfloat16()(50), taps)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(filter(50), taps)


def test_gradients_reach_poles_residues_and_head():
    filter = make().train()
    filter(20).square().sum().backward()
    assert all(p.grad.isfinite().all() and p.grad.count_nonzero() == p.numel() for p in filter.parameters())
    assert {name for name, _ in filter.named_parameters()} == {"log_decay", "angle", "residues", "head"}


# --- what is kept -----------------------------------------------------------------------------------------------------------


@every_config
@pytest.mark.parametrize("tensor", ["log_decay", "angle", "poles", "residues", "head"])
def test_a_change_is_always_seen(name: str, tensor: str):
    filter = make(name)
    if dict(filter.named_parameters()).get(tensor) is None:
        return
    u = torch.randn(2, G, 60, dtype=torch.float64)
    with torch.no_grad():
        before, step = filter(60), filter.step()
        assert isinstance(filter.prepared(60, G), Spectrum)
        assert filter.step() is step
        filter.get_parameter(tensor).data.view(-1)[0] *= 0.5  # a pole stays within the circle
        assert not torch.equal(filter(60), before)
        assert_close(filter(60), formula(filter, 60), **tolerances.FLOAT64)
        assert_close(long_conv(u, filter.prepared(60, G)), long_conv(u, formula(filter, 60)), **tolerances.FLOAT64)
        fresh = filter._step_weights()
        assert filter.step() is not step
        assert all(torch.equal(a, b) for a, b in zip(filter.step(), fresh, strict=True))


def test_nothing_kept_is_copied_or_pickled():
    filter = make()
    with torch.no_grad():
        filter.step()
        for other in (copy.deepcopy(filter), pickle.loads(pickle.dumps(filter))):
            assert other._cached is None
            assert torch.equal(other(20), filter(20))


# --- the stream -------------------------------------------------------------------------------------------------------------


def streamed(filter: ModalFilter | CartesianFilter, u: Tensor, chunks: list[int]) -> Tensor:
    """The convolution of u (B, G, L) chunk by chunk."""
    state, at, parts = filter.init_state(len(u)), 0, []
    for n in chunks:
        x = u[..., at : at + n]
        y = filter.past(state, n)
        assert torch.equal(filter.past(state, n), y), "looking changes nothing"
        parts.append(filter.present(state, x))
        assert_close(parts[-1], y + long_conv(x, filter.near(state, n)), **tolerances.FLOAT64)
        filter.commit(state, x)
        at += n
    return torch.cat(parts, 2)


def split(L: int) -> list[int]:
    """A random split of L tokens."""
    parts = []
    while sum(parts) < L:
        parts.append(min(random.choice([1, 1, 2, 3, 6, 7, 8, 40, 41, 90]), L - sum(parts)))
    return parts


@every_config
@pytest.mark.parametrize("seed", range(5))
def test_any_split_is_the_convolution(name: str, seed: int):
    random.seed(seed)
    filter, u = make(name), torch.randn(2, G, 150, dtype=torch.float64)
    with torch.no_grad():
        wanted = long_conv(u, filter(150))
        assert_close(streamed(filter, u, split(150)), wanted, **tolerances.FLOAT64)
        assert_close(streamed(filter, u, 150 * [1]), wanted, **tolerances.FLOAT64)


@every_config
def test_rows_take_in_as_many_inputs_as_they_have(name: str):
    filter, u = make(name), torch.randn(3, G, 90, dtype=torch.float64)
    with torch.no_grad():
        state, read = filter.init_state(3), torch.zeros(3, dtype=torch.int64)
        for n, lengths in ((50, [0, 1, 50]), (1, [1, 0, 1]), (1, [0, 0, 0]), (30, [30, 8, 20])):
            chunk = torch.stack([u[b, :, read[b] : read[b] + n] for b in range(3)])
            filter.commit(state, chunk, torch.tensor(lengths))
            read += torch.tensor(lengths)
        past = filter.past(state, 9)
        for b in range(3):
            alone = filter.init_state(1)
            filter.commit(alone, u[b : b + 1, :, : read[b]])
            assert_close(past[b : b + 1], filter.past(alone, 9), **tolerances.FLOAT64)


@every_config
def test_a_head_over_fast_poles_costs_no_precision(name: str):
    single = make(name, torch.float32)
    double, u = copy.deepcopy(single).double(), torch.randn(2, G, 200)
    with torch.no_grad():
        y, wanted = streamed_loosely(single, u), streamed_loosely(double, u.double())
    assert (y - wanted).norm() <= tolerances.MODAL_FLOAT32 * wanted.norm()


def streamed_loosely(filter: ModalFilter | CartesianFilter, u: Tensor) -> Tensor:
    """Prompt, then token by token."""
    state = filter.init_state(len(u))
    filter.commit(state, u[..., :100])
    parts = []
    for t in range(100, u.shape[2]):
        x = u[..., t : t + 1]
        parts.append(filter.present(state, x))
        filter.commit(state, x)
    return torch.cat(parts, 2)


@every_config
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_bytes_of_a_state_do_not_depend_on_the_length(name: str, dtype: torch.dtype):
    filter = make(name, dtype)
    state = filter.init_state(3)
    for n in (1, 70, 1):
        filter.commit(state, torch.randn(3, G, n, dtype=dtype))
        assert state.nbytes == 3 * filter.state_bytes(n)
    assert state.modes.dtype == torch.float64


def test_decay_by_hand():
    filter = ModalFilter(ModalFilterConfig(order=1), 1).double()
    with torch.no_grad():
        filter.log_decay.fill_(math.log(math.log(2)))
        filter.angle.fill_(math.pi)
        filter.residues.copy_(torch.tensor([[[3.0, 1.0]]]))
        assert_close(filter(4), torch.tensor([[3.0, -1.5, 0.75, -0.375]]).double(), **tolerances.FLOAT64)


def test_both_forms_are_the_same_filters():
    polar, cartesian = make("head"), FORMS["cartesian"](ModalFilterConfig(3, 7, form="cartesian"), G).double()
    cartesian.head, cartesian.residues = polar.head, polar.residues
    size, angle = polar.exponents().detach().unbind(-1)
    cartesian.poles.data = torch.view_as_real(torch.polar(size.exp(), angle))
    assert_close(cartesian(300), polar(300), **tolerances.MODAL)


def test_gradients_reach_cartesian_poles_too():
    filter = make("cartesian").train()
    filter(20).square().sum().backward()
    assert {name for name, _ in filter.named_parameters()} == {"poles", "residues"}
    assert all(p.grad.isfinite().all() and p.grad.count_nonzero() == p.numel() for p in filter.parameters())
