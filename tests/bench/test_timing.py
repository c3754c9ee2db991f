"""Interleaved rounds on a clock that the tests wind: order, warm-up, repeats, budgets, ratios."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from hyena.bench.timing import LEAST_SAMPLE, MOST_CALLS, SHORT, Samples, Spread, calls_for, interleave, sampler


class Fake:
    """Samplers that take a known time a call, and who was asked in which order."""

    def __init__(self, **seconds: float):
        self.seconds, self.order = seconds, list[tuple[str, int]]()

    def samplers(self) -> dict:
        def make(name: str):
            def sample(calls: int) -> float:
                self.order.append((name, calls))
                return self.seconds[name] * calls

            return sample

        return {name: make(name) for name in self.seconds}


def test_medians_and_quartiles():
    assert Spread.of([5.0]) == Spread(5, 5, 5, 1)
    assert Spread.of([4.0, 1, 2, 3, 0]) == Spread(2, 1, 3, 5)
    assert Spread.of([1.0, 2.0]) == Spread(1.5, 1.25, 1.75, 2)
    assert Spread(2, 1, 3, 5).scaled(10) == Spread(20, 10, 30, 5)


def test_each_round_asks_everyone_once_in_a_turning_order():
    fake = Fake(a=1.0, b=2.0, c=3.0)
    found = interleave(fake.samplers(), rounds=4, seconds=1e9)
    warm, counted = fake.order[:3], [name for name, _ in fake.order[3:]]
    assert sorted(name for name, _ in warm) == ["a", "b", "c"]
    rounds = [counted[i : i + 3] for i in range(0, 12, 3)]
    assert rounds == [["a", "b", "c"], ["a", "c", "b"], ["c", "a", "b"], ["c", "b", "a"]]
    assert found.seconds("b") == Spread(2, 2, 2, 4)
    assert found.ratio("c", "a") == Spread(3, 3, 3, 4)


def test_a_short_call_is_repeated_and_its_seconds_are_those_of_one():
    fake = Fake(short=1e-4, long=SHORT)
    found = interleave(fake.samplers(), rounds=3)
    assert found.calls == {"short": 50, "long": 1}
    assert found.seconds("short").median == pytest.approx(1e-4)
    assert {calls for name, calls in fake.order[-6:] if name == "short"} == {50}


@pytest.mark.parametrize(
    ("seconds", "calls"), [(SHORT, 1), (1.0, 1), (SHORT / 2, 5), (LEAST_SAMPLE / 1000, 1000), (0.0, MOST_CALLS)]
)
def test_calls_within_a_sample(seconds: float, calls: int):
    assert calls_for(seconds) == calls


def test_who_has_spent_its_seconds_leaves_after_the_least_rounds():
    fake = Fake(slow=10.0, fast=0.01)
    found = interleave(fake.samplers(), rounds=8, seconds=1.0, least=3)
    assert found.seconds("slow").count == 3
    assert found.seconds("fast").count == 8
    assert found.ratio("slow", "fast").count == 3
    all_slow = interleave(Fake(a=2.0, b=2.0).samplers(), rounds=8, seconds=1.0, least=2)
    assert len(all_slow.rounds) == 2


def test_a_ratio_is_formed_within_a_round():
    drifting = Samples([{"a": 1.0, "b": 2.0}, {"a": 10.0, "b": 20.0}, {"a": 100.0, "b": 200.0}, {"b": 7.0}])
    assert drifting.ratio("b", "a") == Spread(2, 2, 2, 3)
    assert drifting.seconds("b").count == 4


def test_a_sampler_times_its_calls_and_not_what_is_around_them():
    now = [0.0]
    seen: list[str] = []

    @contextmanager
    def around() -> Iterator[None]:
        now[0] += 100
        seen.append("around")
        yield
        now[0] += 100

    def work() -> None:
        now[0] += 2

    assert sampler(work, lambda: now[0], around)(3) == 6
    assert seen == ["around"]


def test_the_collector_waits_and_goes_on():
    seen = []
    interleave({"a": lambda calls: seen.append(gc.isenabled()) or 1.0}, rounds=1)
    assert seen
    assert not any(seen)
    assert gc.isenabled()

    def broken(_: int) -> float:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        interleave({"a": broken})
    assert gc.isenabled()


def test_nobody_to_time():
    assert interleave({}).rounds == []
