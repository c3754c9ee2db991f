"""`verify`: a whole model passes, and whatever is wrong is named in a verdict that nobody can miss."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from hyena.checkpoints import convert, verify
from hyena.models import LanguageModel, store
from tests.checkpoints.golden import case
from tests.checkpoints.test_striped import directory
from tests.helpers import unchecked
from tests.models.small import language_model

SH2 = case("sh2-lm")


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    """A converted model with its known input."""
    convert(directory(tmp_path / "source", "sh2-lm"), tmp_path / "ours")
    return tmp_path / "ours"


def asked(path: Path, *rest: Any, **options: Any) -> dict[str, bool | None]:
    """Check -> what came out."""
    with unchecked():
        verdict = verify(path, *rest, **options)
    assert verdict.passed == all(check.passed is not False for check in verdict.checks)
    assert all("\n" not in check.detail for check in verdict.checks)
    return {check.name: check.passed for check in verdict.checks}


def why(path: Path, *rest: Any, **options: Any) -> str:
    """What the failed check says."""
    with unchecked():
        (failed,) = [check for check in verify(path, *rest, **options).checks if check.passed is False]
    return failed.detail


def test_a_converted_model_is_verified(ours: Path, tmp_path: Path):
    assert asked(ours) == {"configuration": True, "tensors": True, "known input": True}
    reference = SH2.folder / "io.safetensors"
    assert asked(ours, reference)["known input"] is True
    assert asked(tmp_path / "source", reference)["known input"] is True
    assert asked(SH2.weights, reference, "vortex", SH2.config)["known input"] is True
    assert asked(tmp_path / "source") == {"configuration": True, "tensors": True, "known input": None}


def test_a_model_that_was_saved_has_no_known_input(tmp_path: Path):
    language_model().save(tmp_path)
    assert asked(tmp_path) == {"configuration": True, "tensors": True, "known input": None}


def test_a_save_takes_the_known_input_of_another_away(ours: Path):
    language_model().save(ours)
    assert not (ours / store.KNOWN).exists()
    assert not (ours / "published.json").exists()


def damaged(ours: Path, kind: str) -> str:
    """Break a saved model; what must be named."""
    weights = ours / "model.safetensors"
    with open(ours / "config.json") as file:
        config = json.load(file)
    if kind == "cut short":
        weights.write_bytes(weights.read_bytes()[:-9])
        return "not a whole safetensors file"
    if kind == "missing":
        weights.unlink()
        return "model.safetensors does not exist"
    if kind == "another configuration":
        config["model"]["width"] = 64
        (ours / "config.json").write_text(json.dumps(config))
        return "has shape"
    tensors = load_file(weights)
    name = "backbone.blocks.2.mlp.up_proj.weight"
    if kind == "not finite":
        tensors[name][3, 4] = torch.nan
        expected = f"{name} holds 1 numbers that are not finite"
    elif kind == "another number":
        tensors[name][3, 4] += 0.5
        expected = "recorded when it was written differ by"
    else:
        tensors[name] = tensors[name].to(torch.int32)
        expected = f"{name} is torch.int32"
    save_file(tensors, weights, {"save_id": config["save_id"]})
    return expected


@pytest.mark.parametrize(
    "kind", ["cut short", "missing", "another configuration", "not finite", "another number", "whole numbers"]
)
def test_what_is_wrong_is_named(ours: Path, kind: str):
    expected = damaged(ours, kind)
    assert expected in why(ours)


def test_a_known_input_of_another_save_is_not_taken(ours: Path, tmp_path: Path):
    convert(directory(tmp_path / "b", "sh2-lm-1m"), tmp_path / "other")
    (tmp_path / "other" / store.KNOWN).replace(ours / store.KNOWN)
    assert "two different saves" in why(ours)


def test_another_function_is_found_by_a_reference(tmp_path: Path):
    path = directory(tmp_path / "a", "sh2-lm", evo2_style_activations=False)
    assert "io.safetensors differ by" in why(path, SH2.folder / "io.safetensors")


@pytest.mark.parametrize(
    ("tensors", "part"),
    [
        ({"logits": torch.ones(1, 3, 512)}, "no tensor input_ids"),
        ({"input_ids": torch.ones(1, 3), "logits": torch.ones(1, 3, 512)}, "whole numbers"),
        ({"input_ids": torch.full((1, 3), 512), "logits": torch.ones(1, 3, 512)}, "512"),
        ({"input_ids": torch.ones(1, 3).long(), "logits": torch.ones(1, 3, 5)}, "logits have shape (1, 3, 5)"),
        ({"input_ids": torch.ones(1, 3).long(), "logits": torch.full((1, 3, 512), torch.nan)}, "differ by nan"),
    ],
)
def test_a_reference_that_does_not_fit_is_named(ours: Path, tmp_path: Path, tensors: dict[str, torch.Tensor], part: str):
    save_file(tensors, tmp_path / "reference.safetensors")
    assert part in why(ours, tmp_path / "reference.safetensors")


def test_half_precision_is_allowed_its_rounding(ours: Path, tmp_path: Path):
    convert(ours, tmp_path / "half", dtype="bfloat16")
    assert asked(tmp_path / "half")["known input"] is True


def test_precision_is_a_note_and_strictly_a_failure(tmp_path: Path):
    path = directory(tmp_path / "a", "sh2-lm", use_fp8_input_projections=True)
    assert asked(path)["precision"] is None
    assert "strict precision" in why(path, strict_precision=True)


def test_a_directory_without_a_model_is_named(tmp_path: Path):
    assert "pass format=" in why(tmp_path)
    assert isinstance(language_model(), LanguageModel)
