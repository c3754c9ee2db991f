"""Losses, gradient checkpointing, the Trainer, LoRA."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, Trainer, TrainerCallback, TrainingArguments

import hyena
from hyena.integrations.transformers import HyenaForCausalLM, wrap
from tests import tolerances
from tests.helpers import refused
from tests.integrations.transformers.small import dressed, padded
from tests.models.small import classifier, ids, language_model

NO_PEFT = "peft (the extra `hf`) is not installed"
NO_ACCELERATE = "accelerate (the extra `hf`) is not installed"


def new(pattern: str = "HRA", **options: object) -> HyenaForCausalLM:
    """A model to be trained: small initial weights."""
    return dressed(pattern, **options)


# --- losses -------------------------------------------------------------------------------------------------------------------


def test_the_loss_is_that_of_the_next_token():
    model, tokens = new(), ids()
    out = model(tokens, labels=tokens)
    expected = F.cross_entropy(out.logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())
    torch.testing.assert_close(out.loss, expected, **tolerances.FLOAT32)
    summed = model(tokens, labels=tokens, num_items_in_batch=torch.tensor(19)).loss
    torch.testing.assert_close(summed, expected * 38 / 19, **tolerances.FLOAT32)


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_has_no_part_in_loss_or_gradient(side: str):
    model = new()
    rows = [torch.randint(0, 10, (n,)) for n in (9, 4)]
    tokens, mask = padded(rows, side)
    labels = tokens.masked_fill(mask == 0, -100)
    loss = model(tokens, attention_mask=mask, labels=labels).loss
    loss.backward()
    found = model.backbone.embedding.weight.grad.clone()
    model.zero_grad()
    alone = [F.cross_entropy(model(row[None]).logits[0, :-1], row[1:], reduction="sum") for row in rows]
    expected = torch.stack(alone).sum() / 11
    expected.backward()
    torch.testing.assert_close(loss, expected, **tolerances.FLOAT32)
    assert (found - model.backbone.embedding.weight.grad).norm() <= tolerances.FLOAT32_MODEL * found.norm()


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_classifier_reads_padded_rows(side: str):
    for pool in ("mean", "last", "first", "sum"):
        model = wrap(classifier(dtype=torch.float32, classes=3, pool=pool))
        rows = [torch.randint(0, 10, (n,)) for n in (9, 4)]
        tokens, mask = padded(rows, side)
        out = model(tokens, attention_mask=mask, labels=torch.tensor([0, 2]))
        expected = torch.cat([model(row[None]).logits for row in rows])
        assert (out.logits - expected).norm() <= tolerances.FLOAT32_MODEL * expected.norm()
        torch.testing.assert_close(out.loss, F.cross_entropy(out.logits, torch.tensor([0, 2])), **tolerances.FLOAT32)
    with refused("attention_mask has no token in row 0", "leave the row out"):
        model(tokens, attention_mask=torch.zeros_like(mask))


def test_gradient_checkpointing_changes_no_number():
    model, tokens = new().train(), ids()
    model(tokens, labels=tokens).loss.backward()
    plain = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    calls = []
    model.backbone.blocks[1].register_forward_pre_hook(lambda *_: calls.append(1))
    model.gradient_checkpointing_enable()
    assert model.is_gradient_checkpointing
    assert model.backbone.recompute
    model(tokens, labels=tokens).loss.backward()
    assert len(calls) == 2, "the block ran once more for the gradient"
    assert len(plain) > 10
    for name, parameter in model.named_parameters():
        if name in plain:
            assert torch.equal(parameter.grad, plain[name]), name
    model.gradient_checkpointing_disable()
    assert not model.backbone.recompute
    with refused("gradient checkpointing is of every block"):
        model.gradient_checkpointing_enable(every_n_layers=2)


# --- the Trainer --------------------------------------------------------------------------------------------------------------


class Losses(TrainerCallback):
    """Keeps the losses that are logged."""

    def __init__(self) -> None:
        self.found: list[float] = []

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **more: Any) -> None:
        if logs and "loss" in logs:
            self.found.append(float(logs["loss"]))


def arguments(directory: Path, **options: Any) -> TrainingArguments:
    """A few steps on the CPU."""
    given = {"max_steps": 12, "per_device_train_batch_size": 4, "learning_rate": 1e-2, "logging_steps": 1, "seed": 0}
    given |= {"report_to": "none", "disable_tqdm": True, "use_cpu": True, "lr_scheduler_type": "constant"}
    return TrainingArguments(output_dir=str(directory), **given | options)


def repeating(count: int = 32) -> list[dict[str, list[int]]]:
    """Rows that can be learned: counting up."""
    rows = [[(start + i) % 10 for i in range(12)] for start in range(count)]
    return [{"input_ids": row, "labels": row} for row in rows]


@pytest.mark.parametrize("checkpointing", [False, True], ids=["kept", "recomputed"])
def test_the_trainer_trains_saves_and_goes_on(tmp_path: Path, checkpointing: bool):
    pytest.importorskip("accelerate", reason=NO_ACCELERATE)
    losses = Losses()
    model = new("HS")
    if checkpointing:
        model.gradient_checkpointing_enable()
    options = {"save_steps": 6, "eval_strategy": "steps", "eval_steps": 6}
    trainer = Trainer(
        model, arguments(tmp_path, **options), train_dataset=repeating(), eval_dataset=repeating(4), callbacks=[losses]
    )
    trainer.train()
    assert len(losses.found) == 12
    assert losses.found[-1] < 0.7 * losses.found[0]
    assert trainer.evaluate()["eval_loss"] < losses.found[0]
    last = tmp_path / "checkpoint-12"
    again = hyena.load(last)
    tokens = ids()
    with torch.no_grad():
        assert torch.equal(again(tokens), model.eval()(tokens).logits)
    further = Trainer(AutoModelForCausalLM.from_pretrained(last), arguments(tmp_path, max_steps=14), train_dataset=repeating())
    further.train(resume_from_checkpoint=str(tmp_path / "checkpoint-6"))
    assert further.state.global_step == 14


def test_the_trainer_trains_a_classifier(tmp_path: Path):
    pytest.importorskip("accelerate", reason=NO_ACCELERATE)
    language_model("S", torch.float32).save(tmp_path / "lm")
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "lm", num_labels=2)
    rows = [{"input_ids": [i % 2 * 5 + j % 3 for j in range(6)], "labels": i % 2} for i in range(16)]
    losses = Losses()
    Trainer(model, arguments(tmp_path / "run"), train_dataset=rows, callbacks=[losses]).train()
    assert losses.found[-1] < 0.5 * losses.found[0]


# --- adapters -----------------------------------------------------------------------------------------------------------------


def with_adapters(model: HyenaForCausalLM, **options: Any) -> Any:
    """LoRA on the projections, its second factor no longer zero."""
    peft = pytest.importorskip("peft", reason=NO_PEFT)
    targets = ["in_proj", "out_proj", "qkv_proj"]
    config = peft.LoraConfig(task_type="CAUSAL_LM", r=4, lora_alpha=16, target_modules=targets, **options)
    made = peft.get_peft_model(model, config)
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.3)
    return made.eval()


@torch.no_grad()
def logits(model: Any, tokens: Tensor) -> Tensor:
    """Of any of these models."""
    return model(input_ids=tokens).logits


@pytest.mark.parametrize("pattern", ["HRA", "SML", "DD"])
def test_adapters_stream_as_they_compute_in_one_piece(pattern: str):
    """Not least in blocks that take a token by one call of the kernel where nothing hangs in them."""
    model = dressed(pattern)
    prompt = ids(2, 9)
    plain = model.generate(prompt, max_new_tokens=12, do_sample=False)
    adapted = with_adapters(model)
    options = {"input_ids": prompt, "max_new_tokens": 12, "do_sample": False}
    cached = adapted.generate(**options)
    assert torch.equal(cached, adapted.generate(use_cache=False, **options))
    assert not torch.equal(cached, plain)
    with adapted.disable_adapter():
        assert torch.equal(adapted.generate(**options), plain)


def test_adapters_are_trained_saved_read_and_merged(tmp_path: Path):
    peft = pytest.importorskip("peft", reason=NO_PEFT)
    pytest.importorskip("accelerate", reason=NO_ACCELERATE)
    base = dressed("HRSA")
    base.save_pretrained(tmp_path / "base")
    before = logits(base, ids())
    adapted = with_adapters(base).train()
    losses = Losses()
    Trainer(adapted, arguments(tmp_path / "run", max_steps=10), train_dataset=repeating(), callbacks=[losses]).train()
    assert losses.found[-1] < 0.9 * losses.found[0]
    adapted.eval().save_pretrained(tmp_path / "adapters")
    found = logits(adapted, ids_of(0))
    assert not torch.equal(found, before)

    again = peft.PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(tmp_path / "base"), tmp_path / "adapters"
    ).eval()
    assert torch.equal(logits(again, ids_of(0)), found)

    merged = again.merge_and_unload()
    assert isinstance(merged, HyenaForCausalLM)
    assert (logits(merged, ids_of(0)) - found).norm() <= tolerances.FLOAT32_MODEL * found.norm()
    merged.save_pretrained(tmp_path / "merged")
    with torch.no_grad():
        assert torch.equal(hyena.load(tmp_path / "merged")(ids_of(0)), logits(merged, ids_of(0)))
    prompt = ids_of(1)[:, :6]
    ours = hyena.generate(merged.native(), prompt, 10, temperature=0.0)
    assert torch.equal(merged.generate(prompt, max_new_tokens=10, do_sample=False), ours)


def ids_of(seed: int) -> Tensor:
    """The same ids at every call."""
    return torch.randint(0, 10, (2, 20), generator=torch.Generator().manual_seed(seed))
