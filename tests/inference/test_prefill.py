"""How prompts are put together and cut."""

import pytest

from hyena.inference.prefill import chunk_tokens, together, token_bytes
from tests.helpers import refused
from tests.models.small import language_model


@pytest.mark.parametrize(
    ("lengths", "tokens", "groups"),
    [
        ([5], 100, [[0]]),
        ([5], 2, [[0]]),
        ([3, 5, 4], 100, [[1, 2, 0]]),
        ([3, 5, 4], 10, [[1, 2], [0]]),
        ([3, 5, 4], 9, [[1], [2, 0]]),
        ([1, 8, 1, 8, 2], 100, [[1, 3], [4, 0, 2]]),
        ([90, 90, 90, 80], 100, [[0, 1, 2], [3]]),
        ([1] * 5, 2, [[0, 1], [2, 3], [4]]),
    ],
)
def test_rows_that_are_read_at_once(lengths: list[int], tokens: int, groups: list[list[int]]):
    assert together(lengths, tokens) == groups


def test_a_chunk_fits_the_memory():
    model = language_model("HA")
    each = token_bytes(model)
    assert each > 0
    assert chunk_tokens(model, 1, each) == 1
    assert chunk_tokens(model, 1, 10 * each + 1) == 10
    assert chunk_tokens(model, 3, 10 * each) == 10
    assert chunk_tokens(model, 3, 2**50) == chunk_tokens(model, 3, None) <= 2**20
    with refused("3 rows", "max_memory", "fewer rows"):
        chunk_tokens(model, 3, 3 * each - 1)
