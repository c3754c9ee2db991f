"""Programs of `torch.export` against the model itself, at other batches and lengths than those they were traced with."""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from hyena.configs.filters import ExplicitFilterConfig, ImplicitFilterConfig, ModalFilterConfig
from hyena.configs.mixers import AttentionConfig, ExplicitConvConfig, HyenaConfig, Mixers
from hyena.integrations.export import exported, longest
from hyena.models import LanguageModel
from tests import tolerances
from tests.helpers import python, refused, unchecked
from tests.models.small import classifier, language_model

PLAIN = Mixers(
    H=HyenaConfig(filter=ImplicitFilterConfig(features=5, width=8)),
    M=ExplicitConvConfig(skip=True, filter=ExplicitFilterConfig(taps=20, groups=4, decay="weak", decay_length=64)),
    W=AttentionConfig(window=5),
)
"""Hyena of order 2; a medium filter longer than the shortest rows."""


def small(pattern: str, dtype: torch.dtype = torch.float64, **options: object) -> LanguageModel:
    """Width 16, 10 symbols, up to 64 tokens."""
    return language_model(pattern, dtype, **{"mixers": PLAIN} | options)


def tokens(B: int, L: int) -> Tensor:
    """Ids (B, L)."""
    return torch.randint(0, 10, (B, L))


@torch.no_grad()
def agree(model: torch.nn.Module, program: torch.nn.Module, B: int, L: int) -> None:
    """The program gives what the model gives."""
    ids = tokens(B, L)
    with unchecked():
        assert_close(program(ids), model(ids), **tolerances.STREAM)


PATTERNS = ["H", "R", "S", "M", "L", "D", "A", "W", "HRSMLDAW"]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_program_is_the_model_at_every_batch_and_length(pattern: str):
    model = small(pattern)
    with unchecked():
        program = exported(model).module()
    for B, L in ((2, 16), (1, 1), (1, 2), (3, 1), (3, 4), (5, 5), (2, 33), (1, 64)):
        agree(model, program, B, L)


@pytest.mark.parametrize("pattern", ["RSMLDA", "W"])
def test_what_reads_any_length_does_so_exported(pattern: str):
    model = small(pattern)
    assert longest(model) is None
    with unchecked():
        program = exported(model).module()
    agree(model, program, 1, 300)


def test_an_exported_model_is_saved_and_loaded(tmp_path: Path):
    model, ids = small("HRLA"), tokens(3, 40)
    with unchecked():
        torch.export.save(exported(model), tmp_path / "model.pt2")
        wanted = model(ids).detach()
    torch.save({"ids": ids, "wanted": wanted}, tmp_path / "io.pt")
    script = f"""
import torch, hyena.ops
program = torch.export.load({str(tmp_path / "model.pt2")!r}).module()
io = torch.load({str(tmp_path / "io.pt")!r})
assert not program(io["ids"]).requires_grad
print(float((program(io["ids"]) - io["wanted"]).abs().max()))
"""
    assert float(python(script)) <= tolerances.STREAM["atol"]


OTHERS = {
    "order 3": ("HH", {"mixers": Mixers(H=HyenaConfig(order=3, order_scale=True, filter=PLAIN.H.filter))}),
    "outer": ("H", {"mixers": Mixers(H=HyenaConfig(gating="outer", filter=PLAIN.H.filter))}),
    "modal": ("H", {"mixers": Mixers(H=HyenaConfig(modal=ModalFilterConfig(order=4)))}),
    "modal with a head": ("H", {"mixers": Mixers(H=HyenaConfig(modal=ModalFilterConfig(order=4, head=6)))}),
    "grouped heads": ("A", {"mixers": Mixers(A=AttentionConfig(heads=4, kv_heads=2))}),
    "positions": ("HA", {"position_rows": 40}),
    "one position": ("A", {"position_rows": 1}),
    "striped": ("RA", {"norm": "rms_outside", "mlp": "gated", "activation": "silu", "tied": False, "vocab_multiple": 8}),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_models(name: str):
    pattern, options = OTHERS[name]
    model = small(pattern, **options)
    with unchecked():
        program = exported(model).module()
    for B, L in ((1, 1), (2, 1), (1, 2), (3, 7), (2, 40)):
        if (longest(model) or L) >= L:
            agree(model, program, B, L)


def test_past_the_grid_as_beyond_says():
    truncated, extended = small("HA", beyond="truncate"), small("HA", beyond="extend")
    assert (longest(truncated), longest(extended)) == (None, 64)
    with unchecked():
        programs = exported(truncated).module(), exported(extended).module()
    agree(truncated, programs[0], 2, 10)
    agree(truncated, programs[0], 2, 100)
    agree(extended, programs[1], 2, 64)
    with refused("length is 100", "64 tokens at most", "truncate"):
        exported(extended, length=100)
    with refused("max_length 64", "100"), torch.no_grad():
        torch.export.export(extended, (tokens(2, 100),))


def test_a_program_refuses_what_it_was_not_made_for():
    model = small("HA")
    assert longest(model) == 64
    with unchecked():
        program = exported(model).module()
        single = exported(model, batch=1, length=1).module()
    agree(model, single, 1, 1)
    for run, B, L in ((program, 2, 65), (single, 2, 1), (single, 1, 2)):
        with pytest.raises((AssertionError, RuntimeError)):
            run(tokens(B, L))
    with refused("batch is 0"):
        exported(model, batch=0)
    with refused("length is -1"):
        exported(model, length=-1)
    with refused("length is 65", "64 tokens at most", "beyond"):
        exported(model, length=65)


def test_an_exported_model_is_left_as_it_was():
    model = small("HR", dropout=0.5).train()
    with unchecked():
        program = exported(model).module()
    assert all(module.training for module in model.modules())
    agree(model.eval(), program, 2, 20)


def test_half_precision_and_float32():
    for dtype in (torch.float32, torch.bfloat16):
        model, ids = small("HRLA", dtype), tokens(2, 30)
        with unchecked(), torch.no_grad():
            y, wanted = exported(model).module()(ids), model(ids)
        assert y.dtype == wanted.dtype == dtype
        bound = tolerances.FLOAT32_MODEL if dtype == torch.float32 else tolerances.BFLOAT16_MODEL
        assert (y.float() - wanted.float()).norm() <= bound * wanted.float().norm()


def test_a_classifier_is_exported_too():
    model = classifier("HA", pool="last")
    with unchecked():
        program = exported(model).module()
    agree(model, program, 3, 20)


def test_plain_export_by_hand_is_the_same():
    model = small("HSA")
    dynamic = {0: torch.export.Dim("batch"), 1: torch.export.Dim("length", max=64)}
    with unchecked(), torch.no_grad():
        program = torch.export.export(model, (tokens(2, 8),), dynamic_shapes=(dynamic,)).module()
    agree(model, program, 4, 50)


def test_a_program_has_no_gradient():
    model = small("SH")
    with unchecked():
        program = exported(model).module()
        assert not program(tokens(1, 3)).requires_grad
        assert model(tokens(1, 3)).requires_grad, "the model itself has"
    with torch.no_grad():
        model.backbone.embedding.weight.mul_(2)
    agree(model, program, 2, 5)
