"""Command lines into dataclasses: defaults, values, and one line for whatever does not parse."""

from dataclasses import dataclass, field

import pytest

from hyena.cli.parse import parse
from tests.helpers import refused


@dataclass(frozen=True)
class Inner:
    """Options of a table."""

    rate: float = 0.5
    """A number."""
    choice: str | None = None
    """A word."""


@dataclass(frozen=True)
class Options:
    """Options of a test."""

    count: int
    """How many."""
    inner: Inner = field(default_factory=Inner)
    """The table."""


def test_values_and_defaults():
    assert parse(Options, ["--count", "3"], "prog", "") == Options(3)
    assert parse(Options, ["--count", "3", "--inner.rate", "2"], "prog", "") == Options(3, Inner(2.0))
    assert parse(Options, [], "prog", "", default=Options(4)) == Options(4)
    assert parse(Options, ["--inner.choice", "a"], "prog", "", Options(4)) == Options(4, Inner(choice="a"))


def test_help_ends_well_and_prints(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as caught:
        parse(Options, ["--help"], "prog", "What it is for.")
    assert caught.value.code in (0, None)
    out, err = capsys.readouterr()
    assert "What it is for." in out
    assert "--inner.rate" in out
    assert err == ""


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("", ("--count", "prog --help")),
        ("--count", ("--count", "prog --help")),
        ("--count x", ("--count", "'x'", "prog --help")),
        ("--count 3 --inner.rat 2", ("--inner.rat", "did you mean --inner.rate?", "prog --help")),
        ("--count 3 --inner.rate x", ("--inner.rate", "'x'", "prog --help")),
        ("--count 3 rest", ("rest", "prog --help")),
        ("--count 3 --inner.rate 1 2", ("2", "prog --help")),
    ],
)
def test_what_does_not_parse_is_one_line(line: str, parts: tuple[str, ...], capsys: pytest.CaptureFixture[str]):
    with refused(*parts):
        parse(Options, line.split(), "prog", "")
    assert capsys.readouterr() == ("", "")
