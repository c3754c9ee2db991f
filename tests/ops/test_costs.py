"""The table of costs: read between its points, kept in a file, refused where it is not this machine's."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from hyena.ops import costs
from hyena.ops.costs import CPU, Costs


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A user without a table of their own, before and after."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    costs.in_force.cache_clear()
    yield
    costs.in_force.cache_clear()


@pytest.mark.parametrize(("length", "value"), [(2, 1.0), (4, 1.0), (8, 2.0), (16, 3.0), (2**20, 3.0)])
def test_a_curve_is_read_between_its_points_and_flat_beyond(length: int, value: float):
    assert costs.read(((2, 1.0), (4, 3.0)), length) == value


def test_shipped_costs_are_used_where_there_are_no_others():
    assert costs.in_force()[0] is CPU
    assert "as shipped" in costs.in_force()[1]


def test_a_table_is_kept_and_used():
    mine = replace(CPU, fir=9.0, native=((6, 1.0), (20, 2.0)))
    where = costs.save(mine)
    assert where == costs.path()
    assert costs.load(where) == mine
    assert costs.in_force() == (mine, f"measured on this machine: {where}")
    assert [path.name for path in where.parent.iterdir()] == [where.name]


SPOILT = {
    "not JSON": ("{", "Expecting"),
    "not a table": ("[]", "no costs"),
    "another machine": ({"machine": "abacus"}, "'abacus'"),
    "another version": ({"costs": {"fir": 1.0}}, "another version"),
    "not a number": ({"costs": "nan"}, "finite"),
}


@pytest.mark.parametrize("case", SPOILT)
def test_a_spoilt_table_is_named_and_left_aside(case: str):
    change, part = SPOILT[case]
    where = costs.save(CPU)
    held = json.loads(where.read_text())
    if isinstance(change, dict):
        held |= {"costs": held["costs"] | {"fir": float("nan")}} if change.get("costs") == "nan" else change
        where.write_text(json.dumps(held))
    else:
        where.write_text(change)
    with pytest.warns(RuntimeWarning, match="is not used") as caught:
        assert costs.in_force()[0] is CPU
    assert part in str(caught[0].message)
    assert "--calibrate" in str(caught[0].message)


def test_impossible_costs_are_refused():
    for bad in (-1.0, float("inf"), "x"):
        with pytest.raises(ValueError, match="fir must be finite"):
            Costs(fir=bad)
