"""Every golden tensor, one test each: what the published implementations computed, through the production importers.

The tests are made from the files: a tensor that no check below knows, and that is not listed with a reason, fails.
"""

import filecmp
import re
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.testing import assert_close

from hyena.checkpoints import hyenadna, load, load_mixer, striped
from hyena.checkpoints.account import Account
from hyena.checkpoints.safari import CHANNEL_FIRST, ORDER_FIRST, operator_tensors, order_first
from hyena.modules import Hyena
from tests import tolerances
from tests.checkpoints.golden import CASES, FOLDER, SHARED, Case, case
from tests.helpers import refused

INPUTS = {"input_ids", "lengths", "labels", "x", "x_long", "cotangent", "prefill_len", "padding_mask"}
"""Tensors that the checks of others use."""

UNCHECKED = {  # patterns of "case: tensor" -> why there is nothing to check
    r"safari-operator-src-blocks: .*": "num_blocks > 1 is not causal: refused (test_blocks_that_see_the_future_are_refused)",
    r"sh1-lm.*: stream_last_padmask": "the reference zeroes padded activations; ours pads on the right",
    r"sh2-lm.*: ckpt\..*": "the file's own rows, from which every other check is loaded",
    r"hyenadna-head: decoder\..*\.l4": "the last four positions one by one: our classifier gives one label a sequence",
}

# --- the checks -------------------------------------------------------------------------------------------------------------


@cache
def gradients(name: str) -> tuple[Hyena, Tensor]:
    """The operator of a case in float64 with the gradients of (y * cotangent).sum() in it, and the input's."""
    mixer, x = case(name).mixer(torch.float64), case(name).io["x"].double().requires_grad_()
    (mixer(x) * case(name).io["cotangent"]).sum().backward()
    assert x.grad is not None
    return mixer, x.grad


def output(c: Case, dtype: torch.dtype) -> Tensor:
    """The logits of a model, as the published one pools them."""
    if c.name == "hyenadna-hf-cls":
        lengths = hyenadna.lengths_before_padding(c.io["input_ids"])
        with torch.no_grad():
            return c.model(dtype)(c.io["input_ids"], lengths=lengths)
    return c.trace(dtype).output


def logits_tolerance(c: Case) -> dict[str, float]:
    """That of a family's logits in float32."""
    return tolerances.GOLDEN_STRIPED if c.name.startswith("sh") else tolerances.GOLDEN_LOGITS


def check_logits(c: Case, wanted: Tensor) -> None:
    assert_close(output(c, wanted.dtype), wanted, **tolerance(wanted, logits_tolerance(c)))


def check_last_stream(c: Case, wanted: Tensor) -> None:
    assert_close(c.trace(wanted.dtype).streams[-1], wanted, **tolerances.GOLDEN_FLOAT64)


def check_bfloat16(c: Case, wanted: Tensor) -> None:
    """No further from float32 than the reference's own mix of precisions."""
    recorded = (wanted.double() - c.io["logits"][:, -1].double()).abs().max()
    with torch.no_grad():
        found = c.model().bfloat16()(c.io["input_ids"])[:, -1]
    assert (found.double() - c.trace().output[:, -1].double()).abs().max() <= recorded


@cache
def streamed(name: str, prompt: int) -> tuple[Tensor, Any]:
    """Logits of a prompt read at once and then token by token, and the state after the prompt."""
    c = case(name)
    model, ids = c.model(), c.io["input_ids"]
    logits, state = model.extend(ids[:, :prompt], model.init_state(len(ids)))
    after, found = state.clone(), [logits]
    for i in range(prompt, ids.shape[1]):
        logits, state = model.extend(ids[:, i : i + 1], state)
        found.append(logits)
    return torch.cat(found, 1), after


def check_prefill(c: Case, wanted: Tensor) -> None:
    prompt = int(c.io["prefill_len"])
    assert_close(streamed(c.name, prompt)[0][:, prompt - 1 : prompt], wanted, **tolerances.GOLDEN_STRIPED)


def check_steps(c: Case, wanted: Tensor) -> None:
    prompt = int(c.io["prefill_len"])
    assert_close(streamed(c.name, prompt)[0][:, prompt:], wanted, **tolerances.GOLDEN_STRIPED)


def check_state(c: Case, wanted: Tensor, kind: str, block: str) -> None:
    """What is remembered after the prompt, in the layout of the reference."""
    state = streamed(c.name, int(c.io["prefill_len"]))[1].layers[int(block)]
    if kind == "fir_state":
        found = in_their_rows(c, block, state.short.inputs.mT).mT
    elif kind == "fir_inner_state":
        found = state.long.kept[..., -wanted.shape[2] :]
    else:
        found = state.long.modes.float().reshape(wanted.shape)
    assert_close(found, wanted, **tolerances.golden_operator(wanted))


def check_hidden(c: Case, wanted: Tensor) -> None:
    assert_close(c.trace(wanted.dtype).hidden, wanted, **tolerance(wanted, tolerances.GOLDEN_LOGITS))


def check_shift_0(c: Case, wanted: Tensor) -> None:
    """The training code has no shift; one option says so, and safari's format has none by itself."""
    layer = c.config["layer"] | {"shift": 0.0}
    path = c.folder / "state.safetensors"
    for model in (load(path, "hyenadna", c.config | {"layer": layer}), load(path, "safari", c.config)):
        with torch.no_grad():
            assert_close(model(c.io["input_ids"]), wanted, **tolerances.GOLDEN_LOGITS)
    assert (c.trace().output - wanted).abs().max() > 1


def check_stream(c: Case, wanted: Tensor, block: str) -> None:
    assert_close(c.trace().streams[int(block)], wanted, **logits_tolerance(c))


def check_mixer(c: Case, wanted: Tensor, block: str, end: str) -> None:
    found = c.trace().mixer_inputs if end == "in" else c.trace().mixer_outputs
    x = found[int(block)]
    if c.name.startswith("sh") and c.trace().filters[int(block)] is not None:  # recorded between the projections
        mixer = c.model().backbone.blocks[int(block)].mixer
        with torch.no_grad():
            wanted = wanted if end == "in" else mixer.out_proj(wanted)
            x = in_their_rows(c, block, mixer.in_proj(x)) if end == "in" else x
    assert_close(x, wanted, **tolerances.golden_operator(wanted))


def in_their_rows(c: Case, block: str, x: Tensor) -> Tensor:
    """Channels q, k, v (..., 3 D) of ours in the order of the file."""
    pairs = {p.theirs: p for p in striped.pairs(c.format, c.model().config, c.config)}
    return pairs[f"blocks.{block}.projections.weight"].redo(x.movedim(-1, 0)).movedim(0, -1)


def check_layer_filter(c: Case, wanted: Tensor, block: str) -> None:
    wanted = wanted[0] if c.name.startswith("sh") else wanted.T
    assert_close(c.trace().filters[int(block)], wanted, **tolerances.GOLDEN_FILTER)


def check_loss(c: Case, wanted: Tensor) -> None:
    logits, ids = output(c, torch.float32), c.io["input_ids"]
    if "labels" in c.io:
        loss = F.cross_entropy(logits, c.io["labels"])
    else:
        loss = F.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
    assert_close(loss[None], wanted, **tolerances.GOLDEN_LOGITS)


def check_decoder(c: Case, wanted: Tensor, mode: str, cut: str | None) -> None:
    model = c.model()
    model.pool = {"pool": "mean"}.get(mode, mode)
    with torch.no_grad():
        found = model.logits(c.io["hidden_states"], c.io["lengths"] if cut else None)
    assert_close(found, wanted, **tolerances.golden_operator(wanted))


def check_operator(c: Case, wanted: Tensor) -> None:
    with torch.no_grad():
        found = c.mixer(wanted.dtype)(c.io["x"].to(wanted.dtype))
    assert_close(found, wanted, **tolerance(wanted, tolerances.golden_operator(wanted)))


def check_filter(c: Case, wanted: Tensor) -> None:
    mixer = c.mixer()
    with torch.no_grad():
        found = mixer.filter(wanted.shape[1])
    layout = CHANNEL_FIRST if c.which == "src" else ORDER_FIRST
    assert_close(found, order_first(wanted[0].T, mixer.convolutions, layout), **tolerances.GOLDEN_FILTER)


def check_longer(c: Case, wanted: Tensor) -> None:
    """The reference cuts its output at l_max without a word. Ours is an error; up to l_max it is the same."""
    x, mixer = c.io["x_long"], c.mixer()
    l_max = c.config["l_max"]
    assert wanted.shape[1] == l_max < x.shape[1]
    with refused(f"{x.shape[1]} tokens", f"max_length {l_max}"):
        mixer(x)
    with torch.no_grad():
        assert_close(mixer(x[:, :l_max]), wanted, **tolerances.golden_operator(wanted))


def check_input_gradient(c: Case, wanted: Tensor) -> None:
    assert_close(gradients(c.name)[1].float(), wanted, **tolerances.golden_gradient(wanted))


def check_gradient(c: Case, wanted: Tensor, name: str) -> None:
    """The importer that moves a tensor to our layout moves its gradient too."""
    mixer = gradients(c.name)[0]
    # All else is infinite, so that what this tensor becomes is known by being finite. Aliases of a shared one have no gradient.
    published = {key: torch.full_like(t, torch.inf) for key, t in c.state.items() if not re.search(r"\.[357]\.freq", key)}
    assert name in published
    published[name] = wanted
    layout = CHANNEL_FIRST if c.which == "src" else ORDER_FIRST
    ours = {
        key: t
        for key, t in operator_tensors(Account(published, c.name), "", mixer.config, layout).items()
        if t.isfinite().all()
    }
    if name == "filter_fn.bias" and not mixer.config.skip:
        assert not ours
        assert not wanted.any()
        return
    assert len(ours) == 1
    for key, gradient in ours.items():
        assert_close(mixer.get_parameter(key).grad.float(), gradient, **tolerances.golden_gradient(gradient))


def tolerance(wanted: Tensor, single: dict[str, float]) -> dict[str, float]:
    """That of float64 for what was recorded in float64."""
    return tolerances.GOLDEN_FLOAT64 if wanted.dtype == torch.float64 else single


CHECKS: dict[str, Callable[..., None]] = {
    r"stream_last_f64": check_last_stream,
    r"logits_bf16_last": check_bfloat16,
    r"prefill_logits": check_prefill,
    r"step_logits": check_steps,
    r"prefill\.(?:hc[lms]\.)?(fir_state|fir_inner_state|iir_state)\.(\d+)": check_state,
    r"logits(?:_f64)?": check_logits,
    r"hidden_states(?:_f64)?": check_hidden,
    r"logits_src_shift0": check_shift_0,
    r"stream\.(\d+)": check_stream,
    r"op\.(\d+)\.(in|out)": check_mixer,
    r"op\.(\d+)\.filter": check_layer_filter,
    r"loss": check_loss,
    r"decoder\.(first|last|pool|sum)\.l0(\.lengths)?": check_decoder,
    r"y(?:_f64)?": check_operator,
    r"filter": check_filter,
    r"y_long": check_longer,
    r"grad_x": check_input_gradient,
    r"grad\.(.*)": check_gradient,
}

# --- the enumeration --------------------------------------------------------------------------------------------------------


def reason(name: str, tensor: str) -> str | None:
    """Why a tensor is not checked."""
    return next((why for pattern, why in UNCHECKED.items() if re.fullmatch(pattern, f"{name}: {tensor}")), None)


def check(name: str, tensor: str) -> tuple[Callable[..., None], tuple[str | None, ...]] | None:
    """The check of a tensor and what its name says, or none."""
    for pattern, function in CHECKS.items():
        if match := re.fullmatch(pattern, tensor):
            return function, match.groups()
    return None


TENSORS = [(name, tensor) for name in CASES for tensor in case(name).tensors]
CHECKED = [(n, t) for n, t in TENSORS if t not in INPUTS and reason(n, t) is None]


@pytest.mark.parametrize(("name", "tensor"), CHECKED, ids=[f"{n}-{t}" for n, t in CHECKED])
def test_it_is_what_the_reference_computed(name: str, tensor: str):
    found = check(name, tensor)
    assert found is not None, "no check knows this tensor: add one, or list it in UNCHECKED with the reason"
    function, arguments = found
    function(case(name), case(name).io[tensor], *arguments)


def test_every_reason_still_has_a_tensor():
    for pattern in UNCHECKED:
        assert any(re.fullmatch(pattern, f"{n}: {t}") for n, t in TENSORS), pattern
    for pattern in CHECKS:
        assert any(re.fullmatch(pattern, t) for _, t in CHECKED), pattern
    assert {t for _, t in TENSORS} >= INPUTS


@pytest.mark.parametrize("name", CASES)
def test_every_file_of_a_case_is_known(name: str):
    more = {"hyenadna-lm-c": {"weights.ckpt", "release_config.json"}, "hyenadna-hf": {"hf_model.safetensors", "hf_config.json"}}
    known = {"NOTES.md", "config.json", "io.safetensors", "state.safetensors"} | more.get(
        name, set()
    )  # the others: test_load.py
    assert {path.name for path in (FOLDER / name).iterdir()} == known


@pytest.mark.skipif(not SHARED.is_dir(), reason="no ../shared/golden beside the checkout to compare with")
def test_no_case_of_these_families_was_left_out_or_changed():
    families = [path for path in SHARED.iterdir() if path.name.startswith(("hyenadna-", "safari-", "sh1-", "sh2-"))]
    assert sorted(path.name for path in families) == CASES
    for folder in families:
        names = [path.name for path in folder.iterdir()]
        same, different, missing = filecmp.cmpfiles(folder, FOLDER / folder.name, names, shallow=False)
        assert not different + missing, folder.name
        assert len(same) == len(names)


def test_blocks_that_see_the_future_are_refused():
    with refused("num_blocks is 4", "not causal"):
        case("safari-operator-src-blocks").mixer()


# --- streams: what the references get wrong for prompts shorter than a filter ------------------------------------------------


@pytest.mark.parametrize("prompt", range(1, 9))
@pytest.mark.parametrize("name", [name for name in CASES if name.startswith("sh")])
def test_any_prompt_and_then_steps_are_the_full_forward(name: str, prompt: int):
    assert_close(streamed(name, prompt)[0], case(name).trace().output, **tolerances.GOLDEN_STRIPED)


@pytest.mark.parametrize("prompt", range(1, 9))
@pytest.mark.parametrize("name", [name for name in CASES if name.startswith("sh")])
def test_in_float64_to_ten_digits(name: str, prompt: int):
    c = case(name)
    model, ids = c.model(torch.float64), c.io["input_ids"]
    logits, state = model.extend(ids[:, :prompt], model.init_state(len(ids)))
    found = [logits]
    for i in range(prompt, prompt + 12):
        logits, state = model.extend(ids[:, i : i + 1], state)
        found.append(logits)
    assert_close(torch.cat(found, 1), c.trace(torch.float64).output[:, : prompt + 12], **tolerances.GOLDEN_FLOAT64)


@pytest.mark.parametrize("name", [name for name in CASES if name.startswith("sh")])
def test_a_stream_in_bfloat16_is_as_close_as_the_whole(name: str):
    c = case(name)
    model, ids = c.model().bfloat16(), c.io["input_ids"]
    logits, state = model.extend(ids[:, :-9], model.init_state(len(ids)))
    found = [logits]
    for i in range(ids.shape[1] - 9, ids.shape[1]):
        logits, state = model.extend(ids[:, i : i + 1], state)
        found.append(logits)
    with torch.no_grad():
        errors = [each.double() - c.trace().output.double() for each in (torch.cat(found, 1), model(ids))]
    stream, whole = (float(each.square().mean().sqrt()) for each in errors)
    assert 0 < stream <= tolerances.BFLOAT16_STREAM * whole


# --- the tests can fail -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["safari-operator-o3", "safari-operator-o4", "safari-operator-src-o3", "safari-operator-emb5"])
def test_the_two_channel_layouts_are_two_functions(name: str):
    c = case(name)
    other = {"safari": "safari-standalone", "safari-standalone": "safari"}[c.format]
    mixer = load_mixer(c.folder / "state.safetensors", other, c.config)
    with torch.no_grad():
        assert (mixer(c.io["x"]) - c.io["y"]).norm() > 0.1 * c.io["y"].norm()


@pytest.mark.parametrize("name", [n for n in CASES if case(n).is_operator and not n.endswith("blocks")])
def test_every_recorded_gradient_is_compared(name: str):
    mixer, _ = gradients(name)
    recorded = {tensor for tensor in case(name).tensors if tensor.startswith("grad.")}
    extra = 0 if mixer.config.skip else 1  # a bias that nothing uses may be recorded as zeros
    assert len(list(mixer.parameters())) in (len(recorded), len(recorded) - extra)
