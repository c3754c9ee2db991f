"""Hooks on a block, a mixer, an MLP: the same in streams as in the whole forward, refused where work goes layer by layer."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

import hyena
from hyena.errors import HyenaError
from hyena.models import LanguageModel
from tests import tolerances

PLACES: dict[str, Callable[[LanguageModel], nn.Module]] = {
    "block": lambda m: m.backbone.layers[1],
    "mixer": lambda m: m.backbone.layers[1].mixer,
    "mlp": lambda m: m.backbone.layers[1].mlp,
    "norm": lambda m: m.backbone.norm,
}


def model(pattern: str) -> LanguageModel:
    """In float64."""
    return LanguageModel(hyena.ModelConfig(pattern, 32, 11, max_length=64)).double().eval()


def steered(module: nn.Module, args: Any, out: Tensor) -> Tensor:
    """A hook."""
    return 3 * out + torch.arange(32) / 20


def shifted(module: nn.Module, args: Any) -> tuple[Tensor, ...]:
    """A hook before."""
    return (args[0] + torch.arange(32) / 20, *args[1:])


@pytest.mark.parametrize("pattern", ["HHAH", "SMLA", "RWDR"])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("before", [False, True])
def test_a_stream_runs_them(pattern: str, place: str, before: bool):
    m, ids = model(pattern), torch.randint(0, 11, (2, 24))
    plain = m(ids)
    at = PLACES[place](m)
    handle = at.register_forward_pre_hook(shifted) if before else at.register_forward_hook(steered)
    wanted, state, parts = m(ids), m.init_state(2), []
    assert not torch.allclose(wanted, plain)
    for chunk in ids.split([7, 1, 1, 1, 5, 9], 1):
        logits, state = m.extend(chunk, state)
        parts.append(logits)
    assert_close(torch.cat(parts, 1), wanted.detach(), **tolerances.STREAM)
    drawn = [hyena.generate(m, ids, max_new_tokens=5, temperature=0.0, decoding=d) for d in ("auto", "recompute")]
    assert torch.equal(*drawn)
    handle.remove()
    logits, _ = m.extend(ids, m.init_state(2))
    assert_close(logits, plain.detach(), **tolerances.STREAM)


@pytest.mark.parametrize("pattern", ["HHAH", "SMLA"])
@pytest.mark.parametrize("place", ["block", "mixer", "mlp"])
def test_work_layer_by_layer_refuses_them(pattern: str, place: str):
    m, ids = model(pattern), torch.randint(0, 11, (2, 24))
    handle = PLACES[place](m).register_forward_hook(steered)
    with pytest.raises(HyenaError, match="has a hook, which does not run where a model is worked layer by layer"):
        hyena.score(m, ids)
    with pytest.raises(HyenaError, match="has a hook"):
        hyena.embed(m, ids)
    handle.remove()
    hyena.score(m, ids)


@pytest.mark.parametrize("place", ["block", "mixer"])
def test_a_replaced_forward_is_refused(place: str):
    m, ids = model("HA"), torch.randint(0, 11, (1, 8))
    PLACES[place](m).forward = lambda x: x  # type: ignore[method-assign]
    with pytest.raises(HyenaError, match="was replaced, and a stream has another"):
        m.extend(ids, m.init_state(1))
