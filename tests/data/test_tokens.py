"""Tokens in several arrays are the same as in one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyena.data import Tokens
from hyena.data.tokens import cut, digest_of
from tests.helpers import refused

SIZES = st.lists(st.integers(0, 7), min_size=1, max_size=6)
PLACE = st.none() | st.integers(-50, 50)


def segments(sizes: list[int]) -> tuple[np.ndarray, list[np.ndarray]]:
    """All tokens, different, and the same in pieces."""
    whole = np.arange(sum(sizes), dtype=np.uint16)
    return whole, np.split(whole, np.cumsum(sizes)[:-1])


@given(SIZES, PLACE, PLACE)
def test_slices_are_those_of_one_array(sizes: list[int], start: int | None, stop: int | None):
    whole, parts = segments(sizes)
    tokens = Tokens(parts, "d")
    assert (len(tokens), tokens.dtype) == (len(whole), np.uint16)
    found = tokens[start:stop]
    assert found.dtype == np.uint16
    assert found.tolist() == whole[start:stop].tolist()


@given(SIZES, st.integers(0, 40), st.integers(0, 40), st.integers(0, 40), st.integers(0, 40))
def test_a_part_of_a_part(sizes: list[int], a: int, b: int, c: int, d: int):
    whole, parts = segments(sizes)
    assert Tokens(parts, "d").part(a, b).part(c, d)[:].tolist() == whole[a:b][c:d].tolist()


@given(st.lists(SIZES, min_size=1, max_size=3))
def test_joined(several: list[list[int]]):
    wholes, parts = zip(*(segments(sizes) for sizes in several), strict=True)
    joined = Tokens.join([Tokens(part, "d") for part in parts])
    assert joined[:].tolist() == np.concatenate(wholes).tolist()


def test_nothing_is_copied_within_a_segment():
    whole, parts = segments([5, 5])
    tokens = Tokens(parts, "d")
    assert np.shares_memory(tokens[1:4], whole)
    assert not np.shares_memory(tokens[4:6], whole), "across a border there is no such array"
    assert np.shares_memory(tokens.part(3, 8)[0:2], whole)
    assert np.shares_memory(cut(tokens, 5, 9)[:], whole)
    assert np.shares_memory(cut(whole, 5, 9), whole)


def test_digests_name_the_content():
    whole, parts = segments([3, 4])
    assert digest_of([whole]) == digest_of(parts) == digest_of([whole.astype(">u2")])
    assert digest_of([whole]) != digest_of([whole.astype(np.uint8)])
    tokens = Tokens(parts, digest_of([whole]))
    assert tokens.part(0, 7).digest == tokens.digest
    assert len({tokens.part(*places).digest for places in ((0, 7), (0, 6), (1, 7), (0, 0))}) == 4
    assert Tokens.join([tokens]).digest == tokens.digest != Tokens.join([tokens, tokens]).digest


def test_what_is_no_slice_is_refused():
    tokens = Tokens([np.arange(4)], "d")
    for places in (2, slice(0, 4, 2), slice(None, None, -1)):
        with refused("tokens[a:b]"):
            tokens[places]  # type: ignore[index]
    with refused("several dtypes"):
        Tokens([np.arange(2), np.arange(2, dtype=np.uint8)], "d")
    with refused("0 segments"):
        Tokens([], "d")


@pytest.mark.parametrize("places", [(0, 0), (9, 12), (3, 1)])
def test_empty_parts(places: tuple[int, int]):
    part = Tokens([np.arange(9, dtype=np.uint8)], "d").part(*places)
    assert (len(part), part[:].tolist(), part.dtype) == (0, [], np.uint8)
