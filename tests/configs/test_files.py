"""Dataclasses from and to plain values, TOML and JSON: strict, and every error names file, key and cure."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from hyena.configs.files import from_dict, nearest, read_json, read_toml, to_dict, validate
from hyena.errors import HyenaError
from tests.helpers import refused


@dataclass(frozen=True)
class Inner:
    """A nested dataclass."""

    size: int = 1


@dataclass(frozen=True)
class Outer:
    """Every kind of field that a configuration has."""

    name: str
    count: int = 2
    rate: float = 0.5
    on: bool = False
    kind: Literal["plain", "gated"] = "plain"
    limit: int | None = None
    files: tuple[str, ...] = ()
    inner: Inner = field(default_factory=Inner)

    def __post_init__(self) -> None:
        """A check of the values."""
        if self.count < 0:
            raise HyenaError(f"count is {self.count}: use 0 or more")


FULL = {
    "name": "a",
    "count": 3,
    "rate": 0.25,
    "on": True,
    "kind": "gated",
    "limit": 7,
    "files": ["x", "y"],
    "inner": {"size": 4},
}


def outer(**values: Any) -> Outer:
    """From plain values."""
    return from_dict(Outer, {"name": "a"} | values, "run.toml")


def test_all_fields_are_read():
    assert from_dict(Outer, FULL, "run.toml") == Outer("a", 3, 0.25, True, "gated", 7, ("x", "y"), Inner(4))


def test_what_is_left_out_has_its_default():
    assert outer() == Outer("a")
    assert outer(inner={}) == Outer("a")


@pytest.mark.parametrize("values", [FULL, {"name": "a"}], ids=["full", "defaults"])
def test_there_and_back(values: dict[str, Any]):
    config = from_dict(Outer, values, "run.toml")
    assert from_dict(Outer, to_dict(config), "run.toml") == config
    assert from_dict(Outer, json.loads(json.dumps(to_dict(config))), "run.toml") == config


def test_a_dataclass_stands_for_itself():
    assert outer(inner=Inner(9)).inner == Inner(9)


def test_a_whole_number_is_a_fraction():
    rate = outer(rate=3).rate
    assert rate == 3.0
    assert type(rate) is float


def test_nothing_given_is_nothing():
    assert outer(limit=None).limit is None


WRONG: dict[str, tuple[dict[str, Any], list[str]]] = {
    "text for a number": ({"count": "3"}, ["run.toml: count", "'3'", "a whole number"]),
    "a fraction for a whole number": ({"count": 3.0}, ["count", "3.0", "a whole number"]),
    "a truth value for a whole number": ({"count": True}, ["count", "True", "a whole number"]),
    "a truth value for a fraction": ({"rate": True}, ["rate", "True", "a number"]),
    "text for a fraction": ({"rate": "fast"}, ["rate", "'fast'", "a number"]),
    "a number for a truth value": ({"on": 1}, ["on", "1", "true or false"]),
    "a number for text": ({"name": 3}, ["name", "3", "a string"]),
    "nothing for a number": ({"count": None}, ["count", "None", "a whole number"]),
    "text for an optional number": ({"limit": "7"}, ["limit", "'7'", "a whole number"]),
    "no choice": ({"kind": "gatde"}, ["kind", "'gatde'", "did you mean 'gated'?", "('plain', 'gated')"]),
    "a number for a choice": ({"kind": 3}, ["kind", "3", "('plain', 'gated')"]),
    "text for a list": ({"files": "x"}, ["files", "'x'", "a list"]),
    "a number in a list": ({"files": ["x", 3]}, ["files", "3", "a string"]),
    "a number for a table": ({"inner": 3}, ["inner", "3", "a table of keys"]),
    "nothing for a table": ({"inner": None}, ["inner", "None", "a table of keys"]),
    "an unknown key": ({"cuont": 3}, ["run.toml has no key 'cuont'", "did you mean 'count'?", "its keys: name, count"]),
    "an unknown key far from all": ({"zzz": 3}, ["'zzz'; its keys: name"]),
    "an unknown key in a table": ({"inner": {"sise": 3}}, ["run.toml: inner", "'sise'", "did you mean 'size'?"]),
    "a wrong value in a table": ({"inner": {"size": "3"}}, ["run.toml: inner: size", "'3'"]),
    "a value that the dataclass refuses": ({"count": -1}, ["run.toml", "count is -1"]),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_named_with_its_place(case: str):
    values, parts = WRONG[case]
    with refused(*parts):
        outer(**values)


def test_a_missing_key_is_named():
    with refused("run.toml lacks the key 'name'", "add it"):
        from_dict(Outer, {}, "run.toml")


@pytest.mark.parametrize("values", [[], "text", 3, None])
def test_no_table_at_all(values: Any):
    with refused("run.toml", repr(values), "a table of keys"):
        from_dict(Outer, values, "run.toml")


def test_validation_checks_a_dataclass_in_place():
    config = Outer("a", rate=3, files=["x"])  # pyright: ignore[reportArgumentType]
    validate(config)
    assert config == Outer("a", rate=3.0, files=("x",))
    assert type(config.rate) is float
    with refused("Outer.count", "'3'", "a whole number"):
        validate(_unchecked(count="3"))


def _unchecked(**values: Any) -> Outer:
    """A dataclass whose values nobody looked at."""
    config = Outer("a")
    for name, value in values.items():
        object.__setattr__(config, name, value)
    return config


def test_the_nearest_word():
    assert nearest("widht", ["width", "depth"]) == "; did you mean 'width'?"
    assert nearest("xyz", ["width", "depth"]) == ""


# --- files ------------------------------------------------------------------------------------------------------------------


def test_toml_and_json_hold_the_same(tmp_path: Path):
    (tmp_path / "a.toml").write_text('name = "a"\nfiles = ["é"]\n[inner]\nsize = 4\n', encoding="utf-8")
    (tmp_path / "a.json").write_text('{"name": "a", "files": ["é"], "inner": {"size": 4}}', encoding="utf-8")
    assert (
        read_toml(tmp_path / "a.toml")
        == read_json(str(tmp_path / "a.json"))
        == {"name": "a", "files": ["é"], "inner": {"size": 4}}
    )


BROKEN = {
    "TOML": (read_toml, b'name = "a"\ncount = \n', ["not valid TOML", "line 2"]),
    "JSON": (read_json, b'{"name": "a",\n "count" }', ["not valid JSON", "line 2"]),
    "a list": (read_json, b"[1]", ["holds a list", "object"]),
    "text": (read_json, b'"a"', ["holds a str", "object"]),
    "another encoding": (read_json, b'{"name": "\xe9"}', ["cannot be read"]),
    "another encoding of TOML": (read_toml, b'name = "\xe9"', ["cannot be read"]),
    "nothing": (read_json, b"", ["not valid JSON", "line 1"]),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_is_named(tmp_path: Path, case: str):
    read, content, parts = BROKEN[case]
    (tmp_path / "config").write_bytes(content)
    with refused(tmp_path / "config", *parts):
        read(tmp_path / "config")


@pytest.mark.parametrize("read", [read_toml, read_json])
def test_a_path_that_is_no_file_is_named(tmp_path: Path, read: Any):
    with refused(tmp_path / "missing", "does not exist"):
        read(tmp_path / "missing")
    with refused(tmp_path, "is a directory"):
        read(tmp_path)


@dataclass(frozen=True)
class Wide:
    """A field whose default is not that of its class."""

    inner: Inner = field(default_factory=lambda: Inner(8))
    limited: Outer = field(default_factory=lambda: Outer("b", count=9, inner=Inner(6)))


def test_a_table_is_read_onto_the_default_of_its_field():
    assert from_dict(Wide, {"inner": {}}, "run.toml") == Wide()
    read = from_dict(Wide, {"limited": {"on": True, "inner": {}}}, "run.toml")
    assert read == Wide(limited=Outer("b", count=9, on=True, inner=Inner(6)))
    with refused("run.toml: limited has no key 'oon'", "did you mean 'on'"):
        from_dict(Wide, {"limited": {"oon": True}}, "run.toml")
