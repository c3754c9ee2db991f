"""The short way of a single token through a block against the ordinary one; whatever hangs in a block runs."""

import copy
import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from hyena.configs.mixers import Activation, GatedConvConfig, HyenaConfig, Mixers, ModalFilterConfig
from hyena.configs.model import ModelConfig
from hyena.models import LanguageModel
from hyena.models.token_block import PlainBlock
from hyena.ops import kernel
from tests import tolerances

pytestmark = pytest.mark.skipif(not kernel.available(), reason="there is no native kernel here")
DTYPES = {torch.float32: tolerances.STREAM_FLOAT32, torch.float64: tolerances.STREAM}


def build(dtype: torch.dtype = torch.float64, pattern: str = "RR", width: int = 33, **options: Any) -> LanguageModel:
    """A small model whose numbers are all random."""
    m = LanguageModel(ModelConfig(pattern, width, 11, **options)).to(dtype).eval()
    with torch.no_grad():
        for p in m.parameters():
            p.add_(torch.randn_like(p) / 8)
    return m


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Of every block and token whether the short way was gone."""
    seen: list[bool] = []
    extend = PlainBlock.extend

    def watched(self: PlainBlock, x: Tensor, layer: Any) -> Tensor | None:
        y = extend(self, x, layer)
        seen.append(y is not None)
        return y

    monkeypatch.setattr(PlainBlock, "extend", watched)
    return seen


def stream(m: LanguageModel, ids: Tensor, change: Callable[[], object] = lambda: None) -> Tensor:
    """Logits of tokens one by one after the first five; `change` happens after ten of them."""
    _, state = m.extend(ids[:, :5], m.init_state(len(ids)))
    parts = []
    for t in range(5, ids.shape[1]):
        if t == 15:
            change()
        logits, state = m.extend(ids[:, t : t + 1], state)
        parts.append(logits)
    return torch.cat(parts, 1)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("norm", "mlp"), [*itertools.product(["layer", "rms", "rms_outside"], ["plain", "gated"])])
@pytest.mark.parametrize("activation", ["identity", "gelu", "gelu_tanh", "relu", "silu"])
def test_every_kind_of_block(dtype: torch.dtype, norm: Any, mlp: Any, activation: Activation, taken: list[bool]):
    m, ids = build(dtype, norm=norm, mlp=mlp, activation=activation, mlp_width=50), torch.randint(0, 11, (2, 30))
    found = stream(m, ids)
    assert taken == 2 * 25 * [True]
    with torch.no_grad():
        assert_close(found, m(ids)[:, 5:], **DTYPES[dtype])


@pytest.mark.parametrize("rows", [1, 3, 8, 9])
@pytest.mark.parametrize("width", [1, 16, 64, 200])
@pytest.mark.parametrize("bare", [True, False])
def test_sizes_heads_and_biases(rows: int, width: int, bare: bool, taken: list[bool]):
    r = GatedConvConfig(short_taps=2, skip=False, in_bias=False, out_bias=False) if bare else GatedConvConfig(
        short_taps=4, filter=ModalFilterConfig(order=3, head=7)
    )  # fmt: skip
    m, ids = build(width=width, mixers=Mixers(R=r)), torch.randint(0, 11, (rows, 40))
    found = stream(m, ids)
    assert all(taken) == (rows <= 8)
    with torch.no_grad():
        assert_close(found, m(ids)[:, 5:], **tolerances.STREAM)


@pytest.mark.parametrize("pattern", ["RHAR", "SMLAD"])
def test_a_hybrid_goes_both_ways(pattern: str, taken: list[bool]):
    m, ids = build(pattern=pattern, width=32), torch.randint(0, 11, (2, 30))
    found = stream(m, ids)
    assert taken.count(True) == sum(letter != "A" for letter in pattern) * 25
    with torch.no_grad():
        assert_close(found, m(ids)[:, 5:], **tolerances.STREAM)


@pytest.mark.parametrize("decoding", ["cached", "tiled", "epoched"])
def test_implicit_filters_by_every_engine(decoding: Any, taken: list[bool]):
    m, ids = build(pattern="HRH", max_length=128), torch.randint(0, 11, (2, 100))
    _, state = m.extend(ids[:, :3], m.init_state(2, decoding=decoding))
    parts = []
    for t in range(3, 100):
        if t % 7 == 0:  # a draft that is thrown away, and a chunk
            m.peek(ids[:, t : t + 5], state)
        logits, state = m.extend(ids[:, t : t + 1], state)
        parts.append(logits)
    assert taken == 3 * 97 * [True]
    with torch.no_grad():
        assert_close(torch.cat(parts, 1), m(ids)[:, 3:], **tolerances.STREAM)


@pytest.mark.parametrize(
    ("hyena", "short"),
    [
        (HyenaConfig(modal=ModalFilterConfig(order=3, head=5)), True),
        (HyenaConfig(skip=False), True),
        (HyenaConfig(order=3), False),
        (HyenaConfig(order_scale=True), False),
        (HyenaConfig(gating="outer"), False),
        (HyenaConfig(activation="silu"), False),
    ],
)
def test_only_what_is_one_operator_is_short(hyena: HyenaConfig, short: bool, taken: list[bool]):
    m, ids = build(pattern="HH", max_length=64, mixers=Mixers(H=hyena)), torch.randint(0, 11, (2, 30))
    found = stream(m, ids)
    assert taken == (2 * 25 * [True] if short else [])
    with torch.no_grad():
        assert_close(found, m(ids)[:, 5:], **tolerances.STREAM)


class Adapter(nn.Module):
    """What LoRA puts in the place of a projection."""

    def __init__(self, inner: nn.Linear):
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return 2 * self.inner(x)


def double(module: nn.Module, args: Any, out: Tensor) -> Tensor:
    """A hook."""
    return 2 * out


def put_forward(module: nn.Module) -> None:
    """Another `forward`."""
    ordinary = module.forward
    module.forward = lambda x: 2 * ordinary(x)  # type: ignore[method-assign]


CHANGES: dict[str, Callable[[Any], object]] = {
    "hook on a projection": lambda block: block.mixer.in_proj.register_forward_hook(double),
    "hook on the MLP": lambda block: block.mlp.register_forward_hook(double),
    "hook before a norm": lambda block: block.mlp_norm.register_forward_pre_hook(lambda m, args: (2 * args[0] + 1,)),
    "adapter": lambda block: setattr(block.mixer, "out_proj", Adapter(block.mixer.out_proj)),
    "forward of a norm": lambda block: put_forward(block.mixer_norm),
    "forward of the MLP": lambda block: put_forward(block.mlp),
    "activation": lambda block: setattr(block.mlp, "act", torch.sin),
}


@pytest.mark.parametrize("when", ["before", "amid"])
@pytest.mark.parametrize("pattern", ["RR", "HH"])
@pytest.mark.parametrize("name", CHANGES)
def test_whatever_hangs_in_a_block_runs(name: str, pattern: str, when: str, taken: list[bool], monkeypatch: pytest.MonkeyPatch):
    m, ids = build(pattern=pattern), torch.randint(0, 11, (1, 30))
    ordinary, plain = copy.deepcopy(m), stream(m, ids)
    taken.clear()

    def change(model: LanguageModel) -> None:
        CHANGES[name](model.backbone.layers[1])

    if when == "before":
        change(m)
        change(ordinary)
    found = stream(m, ids, (lambda: change(m)) if when == "amid" else lambda: None)
    assert taken.count(True) == {"before": 25, "amid": 25 + 10}[when]
    monkeypatch.setattr(PlainBlock, "extend", lambda *_: None)
    wanted = stream(ordinary, ids, (lambda: change(ordinary)) if when == "amid" else lambda: None)
    assert_close(found, wanted, **tolerances.STREAM)
    assert not torch.allclose(found, plain)


def test_hooks_on_all_modules_and_autocast_run(taken: list[bool]):
    m, ids = build(torch.float32), torch.randint(0, 11, (1, 30))
    seen: list[nn.Module] = []
    handle = torch.nn.modules.module.register_module_forward_hook(lambda module, args, out: seen.append(module))
    try:
        stream(m, ids)
    finally:
        handle.remove()
    assert m.backbone.layers[1].mlp in seen
    with torch.autocast("cpu", dtype=torch.bfloat16):
        stream(m, ids)
    assert not any(taken)


def test_copies_of_a_state_go_on_by_themselves(taken: list[bool]):
    m, ids = build(), torch.randint(0, 11, (2, 30))
    _, state = m.extend(ids[:, :20], m.init_state(2))
    twin, picked, deep = state.clone(), state.select([1, 0, 0]), copy.deepcopy(state)
    with torch.no_grad():
        wanted = m(ids)[:, 20:]
    for some, rows in ((state, [0, 1]), (twin, [0, 1]), (picked, [1, 0, 0]), (deep, [0, 1])):
        for t in range(20, 30):
            logits, some = m.extend(ids[rows, t : t + 1], some)
            assert_close(logits[:, 0], wanted[rows, t - 20], **tolerances.STREAM)
    assert all(taken)
