"""Flat YAML: what the published configurations hold, and an error that names the line for anything more."""

from pathlib import Path
from typing import Any

import pytest

from hyena.checkpoints.flat_yaml import read_yaml
from tests.helpers import refused


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("-3", -3),
        ("0.000001", 1e-6),
        ("1.0e-6 # 0.00001", 1e-6),
        ("True", True),
        ("false # add bias", False),
        ("null  # auto", None),
        ("", None),
        ("torch.nn.init.zeros_", "torch.nn.init.zeros_"),
        ('"a: b"', "a: b"),
        ("[1, 2,3]", [1, 2, 3]),
        ("[]", []),
        ("tokenizer/tokenizer.json ", "tokenizer/tokenizer.json"),
    ],
)
def test_values(tmp_path: Path, text: str, value: Any):
    (tmp_path / "a.yml").write_text(f"---\n# a comment\n\nfirst: 1\nkey: {text}\n")
    found = read_yaml(tmp_path / "a.yml")
    assert found == {"first": 1, "key": value}
    assert type(found["key"]) is type(value)


@pytest.mark.parametrize("line", ["- 1", "key: [1,", "key: {a: 1}", "key: |", "  nested: &x", "words", "first: 2"])
def test_more_than_flat_is_named(tmp_path: Path, line: str):
    (tmp_path / "a.yml").write_text(f"first: 1\n{line}\n")
    with refused(tmp_path / "a.yml", "line 2"):
        read_yaml(tmp_path / "a.yml")


def test_a_missing_file_is_named(tmp_path: Path):
    with refused(tmp_path / "a.yml", "does not exist"):
        read_yaml(tmp_path / "a.yml")
