"""The explicit filter: its taps against the formula, its groups and decay, its stream against the convolution with them."""

import copy
import math
import random

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from hyena.configs.filters import ExplicitFilterConfig
from hyena.modules.explicit_filter import DECAYS, ExplicitFilter
from hyena.ops import Spectrum, long_conv
from tests import tolerances
from tests.helpers import refused

D = 6
CONFIGS = {
    "SE": ExplicitFilterConfig(taps=7),
    "one tap": ExplicitFilterConfig(taps=1),
    "in groups": ExplicitFilterConfig(taps=5, groups=2),
    "MR": ExplicitFilterConfig(taps=128, groups=3, decay="weak"),
    "strong": ExplicitFilterConfig(taps=9, groups=6, decay="strong", decay_length=20),
    "one group": ExplicitFilterConfig(taps=9, groups=1, decay="normal", decay_length=20),
}
every_config = pytest.mark.parametrize("name", CONFIGS)


def make(name: str = "MR", dtype: torch.dtype = torch.float64) -> ExplicitFilter:
    """A filter in evaluation mode."""
    return ExplicitFilter(CONFIGS[name], D).to(dtype).eval()


def formula(filter: ExplicitFilter, K: int) -> Tensor:
    """taps_t exp(-delta_g t / (T - 1)), number by number; no taps beyond the last one."""
    config, h = filter.config, filter.taps.detach()[:, :K].clone()
    if config.decay == "none":
        return h
    low, high = DECAYS[config.decay]
    T = config.decay_length or 8192
    for g in range(len(h)):
        delta = 10 ** (low + (high - low) * (g / (len(h) - 1) if len(h) > 1 else 0))
        for t in range(h.shape[1]):
            h[g, t] *= math.exp(-delta * t / (T - 1))
    return h


@every_config
@pytest.mark.parametrize("K", [1, 5, 9, 300])
def test_taps_are_the_formulas(name: str, K: int):
    filter = make(name)
    assert_close(filter(K).detach(), formula(filter, K), **tolerances.FLOAT64)
    with torch.no_grad():
        assert_close(filter(K), formula(filter, K), **tolerances.FLOAT64)
        assert_close(filter.shared(K), formula(filter, K), **tolerances.FLOAT64)
        assert filter(K).data_ptr() != filter.taps.data_ptr(), "the caller's own"


@every_config
def test_they_end_with_the_last_tap(name: str):
    filter = make(name)
    K = filter.config.taps
    assert (filter.used(1), filter.used(10**6)) == (1, K)
    assert filter(10**6).shape == (filter.groups, K)
    assert_close(torch.cat([filter.section(0, 1), filter.section(1, K)], 1), filter(K), **tolerances.FLOAT64)
    assert not filter.bounded()


def test_a_group_serves_consecutive_channels():
    filter = make("in groups")
    with torch.no_grad():
        head = filter.step().now
    assert_close(head[:, 0], filter.taps.detach()[[0, 0, 0, 1, 1, 1], 0], **tolerances.FLOAT64)
    with refused("filter.groups is 4", "width 6", "divisor"):
        ExplicitFilter(ExplicitFilterConfig(taps=3, groups=4), D)


def test_they_start_as_published():
    plain = ExplicitFilter(ExplicitFilterConfig(taps=7), 5000).taps.detach()
    assert plain.abs().max() <= 1 / math.sqrt(7)
    assert_close(plain.std(), torch.tensor(1 / math.sqrt(21)), **tolerances.STATISTICS)
    decayed = ExplicitFilter(ExplicitFilterConfig(taps=128, decay="weak", decay_length=400), 500).taps.detach()
    assert_close(decayed.std(), torch.tensor(1 / 20.0), **tolerances.STATISTICS)


def test_the_decay_is_no_tensor_of_the_state_dict():
    assert set(make("MR").state_dict()) == {"taps"}


@every_config
def test_gradients_are_the_formulas(name: str):
    filter = make(name).train()
    K = filter.config.taps
    weight = torch.randn(filter.groups, K, dtype=torch.float64)
    (gradient,) = torch.autograd.grad((filter(K) * weight).sum(), filter.taps)
    ones = copy.deepcopy(filter)
    ones.taps.data.fill_(1.0)
    assert_close(gradient, weight * formula(ones, K), **tolerances.FLOAT64)


def test_half_precision_and_autocast_do_not_reach_the_filter():
    filter = make(dtype=torch.float32)
    taps = filter(50)
    assert torch.equal(copy.deepcopy(filter).bfloat16()(50), taps)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(filter(50), taps)


@every_config
def test_a_change_is_always_seen(name: str):
    filter, u = make(name), torch.randn(2, D, 60, dtype=torch.float64)
    with torch.no_grad():
        before, step = filter(60), filter.step()
        assert isinstance(filter.prepared(60, D), Spectrum)
        assert filter.step() is step
        filter.taps.data[0, 0] += 0.5
        assert not torch.equal(filter(60), before)
        assert_close(filter(60), formula(filter, 60), **tolerances.FLOAT64)
        assert_close(long_conv(u, filter.prepared(60, D)), long_conv(u, formula(filter, 60)), **tolerances.FLOAT64)
        assert filter.step() is not step


@every_config
@pytest.mark.parametrize("seed", range(3))
def test_any_split_is_the_convolution(name: str, seed: int):
    random.seed(seed)
    filter, u, parts, at = make(name), torch.randn(2, D, 300, dtype=torch.float64), [], 0
    with torch.no_grad():
        state = filter.init_state(2)
        while at < 300:
            n = min(random.choice([1, 1, 2, 3, 6, 7, 8, 127, 128]), 300 - at) if seed else 1
            x = u[..., at : at + n]
            parts.append(filter.present(state, x))
            assert torch.equal(filter.present(state, x), parts[-1]), "looking changes nothing"
            filter.commit(state, x)
            at += n
            assert state.nbytes == 2 * filter.state_bytes(at)
        assert_close(torch.cat(parts, 2), long_conv(u, formula(filter, 300)), **tolerances.FLOAT64)


@every_config
def test_operations_of_the_filter_are_those_of_its_decay(name: str):
    filter = make(name)
    assert filter.flops(4) == (0 if filter.config.decay == "none" else filter.groups * min(4, filter.config.taps))
