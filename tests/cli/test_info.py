"""`hyena info`: versions, extras, devices, and the plan of typical convolutions with its reasons."""

import importlib.metadata
import importlib.util
import json

import pytest
import torch

import hyena
from hyena.cli.info import gather
from hyena.ops import plan
from tests.cli.conftest import Run


def test_json(run: Run):
    status, out, err = run("info", "--json")
    assert (status, err) == (0, "")
    facts = json.loads(out)
    assert list(facts) == ["versions", "extras", "devices", "backends"]
    assert facts["versions"]["hyena"] == hyena.__version__
    for name in ("torch", "numpy", "einops", "safetensors", "jaxtyping", "tyro", "rich"):
        assert facts["versions"][name] == importlib.metadata.version(name)
    assert facts["devices"]["cpu"]
    assert len(facts["devices"]) == 1 + torch.cuda.device_count()
    assert len(facts["backends"]) >= 4
    for choice in facts["backends"].values():
        B, D, L, K = (choice["shape"][axis] for axis in "BDLK")
        assert choice["backend"] in [plan(B, D, L, K, D, needs_grad=grad).backend for grad in (False, True)]
        assert "predicted" in choice["reason"]
    assert len({choice["backend"] for choice in facts["backends"].values()}) > 1


def test_for_people_it_says_the_same(run: Run):
    status, out, _ = run("info")
    assert status == 0
    for title, values in gather().items():
        assert f"{title}:\n" in out
        for name, value in values.items():
            row = next(line for line in out.splitlines() if line.strip().startswith(name))
            assert (value["reason"] if isinstance(value, dict) else str(value)) in row
    assert "gradient" in out


def test_a_missing_extra_says_how_to_get_it(run: Run, monkeypatch: pytest.MonkeyPatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "tokenizers" else find(name, *rest))
    extras = json.loads(run("info", "--json").out)["extras"]
    assert extras["text"] == "missing: pip install 'hyena[text]'"
    monkeypatch.setattr(importlib.util, "find_spec", lambda *_: True)
    assert set(json.loads(run("info", "--json").out)["extras"].values()) == {"installed"}
