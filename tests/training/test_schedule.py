"""The rate over a run, and the lengths of its sequences."""

import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyena.configs.training import OptimizerConfig
from hyena.training.schedule import rate, shape
from tests.helpers import refused
from tests.training.runs import tiny

RUN = tiny(Path("run"), Path("text"), steps=60, batch_size=3)


def test_the_rate_by_hand():
    config = OptimizerConfig(warmup=0.3, floor=0.2)
    rates = [rate(step, 10, config) for step in range(10)]
    cosine = [0.2 + 0.8 * (1 + math.cos(math.pi * i / 6)) / 2 for i in range(7)]
    assert rates == pytest.approx([1 / 3, 2 / 3, 1.0, *cosine])
    assert cosine[0] == 1.0


@given(st.integers(1, 300), st.floats(0, 1), st.floats(0, 1))
def test_the_rate_rises_to_the_peak_and_falls_to_the_floor(steps: int, warmup: float, floor: float):
    config = OptimizerConfig(warmup=warmup, floor=floor)
    rates = [rate(step, steps, config) for step in range(steps)]
    rise = round(warmup * steps)
    assert rates[0] == pytest.approx(1 / max(1, rise))
    assert max(rates) == pytest.approx(1.0)
    assert all(a < b for a, b in pairwise(rates[:rise]))
    assert all(a >= b for a, b in pairwise(rates[rise:]))
    assert all(0 < value <= 1 for value in rates[:rise])
    assert all(floor - 1e-12 <= value <= 1 for value in rates[rise:])
    if steps - rise > 1:
        assert rates[-1] == pytest.approx(floor)


def test_a_run_of_one_step_runs_at_the_peak():
    assert rate(0, 1, OptimizerConfig()) == 1.0
    assert rate(0, 1, OptimizerConfig(warmup=1.0)) == 1.0


def test_the_length_doubles_in_equal_stages_and_the_tokens_stay():
    config = replace(RUN, training=replace(RUN.training, start_length=4, start_fraction=0.5))
    shapes = [shape(step, config) for step in range(60)]
    # 30 steps for the three lengths below 32, ten each.
    assert shapes == 10 * [(24, 4)] + 10 * [(12, 8)] + 10 * [(6, 16)] + 30 * [(3, 32)]


@given(st.integers(0, 5), st.integers(1, 90), st.floats(0.01, 0.99))
def test_whatever_the_stages_tokens_are_constant_and_lengths_grow(doublings: int, steps: int, fraction: float):
    training = replace(RUN.training, steps=steps, start_length=32 >> doublings, start_fraction=fraction)
    config = replace(RUN, training=training)
    shapes = [shape(step, config) for step in range(steps)]
    assert {rows * length for rows, length in shapes} == {3 * 32}
    lengths = [length for _, length in shapes]
    assert lengths == sorted(lengths)
    assert lengths[0] == 32 >> doublings or steps * fraction < doublings
    assert all(length == 32 for step, length in enumerate(lengths) if step >= fraction * steps)


def test_without_a_start_every_sequence_has_the_full_length():
    assert {shape(step, RUN) for step in range(60)} == {(3, 32)}


@pytest.mark.parametrize("start", [0, 5, 12, 64])
def test_a_start_that_does_not_double_up_to_the_length_is_refused(start: int):
    with refused("start_length", start, "32", "power of two"):
        replace(RUN, training=replace(RUN.training, start_length=start))
