"""Tables and crossovers of rows that are written down."""

from dataclasses import replace

import pytest

from hyena.bench.memory import Memory
from hyena.bench.ops import Row
from hyena.bench.ops_report import crossover, crossovers, markdown, methods_of
from hyena.bench.rivals import Shape
from tests.bench.rows import LENGTHS, TIMES, rows

FACTS = {"threads": 2, "batch": 1}


def report(found: list[Row], notes: tuple[str, ...] = (), picture: str | None = None) -> str:
    """The page."""
    return markdown(found, FACTS, "A machine.", notes, picture)


def test_crossovers():
    found = rows(TIMES)
    assert crossover(found, "sdpa", gradient=False) == pytest.approx(1000)
    assert crossover(found, "conv1d", gradient=False) == 128
    assert crossover(found, "torch", gradient=True) is None
    slower = rows({"hyena": {8: 2.0, 16: 4.0}, "sdpa": {8: 1.0, 16: 2.0}})
    assert crossover(slower, "sdpa", gradient=False) is None
    # Only a lead that is kept counts.
    twice = rows({"hyena": {8: 1.0, 16: 4.0, 32: 1.0}, "sdpa": {8: 2.0, 16: 2.0, 32: 2.0}})
    assert crossover(twice, "sdpa", gradient=False) == pytest.approx(16 * 2**0.5)
    values = crossovers(found + rows(TIMES, gradient=True))
    assert values["forward"] == {"sdpa": pytest.approx(1000), "conv1d": 128}
    assert values["forward and backward"] == {"sdpa": pytest.approx(2000), "conv1d": pytest.approx(200)}
    assert crossovers(slower) == {"forward": {"sdpa": None}}


def test_times_and_ratios():
    page = report(rows(TIMES, beyond=2048), picture="x.png")
    assert page.startswith("# The long convolution against its rivals\n\nA machine.\n\n2 threads")
    assert "![time per token against length](x.png)" in page
    head = (
        "| tokens | channels | backend | hyena | hyena, filter prepared | torch.fft | torch.fft, filter prepared | F.conv1d | "
        "causal attention |"
    )
    assert head in page
    assert "| 128 | 64 | fft | 0.256 ±10% | 0.128 ±10% | 0.768 ±10% | 0.640 ±10% | 0.164 ±10% | 0.0164 ±10% |" in page
    assert page.count("~") == 1 + 4  # the legend, a time and a ratio of two methods
    assert "| 8,192 | **3.00** (2.70 - 3.30) | **5.00** (4.50 - 5.50) | ~81.9 | ~8.19 |" in page
    assert "Never slower than F.conv1d, from 128 tokens on. Faster than causal attention from about 1,000 tokens on." in page
    assert "Memory" not in page
    assert "Notes" not in page
    assert page.endswith("\n")


def test_both_directions_memory_and_what_is_left_out():
    memory = Memory(3 * 2**20, 1.5)
    found = rows(TIMES) + rows({"hyena": {128: 1.0}, "sdpa": {128: 0.5}}, gradient=True, memory=memory)
    page = report(found, ("scipy is not there", "nor is this"))
    assert page.index("## Forward\n") < page.index("## Forward and backward\n") < page.index("## Memory\n")
    assert "Slower than causal attention at the longest sequence." in page
    assert "| forward and backward | 128 | 64 | hyena | 3.0 | 1.50 |" in page
    assert page.endswith("## Notes\n\n- scipy is not there\n- nor is this\n")


def test_a_method_that_was_not_timed_at_a_length():
    found = rows(TIMES)
    found = [replace(row, seconds=None, ratio=None, reason="no") if row.method == "sdpa" else row for row in found]
    assert "sdpa" not in methods_of(found)
    assert "causal attention |" not in report(found)
    some = [row for row in rows(TIMES) if row.method != "torch" or row.shape.L == 128]
    assert "| 512 | - | **5.00**" in report(some)


def test_rows_of_another_width_say_so():
    narrow = [
        replace(row, shape=Shape.square(1, 16, row.shape.L)) if LENGTHS[-1] == row.shape.L else row for row in rows(TIMES)
    ]
    assert "| 8,192 | 16 | fft |" in report(narrow)
