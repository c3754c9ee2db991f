"""Starting from another model's weights, and gradient checkpointing."""

from pathlib import Path
from typing import Any

import pytest
import torch

import hyena
from hyena.models import Classifier, LanguageModel
from hyena.training import train
from tests.helpers import refused
from tests.training.runs import MODEL, assert_same_weights, contents, ctrl_c, tiny

pytestmark = pytest.mark.usefixtures("undrawn")


def test_a_run_starts_from_the_weights_that_it_is_given(text: Path, tmp_path: Path):
    train(tiny(tmp_path / "first", text))
    seen: list[float] = []
    config = tiny(tmp_path / "second", text, initial=str(tmp_path / "first"), warmup=0.0, lr=1e-9, steps=1)
    train(config, report=lambda p: seen.append(p.loss))
    first, second = hyena.load(tmp_path / "first"), hyena.load(tmp_path / "second")
    for name, tensor in first.state_dict().items():
        torch.testing.assert_close(second.state_dict()[name], tensor, rtol=0, atol=1e-8)
    assert seen[0] < 5.2, "not a fresh model's"


def test_a_resumed_run_does_not_start_from_them_again(text: Path, tmp_path: Path):
    LanguageModel(MODEL).save(tmp_path / "first")
    changes: dict[str, Any] = {"initial": str(tmp_path / "first"), "ema": 0.9}
    train(tiny(tmp_path / "whole", text, **changes))
    train(tiny(tmp_path / "run", text, **changes), report=ctrl_c(3))
    (tmp_path / "first/model.safetensors").unlink()
    assert train(tiny(tmp_path / "run", text, **changes), resume=True).finished
    assert_same_weights(tmp_path / "run", tmp_path / "whole")


@pytest.mark.parametrize(
    ("model", "parts"),
    [
        (LanguageModel(MODEL.replace(width=8)), ("filter.decay", "(8,)", "(16,)")),
        (LanguageModel(MODEL.replace(pattern="HH")), ("unknown", "backbone.blocks.1")),
        (LanguageModel(MODEL.replace(max_length=64)), ("filter.t", "(64,)", "(32,)")),
        (Classifier(MODEL), ("Classifier", "language model")),
    ],
    ids=["width", "layers", "grid", "kind"],
)
def test_a_model_of_another_shape_is_refused_before_anything_is_written(
    text: Path, tmp_path: Path, model: Any, parts: tuple[str, ...]
):
    model.save(tmp_path / "other")
    before = contents(tmp_path)
    with refused("training.initial", str(tmp_path / "other"), *parts):
        train(tiny(tmp_path / "run", text, initial=str(tmp_path / "other")))
    assert contents(tmp_path) == before


def test_gradient_checkpointing_changes_no_number(text: Path, tmp_path: Path):
    blocks: list[int] = []
    for recompute in (False, True):
        calls = [0]

        def count(*_: Any, calls: list[int] = calls) -> None:
            calls[0] += torch.is_grad_enabled()

        handle = torch.nn.modules.module.register_module_forward_pre_hook(
            lambda module, _, count=count: count() if type(module).__name__ == "Block" else None
        )
        changes = {"pattern": "HAH", "dropout": 0.3, "gradient_checkpointing": recompute, "steps": 3}
        train(tiny(tmp_path / str(recompute), text, **changes))
        handle.remove()
        blocks.append(calls[0])
    assert blocks == [9, 18], "each block runs twice"
    assert_same_weights(tmp_path / "False", tmp_path / "True")
