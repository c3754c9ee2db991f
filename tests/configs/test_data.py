"""What a run is trained on: combinations without a meaning are refused, in Python as in a file."""

from typing import Any

import pytest

from hyena.configs.data import DataConfig, Policy, RecallConfig
from hyena.configs.files import from_dict
from hyena.configs.training import DataConfig as SameConfig
from tests.helpers import refused

WRONG: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "nothing": ({}, ("no data file", "data.files", "data.recall")),
    "fraction": ({"files": ("a",), "valid_fraction": 1.0}, ("valid_fraction", "1.0", "0.1")),
    "fraction that is no number": ({"files": ("a",), "valid_fraction": float("nan")}, ("valid_fraction", "nan")),
    "files and records": (
        {"files": ("a",), "valid_files": ("b",), "valid_records": ("c",)},
        ("valid_files and valid_records", "keep one"),
    ),
    "files and fraction": (
        {"files": ("a",), "valid_files": ("b",), "valid_fraction": 0.2},
        ("valid_files and valid_fraction",),
    ),
    "soft mask": ({"files": ("a",), "soft_mask": "lower"}, ("soft_mask", "'lower'", "'upper'")),
    "codes": ({"files": ("a",), "iupac": "N"}, ("iupac", "'N'")),
    "field": ({"files": ("a",), "text_field": ""}, ("text_field", "empty")),
    "one file as a string": ({"files": "a"}, ("files", "'a'", "a list")),
    "a task and files": ({"files": ("a",), "recall": {}}, ("data.recall", "data.files", "one of them")),
    "a task and an option": ({"recall": {}, "reverse_complement": True}, ("data.recall", "data.reverse_complement")),
    "a task of nothing": ({"recall": {"pairs": 1}}, ("recall.pairs", "1", "at least 2")),
    "no keys": ({"recall": {"keys": 0}}, ("recall.keys", "0", "at least 1")),
    "one value": ({"recall": {"values": 1}}, ("recall.values", "1", "at least 2")),
}


@pytest.mark.parametrize("case", WRONG)
def test_combinations_without_a_meaning(case: str):
    values, parts = WRONG[case]
    with refused(*parts):
        DataConfig(**values)
    with refused("run.toml", *parts):
        from_dict(DataConfig, values, "run.toml")


def test_the_policy_is_that_of_the_options():
    assert DataConfig(("a",)).policy == Policy()
    assert DataConfig(("a",), soft_mask="mask", iupac="n", text_field="body").policy == Policy("mask", "n", "body")


def test_a_task_without_files():
    config = from_dict(DataConfig, {"recall": {"keys": 3, "pairs": 5}}, "x")
    assert config == DataConfig(recall=RecallConfig(keys=3, pairs=5))
    assert config.recall is not None
    assert (config.recall.vocab_size, config.recall.length) == (19, 10)


def test_the_old_place_still_has_it():
    assert SameConfig is DataConfig
