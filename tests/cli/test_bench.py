"""`hyena bench`: the list of measurements, and the way to one."""

import importlib

import pytest

from hyena.cli.bench import MEASUREMENTS
from tests.cli.conftest import Run


@pytest.mark.parametrize("flag", ["--help", "-h", "help"])
def test_help_lists_the_measurements(run: Run, flag: str):
    status, out, err = run("bench", flag)
    assert (status, err) == (0, "")
    assert out.startswith("usage: hyena bench MEASUREMENT")
    assert MEASUREMENTS
    for name, what in MEASUREMENTS.items():
        assert f"  {name:<10} {what}\n" in out
        assert importlib.import_module(f"hyena.cli.bench_{name}").run


def test_without_a_measurement_the_list_is_shown_and_the_status_tells(run: Run):
    status, out, _ = run("bench")
    assert status == 2
    assert out.startswith("usage: hyena bench MEASUREMENT")


@pytest.mark.parametrize(("line", "parts"), [("markof", ("'markof'", "did you mean 'markov'")), ("x", ("'x'", "markov"))])
def test_an_unknown_measurement(run: Run, line: str, parts: tuple[str, ...]):
    status, out, err = run("bench", line)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert all(part in err for part in parts)
