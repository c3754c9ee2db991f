"""Sampling against a second implementation in numpy: what may be drawn, and how often."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from hyena.inference.sampling import Sampling, sample
from tests.helpers import refused, unchecked

V = 12
EVERY = torch.arange(V)


def draws(logits: Tensor, sampling: Sampling, allowed: Tensor = EVERY, count: int = 4000, seed: int = 0) -> list[int]:
    """How often each id is drawn from logits (V,)."""
    generator = torch.Generator().manual_seed(seed)
    ids = sample(logits.expand(count, -1), sampling, allowed, generator)
    assert ids.shape == (count,)
    return torch.bincount(ids, minlength=len(logits)).tolist()


def distribution(logits: np.ndarray, sampling: Sampling, allowed: list[int]) -> np.ndarray:
    """The probabilities (V,), id by id: temperature, then the k likeliest, then the fewest that reach p."""
    scaled = {i: float(logits[i]) / sampling.temperature for i in allowed}
    kept = sorted(allowed, key=lambda i: (-scaled[i], i))
    if sampling.top_k is not None:
        kept = kept[: sampling.top_k]
    weight = {i: math.exp(scaled[i] - scaled[kept[0]]) for i in kept}
    if sampling.top_p is not None:
        total, reached, fewest = sum(weight.values()), 0.0, []
        for i in kept:
            fewest.append(i)
            reached += weight[i] / total
            if reached >= sampling.top_p:
                break
        kept = fewest
    total = sum(weight[i] for i in kept)
    return np.array([weight[i] / total if i in kept else 0.0 for i in range(len(logits))])


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(),
        Sampling(0.7),
        Sampling(3.0),
        Sampling(top_k=1),
        Sampling(top_k=5),
        Sampling(2.0, top_k=100),
        Sampling(top_p=0.05),
        Sampling(top_p=0.6),
        Sampling(2.0, top_p=0.9),
        Sampling(top_p=1.0),
        Sampling(1.5, top_k=6, top_p=0.7),
    ],
    ids=str,
)
@pytest.mark.parametrize("allowed", [list(range(V)), [0, 3, 4, 5, 8, 11]], ids=["all", "some"])
def test_drawn_as_often_as_the_definition_says(sampling: Sampling, allowed: list[int]):
    logits = torch.randn(V, generator=torch.Generator().manual_seed(4)) * 1.5
    expected = distribution(logits.double().numpy(), sampling, allowed) * 20000
    seen = np.array(draws(logits, sampling, torch.tensor(allowed), count=20000))
    assert seen[expected == 0].sum() == 0
    assert (seen[expected > 20] > 0).all()
    likely = expected > 5
    freedom = int(likely.sum())
    surprise = (((seen - expected) ** 2)[likely] / expected[likely]).sum()
    # The mean of chi-square is its degrees of freedom, the variance twice that; five deviations, and the draws are seeded.
    assert surprise < freedom + 5 * math.sqrt(2 * freedom)


def test_the_check_of_frequencies_can_fail():
    """The bound of the test above rejects a temperature that is off by a tenth."""
    logits = torch.randn(V, generator=torch.Generator().manual_seed(4)) * 1.5
    expected = distribution(logits.double().numpy(), Sampling(1.1), list(range(V))) * 20000
    seen = np.array(draws(logits, Sampling(), count=20000))
    assert ((seen - expected) ** 2 / expected).sum() > V + 5 * math.sqrt(2 * V)


def test_temperature_zero_takes_the_likeliest_allowed():
    logits = torch.randn(50, V)
    assert torch.equal(sample(logits, Sampling(0.0), EVERY, None), logits.argmax(-1))
    some = torch.tensor([2, 3, 7])
    expected = some[logits[:, some].argmax(-1)]
    assert torch.equal(sample(logits, Sampling(0.0), some, None), expected)
    assert not torch.equal(expected, logits.argmax(-1))
    # top_k and top_p keep the likeliest token, so they change nothing here.
    assert torch.equal(sample(logits, Sampling(0.0, top_k=1, top_p=0.1), EVERY, None), logits.argmax(-1))


def test_temperature_zero_draws_no_random_number():
    generator = torch.Generator().manual_seed(0)
    before = generator.get_state()
    sample(torch.randn(3, V), Sampling(0.0), EVERY, generator)
    assert torch.equal(generator.get_state(), before)


@pytest.mark.parametrize("temperature", [0.0, 1e-3, 1.0, 100.0, math.inf])
def test_a_forbidden_id_is_never_drawn_however_likely(temperature: float):
    logits = torch.randn(V)
    logits[[0, 5, 11]] = 1e30
    allowed = torch.tensor([i for i in range(V) if i not in (0, 5, 11)])
    seen = draws(logits, Sampling(temperature), allowed)
    assert seen[0] == seen[5] == seen[11] == 0


def test_ties():
    logits = torch.tensor([1.0, 2.0, 2.0, 2.0, 0.0])
    every = torch.arange(5)
    assert draws(logits, Sampling(top_k=2), every)[3] == 0, "of equals the lower ids are kept"
    assert min(draws(logits, Sampling(top_k=2), every)[1:3]) > 1800
    assert min(draws(logits, Sampling(top_k=3), every)[1:4]) > 1100
    many = draws(torch.zeros(3000), Sampling(top_k=7), torch.arange(3000))
    assert sum(many[7:]) == 0
    assert min(many[:7]) > 400
    (chosen,) = set(sample(logits.expand(9, -1), Sampling(0.0), every, None).tolist())
    assert chosen in (1, 2, 3)


def test_top_p_keeps_the_fewest_that_reach_it_exactly():
    # Four equal probabilities are exact in binary: two of them reach one half, and a third is not needed.
    assert draws(torch.zeros(4), Sampling(top_p=0.5), torch.arange(4))[2:] == [0, 0]
    assert min(draws(torch.zeros(4), Sampling(top_p=0.51), torch.arange(4))[:3]) > 1200
    assert min(draws(torch.zeros(4), Sampling(top_p=0.5), torch.arange(4))[:2]) > 1800


def test_rows_are_drawn_each_from_its_own():
    logits = torch.full((6, V), -50.0)
    wanted = torch.tensor([3, 0, 11, 7, 7, 1])
    logits[torch.arange(6), wanted] = 50.0
    assert torch.equal(sample(logits, Sampling(), EVERY, None), wanted)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_probabilities_are_no_coarser_than_float32(dtype: torch.dtype):
    logits = torch.randn(2000, 60).to(dtype)

    def drawn(logits: Tensor) -> Tensor:
        return sample(logits, Sampling(0.7, 50, 0.9), torch.arange(60), torch.Generator().manual_seed(0))

    assert torch.equal(drawn(logits), drawn(logits.float()))


def test_float64_is_not_rounded_to_float32():
    logits = torch.zeros(400, 2, dtype=torch.float64)
    logits[:, 1] = 1e-12  # below the resolution of float32 where it is added to 1
    assert set(sample(logits + 1, Sampling(0.0), torch.arange(2), None).tolist()) == {1}


def test_a_logit_of_minus_infinity_is_never_drawn():
    logits = torch.zeros(V)
    logits[4:] = -math.inf
    assert draws(logits, Sampling(5.0))[4:] == [0] * 8
    assert min(draws(logits, Sampling(top_p=1.0))[:4]) > 800
    assert draws(logits, Sampling(0.0))[4:] == [0] * 8


@pytest.mark.parametrize("temperature", [1e-6, 1e-30, 1e-40, 1e-300])
def test_a_temperature_near_zero_is_as_good_as_zero(temperature: float):
    logits = torch.randn(V)
    assert draws(logits, Sampling(temperature), count=50)[int(logits.argmax())] == 50


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_logits_that_are_not_finite_are_refused(temperature: float, value: float):
    logits = torch.zeros(2, V)
    logits[1, 3] = value
    with refused("logits", "finite"):
        sample(logits, Sampling(temperature), EVERY, None)


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ({"temperature": -0.1}, ("temperature", "-0.1", "0")),
        ({"temperature": math.nan}, ("temperature", "nan")),
        ({"top_k": 0}, ("top_k", "0", "at least 1")),
        ({"top_p": 0.0}, ("top_p", "0.0", "above 0")),
        ({"top_p": 1.01}, ("top_p", "1.01", "up to 1")),
        ({"top_p": math.nan}, ("top_p", "nan")),
    ],
)
def test_options_without_a_meaning(options: dict[str, float], parts: tuple[str, ...]):
    with refused(*parts):
        Sampling(**options)


def test_the_sampling_does_not_change_the_logits():
    logits = torch.randn(3, V)
    before = logits.clone()
    with unchecked():
        sample(logits, Sampling(0.5, 3, 0.5), EVERY, None)
    assert torch.equal(logits, before)
