"""Windows: pure in (seed, step) for training, each token once for evaluation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyena.data import DNATokenizer, Tokens, evaluation_windows, training_batch
from hyena.errors import HyenaError

TOKENS = np.arange(200, dtype=np.uint8)


def test_a_batch_is_windows_of_the_tokens():
    batch = training_batch(TOKENS, length=16, batch_size=5, seed=0, step=0)
    assert (batch.shape, batch.dtype) == ((5, 17), np.int64)
    assert (np.diff(batch, axis=1) == 1).all()
    assert len(set(batch[:, 0].tolist())) > 1


def test_a_batch_depends_on_seed_and_step_alone():
    def batch(seed: int, step: int) -> list[list[int]]:
        return training_batch(TOKENS, 8, 4, seed, step).tolist()

    alone = batch(3, 5)
    np.random.default_rng().random(7)
    for step in range(5):
        batch(3, step)
    assert batch(3, 5) == alone
    different = [batch(seed, step) for seed in (0, 1, 2**64 - 1) for step in (0, 1, 2**40)]
    assert len({str(windows) for windows in different}) == 9


def test_the_batches_of_a_seed_stay_what_they_are():
    # Written down from this code: a change breaks the resuming of old runs and must be seen.
    assert training_batch(TOKENS, 1, 6, seed=1, step=2)[:, 0].tolist() == [140, 61, 26, 71, 86, 7]


def test_every_window_is_drawn_first_and_last_included():
    drawn = {training_batch(TOKENS[:6], 3, 1, 0, step)[0, 0].item() for step in range(100)}
    assert drawn == {0, 1, 2}
    assert training_batch(TOKENS[:4], 3, 2, 0, 0).tolist() == [[0, 1, 2, 3]] * 2


@given(st.integers(2, 60), st.integers(1, 20), st.integers(1, 7))
def test_each_token_but_the_first_is_predicted_once(count: int, length: int, batch_size: int):
    tokens = TOKENS[:count]
    batches = list(evaluation_windows(tokens, length, batch_size))
    windows = [window for batch in batches for window in batch]
    assert np.concatenate([window[1:] for window in windows]).tolist() == tokens[1:].tolist()
    assert np.concatenate([window[:-1] for window in windows]).tolist() == tokens[:-1].tolist()
    assert all(batch.dtype == np.int64 and len(batch) <= batch_size for batch in batches)
    assert all(batch.shape[1] == length + 1 for batch in batches[:-1])
    if batches[-1].shape[1] != length + 1:
        assert len(batches[-1]) == 1


def test_evaluation_windows_by_hand():
    batches = [batch.tolist() for batch in evaluation_windows(TOKENS[:9], 3, 2)]
    assert batches == [[[0, 1, 2, 3], [3, 4, 5, 6]], [[6, 7, 8]]]


def test_too_few_tokens():
    with pytest.raises(HyenaError, match=r"5 tokens are too few for length 5, which takes 6; .*smaller length"):
        training_batch(TOKENS[:5], 5, 1, 0, 0)
    # Raised by the call, not by the first batch.
    with pytest.raises(HyenaError, match="1 tokens are too few"):
        evaluation_windows(TOKENS[:1], 5, 1)


@pytest.mark.parametrize(("length", "batch_size", "name"), [(0, 1, "length"), (1, 0, "batch_size")])
def test_sizes_are_positive(length: int, batch_size: int, name: str):
    with pytest.raises(HyenaError, match=f"{name} is 0"):
        training_batch(TOKENS, length, batch_size, 0, 0)
    with pytest.raises(HyenaError, match=f"{name} is 0"):
        evaluation_windows(TOKENS, length, batch_size)


@pytest.mark.parametrize(("seed", "step", "name"), [(-1, 0, "seed"), (0, 2**64, "step")])
def test_seed_and_step_have_64_bits(seed: int, step: int, name: str):
    with pytest.raises(HyenaError, match=f"{name} is "):
        training_batch(TOKENS, 1, 1, seed, step)


@given(st.integers(2, 199), st.integers(1, 20), st.integers(1, 5), st.integers(0, 9))
def test_windows_of_pieces_are_those_of_one_array(border: int, length: int, batch_size: int, step: int):
    pieces = Tokens(np.split(TOKENS, [border, border]), "d")
    expected = training_batch(TOKENS, length, batch_size, 0, step)
    assert (training_batch(pieces, length, batch_size, 0, step) == expected).all()
    for one, other in zip(evaluation_windows(pieces, length, 3), evaluation_windows(TOKENS, length, 3), strict=True):
        assert one.tolist() == other.tolist()


@pytest.mark.parametrize("complement", [None, DNATokenizer.complement])
def test_ranks_share_one_batch(complement: np.ndarray | None):
    tokens = TOKENS % 12
    whole = training_batch(tokens, 8, 12, 1, 2, complement=complement)
    for ranks in (1, 2, 3, 12):
        for rank in range(ranks):
            mine = training_batch(tokens, 8, 12, 1, 2, rank=rank, ranks=ranks, complement=complement)
            assert mine.tolist() == whole[rank::ranks].tolist()


def test_half_of_the_windows_are_read_from_the_other_strand_at_the_same_place():
    swap = np.array([0, 2, 1, *range(3, 200)])  # 1 and 2 are each other's complement
    flipped = 0
    for step in range(50):
        plain = training_batch(TOKENS, 8, 10, 3, step)
        both = training_batch(TOKENS, 8, 10, 3, step, complement=swap)
        assert both.dtype == np.int64
        for window, other in zip(plain, both, strict=True):
            if window.tolist() != other.tolist():
                flipped += 1
                assert other.tolist() == swap[window][::-1].tolist()
    assert 200 < flipped < 300


def test_complement_of_dna():
    dna = DNATokenizer()
    assert dna.decode(dna.complement[dna.encode("AACGTN")][::-1]) == "NACGTT"
    assert dna.complement[:7].tolist() == list(range(7)), "special ids have no other strand"
    assert dna.complement[dna.complement].tolist() == list(range(12))


@pytest.mark.parametrize(
    ("options", "message"),
    [({"ranks": 3}, "batch_size is 4, which 3 ranks"), ({"rank": 2, "ranks": 2}, "rank is 2"), ({"ranks": 0}, "of 0")],
)
def test_ranks_that_cannot_share(options: dict[str, int], message: str):
    with pytest.raises(HyenaError, match=message):
        training_batch(TOKENS, 8, 4, 0, 0, **options)
