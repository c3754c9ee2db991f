"""Numbers of filters against their definitions on the whole filter, and on filters made to be dead, constant or endless."""

import itertools

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from hyena.bench import filters as module
from hyena.bench.filters import REACH, Measure, Spread, measure
from hyena.configs.mixers import ImplicitFilterConfig, ModalFilterConfig
from hyena.modules.filters import ImplicitFilter
from hyena.modules.modal_filter import ModalFilter
from tests.helpers import refused


def implicit(K: int, G: int = 6, **options: object) -> ImplicitFilter:
    """A float64 filter of K points."""
    return ImplicitFilter(ImplicitFilterConfig(features=5, width=8, **options), G, K, "error").double()


def made(taps: np.ndarray) -> Measure:
    """The measure of taps (G, K) that no formula gives: every lag is a bin."""
    return Measure(np.arange(taps.shape[1] + 1), taps**2, taps, taps[:, :8])


def whole(filter: ImplicitFilter) -> np.ndarray:
    """All taps at once."""
    return filter(filter.max_length).detach().numpy()


@pytest.mark.parametrize("K", [1, 2, 5, 10, 300, 5000])
@pytest.mark.parametrize("piece", [7, 2**22])
def test_the_numbers_of_a_filter(K: int, piece: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "_PIECE", 8 * piece)
    filter = implicit(K)
    taps, m = whole(filter), measure(filter)
    energy = (taps**2).sum(1)
    assert m.taps == K
    assert_allclose(m.norm, np.sqrt(energy), rtol=1e-12)
    assert_allclose(m.sums.sum(1), taps.sum(1), atol=1e-12)
    assert_allclose(m.head, taps[:, : module.HEAD], atol=1e-15)
    reach = (np.cumsum(taps**2, 1) < REACH * energy[:, None] * (1 - 1e-12)).sum(1)
    assert_allclose(m.reach, reach, rtol=0 if K <= 300 else 0.01)
    if K >= 10:
        tenths = np.sqrt([[(part**2).mean() for part in np.split(row[: K // 10 * 10], 10)] for row in taps])
        assert_allclose(m.tail, tenths[:, -1] / tenths.max(1), rtol=1e-9)


def test_bins_follow_the_memory(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "_CELLS", 6 * 256)
    filter = implicit(5000)
    few = measure(filter)
    assert few.energy.shape[1] < 300
    assert_allclose(few.norm, np.linalg.norm(whole(filter), axis=1), rtol=1e-12)


def test_columns_share_the_lags_among_them():
    filter = implicit(1000)
    taps, m = whole(filter), measure(filter)
    columns = m.columns(40)
    assert (columns[0], columns[-1]) == (0, 1000)
    assert len(columns) <= 41
    for i, (start, stop) in enumerate(itertools.pairwise(columns)):
        assert_allclose(m.loudness(columns)[:, i], np.sqrt((taps[:, start:stop] ** 2).mean(1)), rtol=1e-9)
        assert_allclose(m.means(columns)[:, i], taps[:, start:stop].mean(1), atol=1e-12)


def test_a_scale_multiplies():
    filter, scale = implicit(50), np.arange(6.0)
    assert_allclose(measure(filter, scale).norm, measure(filter).norm * scale, rtol=1e-12)
    assert_allclose(measure(filter, scale).reach[1:], measure(filter).reach[1:])
    assert np.isnan(measure(filter, scale).reach[0])


def test_progress_counts_taps(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "_PIECE", 8 * 20)
    seen: list[tuple[int, int]] = []
    measure(implicit(50), report=lambda done, total: seen.append((done, total)))
    assert seen == [(20, 50), (40, 50), (50, 50)]


def test_nothing_is_kept_in_the_filter():
    filter = implicit(50).eval()
    measure(filter)
    assert filter._cached is None


def test_dead_constant_endless_and_broken_filters_are_told_apart():
    n = np.arange(100)
    taps = np.stack([0.9**n, 0 * n, 1e-5 * 0.9**n, 0 * n + 0.3, np.cos(n), 0.5**n, np.where(n == 7, np.nan, 1.0)])
    m = made(taps)
    assert m.zero.tolist() == [False, True, True, False, False, False, False]
    assert m.constant.tolist() == [False, False, False, True, False, False, False]
    assert m.undecayed.tolist() == [False, False, False, True, True, False, False]
    assert m.finite.tolist() == [True] * 6 + [False]
    assert m.reach[[0, 3, 5]].tolist() == [21, 98, 3]  # 1 - 0.81^(R + 1) >= 0.99; 99 of 100 taps; 1 - 0.25^(R + 1) >= 0.99
    assert np.isnan(m.reach[[1, 6]]).all()
    assert m.tail[3] == pytest.approx(1)


def test_filters_that_are_all_lost_in_rounding_are_dead_together():
    assert made(np.full((3, 20), 1e-8)).zero.all()
    assert not made(np.full((3, 20), 1e-3)).zero.any()


def test_the_published_window_has_decayed():
    """As the threshold's reason says: even taps keep 0.07 under the slowest window, 0.12 with a floor of 0.05."""
    for shift, most in ((0.0, 0.07), (0.05, 0.12)):
        filter = implicit(1000, 64, shift=shift, fast_decay=0.3)
        window = torch.exp(-filter.decay.abs()[:, None] * filter.t) + shift
        m = made(window.numpy())
        assert m.tail.max() == pytest.approx(most, abs=0.008)
        assert not m.undecayed.any()


def test_a_filter_without_a_window_never_decays():
    m = measure(implicit(1000, 64, window="none"))
    assert m.undecayed.mean() > 0.5


def test_a_spread_is_of_the_finite_numbers():
    assert Spread.of(np.array([3.0, 1.0, np.nan, 2.0, np.inf])) == Spread(1.0, 1.2, 2.0, 2.8, 3.0)
    assert Spread.of(np.array([np.nan])) is None


def test_a_modal_filter_is_measured_over_as_many_taps_as_are_asked_for():
    filter = ModalFilter(ModalFilterConfig(order=2, head=3), 4)
    taps, m = filter(500).detach().double().numpy(), measure(filter, taps=500)
    assert m.taps == 500
    assert_allclose(m.norm, np.sqrt((taps**2).sum(1)), rtol=1e-6)
    with refused("modal", "taps="):
        measure(filter)
