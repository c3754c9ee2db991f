"""Associative recall: what is asked can be answered, nothing else is asked, and every step is its own."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyena.configs.data import RecallConfig
from hyena.data import recall_batch
from tests.helpers import refused

CONFIG = RecallConfig(keys=4, values=5, pairs=9)


@given(st.integers(1, 6), st.integers(2, 6), st.integers(2, 12), st.integers(1, 4), st.integers(0, 99))
def test_pair_by_pair(keys: int, values: int, pairs: int, batch_size: int, step: int):
    config = RecallConfig(keys, values, pairs)
    ids, targets = recall_batch(config, batch_size, 0, step)
    assert ids.shape == targets.shape == (batch_size, config.length)
    assert ids.dtype == targets.dtype == np.int64
    for row, asked in zip(ids.tolist(), targets.tolist(), strict=True):
        known: dict[int, int] = {}
        for i in range(0, 2 * pairs, 2):
            key, value = row[i], row[i + 1]
            assert 0 <= key < keys <= value < keys + values == config.vocab_size
            assert asked[i] == known.get(key, -100)
            assert asked[i + 1] == -100
            assert known.setdefault(key, value) == value


def test_a_function_of_seed_and_step_with_a_stream_held_out():
    def batch(seed: int, step: int, held_out: bool = False) -> str:
        return str(recall_batch(CONFIG, 3, seed, step, held_out=held_out)[0].tolist())

    alone = batch(3, 5)
    batch(3, 4)
    assert batch(3, 5) == alone
    several = [batch(seed, step, held_out) for seed in (0, 2**64 - 1) for step in (0, 1) for held_out in (False, True)]
    assert len(set(several)) == 8


def test_every_key_and_value_is_drawn():
    ids, _ = recall_batch(CONFIG, 50, 0, 0)
    assert set(ids[:, ::2].flat) == set(range(4))
    assert set(ids[:, 1::2].flat) == set(range(4, 9))


def test_a_long_sequence_is_cheap():
    config = RecallConfig(keys=100, values=100, pairs=200_000)
    ids, targets = recall_batch(config, 1, 0, 0)
    assert (targets[0] >= 0).sum() == 200_000 - len(set(ids[0, ::2].tolist()))


@pytest.mark.parametrize(
    ("arguments", "parts"), [((0, 0, 0), ("batch_size", "0")), ((1, -1, 0), ("seed",)), ((1, 0, 2**64), ("step",))]
)
def test_arguments_without_a_meaning(arguments: tuple[int, int, int], parts: tuple[str, ...]):
    with refused(*parts):
        recall_batch(CONFIG, *arguments)
