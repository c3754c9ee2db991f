"""`hyena info`: versions, extras, devices, the compiled kernel, and the plan of typical convolutions with its reasons."""

import importlib.metadata
import importlib.util
import json
import re
from pathlib import Path

import pytest
import torch

import hyena
from hyena.cli.info import gather
from hyena.models import LanguageModel
from hyena.ops import native, plan
from tests.cli.conftest import Run
from tests.models.small import HYBRIDS, STRIPED, small


def test_json(run: Run):
    status, out, err = run("info", "--json")
    assert (status, err) == (0, "")
    facts = json.loads(out)
    assert list(facts) == ["versions", "extras", "devices", "kernel", "costs", "backends"]
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


def test_the_kernel_in_use_is_named_with_its_reason(run: Run, monkeypatch: pytest.MonkeyPatch):
    lacking = "this processor does not have it"
    refused = {"avx512": lacking, "portable": "avx2 is better"}
    status = native.Status("avx2", f"avx512: {lacking}", Path("lib/libhyena-avx2.so"), refused)
    monkeypatch.setattr(native, "status", lambda: status)
    kernel = json.loads(run("info", "--json").out)["kernel"]
    assert list(kernel) == ["used", "reason", "avx512", "avx2", "portable"]
    assert kernel == {"used": "avx2", "reason": status.reason, "avx2": "in use, lib/libhyena-avx2.so"} | refused
    assert re.search(rf"kernel:\n  used +avx2\n  reason +avx512: {lacking}\n", run("info").out)


def test_no_kernel_is_no_error_and_says_why(run: Run, monkeypatch: pytest.MonkeyPatch):
    why = "no compiler was found when hyena was installed: install g++ and reinstall"
    monkeypatch.setattr(native, "status", lambda: native.Status(None, why, None, {"portable": why}))
    assert json.loads(run("info", "--json").out)["kernel"] == {"used": "none", "reason": why, "portable": why}
    assert re.search(rf"kernel:\n  used +none\n  reason +{re.escape(why)}\n", run("info").out)


def test_the_kernel_is_the_one_that_the_operators_get(run: Run):
    status = native.status()
    assert json.loads(run("info", "--json").out)["kernel"]["used"] == (status.isa or "none")
    assert (native.library() is None) == (status.isa is None)


def test_a_missing_extra_says_how_to_get_it(run: Run, monkeypatch: pytest.MonkeyPatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "tokenizers" else find(name, *rest))
    extras = json.loads(run("info", "--json").out)["extras"]
    assert extras["text"] == "missing: pip install 'hyena[text]'"
    monkeypatch.setattr(importlib.util, "find_spec", lambda *_: True)
    assert set(json.loads(run("info", "--json").out)["extras"].values()) == {"installed"}


def test_what_a_sequence_takes(run: Run, models: Path):
    status, out, err = run("info", "--model", models / "dna", "--length", "20")
    assert (status, err) == (0, "")
    assert "20 tokens" in out
    assert "--max-memory" in out
    assert "predicted time" in out
    values = json.loads(run("info", "--model", models / "dna", "--json").out)["estimate"]
    assert values["length"] == 32
    assert values["working"] > values["stream"] == 32 * 16 * 4
    for arguments, message in (
        (["--length", "5"], "--model DIR"),
        (["--model", models / "dna", "--length", "0"], "length is 0"),
        (["--model", models / "dna", "--length", "33"], "max_length 32"),
        (["--model", models / "dna", "--max-memory", "1K"], "beyond the weights"),
    ):
        done = run("info", *arguments)
        assert done.status == 2
        assert message in done.err


@pytest.mark.parametrize("pattern", HYBRIDS)
def test_what_a_sequence_takes_in_a_hybrid(run: Run, tmp_path: Path, pattern: str):
    model = LanguageModel(small(pattern, mixers=STRIPED, max_length=60_000))
    model.save(tmp_path / "model")
    line = ["info", "--model", tmp_path / "model", "--length", 50_000]
    values = json.loads(run(*line, "--json").out)["estimate"]
    assert (values["state"], values["flops"]) == (model.state_bytes(50_000), model.flops(50_000))
    assert values["stream"] < values["least"] < values["working"]
    less = json.loads(run(*line, "--max-memory", values["least"], "--json").out)["estimate"]
    assert less["working"] == values["least"]
    refused = run(*line, "--max-memory", values["least"] - 1)
    assert refused.status == 2
    assert "50,000 tokens needs" in refused.err
