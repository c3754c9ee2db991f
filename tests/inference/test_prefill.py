"""How prompts are put together and cut."""

import pytest
import torch
from torch import Tensor

from hyena.inference.prefill import chunk_tokens, mask_bytes, together, token_bytes
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


def rows(count: int, longest: int = 1) -> list[Tensor]:
    """Prompts of so many tokens."""
    return [torch.zeros(longest, dtype=torch.int64)] * count


def test_a_chunk_fits_the_memory():
    model = language_model("HW")
    each = token_bytes(model)
    assert each > 0
    assert chunk_tokens(model, rows(1), each) == 1
    assert chunk_tokens(model, rows(1), 10 * each + 1) == 10
    assert chunk_tokens(model, rows(3), 10 * each) == 10
    assert chunk_tokens(model, rows(3), 2**50) == chunk_tokens(model, rows(3), None) <= 2**20
    with refused("3 rows", "max_memory", "fewer rows"):
        chunk_tokens(model, rows(3), 3 * each - 1)


def test_masks_of_attention_count():
    model, memory = language_model("HA"), 2**29
    short, long, longer = (chunk_tokens(model, rows(1, n), memory) for n in (2**10, 2**17, 2**20))
    each = token_bytes(model)
    assert short == memory // (each + 5 * 2**10)
    assert long == longer == (memory - 5 * 2**26) // each, "attention works on so many scores at a time"
    assert mask_bytes(language_model("HW"), 2**20) == 0
