"""The state of a whole model: any program of what may be done with rows gives what the full forward gives."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from torch import Tensor
from torch.testing import assert_close

from hyena.configs.mixers import AttentionConfig, Beyond, HyenaConfig, Mixers
from hyena.configs.model import ModelConfig
from hyena.models import LanguageModel
from hyena.models.state import Draft, ModelState
from hyena.ops.decoding import Decoding
from tests import tolerances
from tests.helpers import refused, unchecked
from tests.models.small import HYBRIDS, STRIPED
from tests.ops.programs import Program, programs, run

LONGEST = 160
ENGINES: dict[str, list[Decoding]] = {"H": ["cached", "tiled", "epoched"], "A": ["auto"], "W": ["auto"]} | {
    letter: ["auto"] for letter in "RSMLD"
}
LETTERS = [(letter, engine) for letter, engines in ENGINES.items() for engine in engines]


def model(pattern: str, beyond: Beyond = "truncate", max_length: int = 70, **options: object) -> LanguageModel:
    """A small model in float64 whose filters end before the longest streams do."""
    torch.manual_seed(0)
    mixers = Mixers(H=HyenaConfig(order=3 if "H" in pattern else 2), W=AttentionConfig(window=9))
    own = {"mixers": mixers} | options
    config = ModelConfig(pattern=pattern, width=8, vocab_size=11, max_length=max_length, beyond=beyond, init_std=0.3, **own)
    return LanguageModel(config).double().eval()


def hybrid(pattern: str) -> LanguageModel:
    """The same with letters of StripedHyena as they are published."""
    return model(pattern, norm="rms_outside", mlp="gated", mixers=replace(STRIPED, W=AttentionConfig(window=9)))


class Stream:
    """A model's stream as the machine of a program."""

    def __init__(self, m: LanguageModel, engine: Decoding, limit: int | None):
        self.model, self.engine, self.limit = m, engine, limit

    def begin(self, rows: int) -> ModelState:
        return self.model.init_state(rows, self.limit, self.engine)

    def inputs(self, rows: int, n: int, generator: torch.Generator) -> Tensor:
        return torch.randint(0, 11, (rows, n), generator=generator)

    def peek(self, state: ModelState, x: Tensor) -> tuple[Tensor, Draft]:
        return self.model.peek(x, state)

    def commit(self, state: ModelState, draft: Draft, lengths: Tensor | None) -> ModelState:
        return self.model.commit(draft, lengths)

    def extend(self, state: ModelState, x: Tensor, lengths: Tensor | None) -> tuple[Tensor, ModelState]:
        return self.model.extend(x, state, lengths)

    def check(self, past: Tensor, n: int, y: Tensor) -> None:
        with torch.no_grad(), unchecked():
            assert_close(y, self.model(past[None])[0, -n:], **tolerances.STREAM)


@pytest.mark.parametrize(("letter", "engine"), LETTERS)
@settings(max_examples=100, deadline=None)
@given(program=programs(8))
def test_any_program_is_the_full_forward(letter: str, engine: Decoding, program: Program):
    run(Stream(model(2 * letter), engine, None), program, rows=2, longest=LONGEST)


@pytest.mark.parametrize(("letter", "engine"), LETTERS)
@settings(max_examples=100, deadline=None)
@given(program=programs(8))
def test_the_same_where_the_length_is_known_before(letter: str, engine: Decoding, program: Program):
    run(Stream(model(letter, "extend"), engine, LONGEST), program, rows=1, longest=LONGEST)


@settings(max_examples=50, deadline=None)
@given(program=programs(8))
def test_letters_together(program: Program):
    run(Stream(model("HARWH", position_rows=LONGEST, norm="rms", mlp="gated"), "tiled", None), program, 2, LONGEST)


@pytest.mark.parametrize("pattern", HYBRIDS)
@settings(max_examples=40, deadline=None)
@given(program=programs(8))
def test_hybrids_as_they_are_published(pattern: str, program: Program):
    run(Stream(hybrid(pattern), "auto", None), program, 2, LONGEST)


@pytest.mark.parametrize("pattern", ["HH", "HARW", "R"])
@pytest.mark.parametrize("engine", ["cached", "tiled", "epoched"])
def test_bytes_are_counted(pattern: str, engine: Decoding):
    m, L = model(pattern), 100
    state = m.init_state(3, L, engine)
    for n in (40, 1, 59):
        assert state.nbytes == 3 * m.state_bytes(L, engine)
        _, state = m.extend(torch.randint(0, 11, (3, n)), state)
    assert state.nbytes == 3 * m.state_bytes(L, engine)


@pytest.mark.parametrize("pattern", HYBRIDS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_bytes_of_hybrids_are_counted(pattern: str, dtype: torch.dtype):
    m, L = hybrid(pattern).to(dtype), 100
    state = m.init_state(3, L)
    for n in (40, 1, 59):
        assert state.nbytes == 3 * m.state_bytes(L)
        _, state = m.extend(torch.randint(0, 11, (3, n)), state)
    assert state.nbytes == 3 * m.state_bytes(L)
    assert state.select([2]).nbytes == m.state_bytes(L)
    assert ModelState.cat([state.select([0]), state.select([1, 2])]).nbytes == state.nbytes


def test_the_state_of_a_modal_model_has_one_size():
    m = model("RR")
    sizes = set()
    state = m.init_state(1)
    for n in (1, 1, 30, 5000):
        _, state = m.extend(torch.randint(0, 11, (1, n)), state)
        sizes.add(state.nbytes)
    assert sizes == {m.state_bytes(1)} == {m.state_bytes(10**9)}


@pytest.mark.parametrize("pattern", ["HARW", "HH"])
@pytest.mark.parametrize("engine", ["cached", "tiled", "epoched"])
@pytest.mark.parametrize("limit", [None, LONGEST])
def test_a_saved_state_goes_on(pattern: str, engine: Decoding, limit: int | None, tmp_path: Path):
    m, ids = model(pattern), torch.randint(0, 11, (2, 60))
    _, state = m.extend(ids[:, :37], m.init_state(2, limit, engine), torch.tensor([37, 30]))
    state.save(tmp_path / "state")
    again = m.load_state(tmp_path / "state")
    assert [f.name for f in tmp_path.iterdir()] == ["state"]
    assert torch.equal(m.extend(ids[:, 37:50], state)[0], m.extend(ids[:, 37:50], again)[0])


@pytest.mark.parametrize("pattern", HYBRIDS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_saved_state_of_a_hybrid_goes_on(pattern: str, dtype: torch.dtype, tmp_path: Path):
    m, ids = hybrid(pattern).to(dtype), torch.randint(0, 11, (2, 60))
    _, state = m.extend(ids[:, :37], m.init_state(2), torch.tensor([37, 3]))
    state.save(tmp_path / "state")
    again = m.load_state(tmp_path / "state")
    assert (again.nbytes, again.position.tolist()) == (state.nbytes, [37, 3])
    both = ModelState.cat([state.select([1]), again.select([0])])
    one, other = m.extend(ids[:, 37:50], state)[0], m.extend(ids[:, 37:50], again)[0]
    assert torch.equal(one, other)
    turned = m.extend(ids[[1, 0], 37:50], both)[0]
    if dtype == torch.float64:
        assert_close(turned, one[[1, 0]], **tolerances.STREAM)
    else:
        assert (turned - one[[1, 0]]).float().norm() <= tolerances.BFLOAT16_MODEL * one.float().norm()


@pytest.mark.parametrize("pattern", HYBRIDS)
def test_a_saved_state_is_of_every_weight_of_a_hybrid(pattern: str, tmp_path: Path):
    m = hybrid(pattern)
    m.extend(torch.zeros(1, 3, dtype=torch.int64), m.init_state(1))[1].save(tmp_path / "state")
    m.load_state(tmp_path / "state")
    for name, parameter in m.named_parameters():
        first = parameter.data.flatten()[0].clone()
        parameter.data.flatten()[0] += 1
        with refused("another model or of other weights"):
            m.load_state(tmp_path / "state")
        parameter.data.flatten()[0] = first
        assert m.load_state(tmp_path / "state").rows == 1, name
    A = replace(m.config.mixers.A, rotary_scale=2.0)  # the same tensors at other positions
    other = LanguageModel(m.config.replace(mixers=replace(m.config.mixers, A=A))).double()
    other.load_state_dict(m.state_dict())
    if "A" in pattern:
        with refused("another model or of other weights"):
            other.load_state(tmp_path / "state")


def test_a_saved_state_of_other_weights_is_refused(tmp_path: Path):
    m = model("HA")
    _, state = m.extend(torch.zeros(1, 3, dtype=torch.int64), m.init_state(1))
    state.save(tmp_path / "state")
    with refused(tmp_path / "state", "another model", "load the model"):
        other = model("HA")
        other.lm_head = None
        other.backbone.layers[0].mixer.skip.data += 1
        other.load_state(tmp_path / "state")
    m.save(tmp_path / "model")
    with refused("is not a saved state"):
        m.load_state(tmp_path / "model" / "model.safetensors")


def test_a_state_does_not_outlive_its_weights():
    m = model("HA")
    _, state = m.extend(torch.zeros(1, 3, dtype=torch.int64), m.init_state(1))
    optimizer = torch.optim.SGD(m.parameters(), 0.1)
    m(torch.zeros(1, 4, dtype=torch.int64)).sum().backward()
    optimizer.step()
    with refused("weights changed", "init_state"):
        m.extend(torch.zeros(1, 1, dtype=torch.int64), state)


@pytest.mark.parametrize("change", ["data", "load_state_dict", "to"])
def test_a_new_state_sees_new_weights(change: str):
    m, ids = model("HH"), torch.randint(0, 11, (1, 50))
    m.extend(ids, m.init_state(1))
    if change == "data":
        for block in m.backbone.layers:
            block.mixer.filter.out.weight.data.mul_(3)
    elif change == "load_state_dict":
        m.load_state_dict({name: t * 1.5 for name, t in m.state_dict().items()})
    else:
        m = m.float().double()
    _, state = m.extend(ids[:, :20], m.init_state(1, None, "tiled"))
    with torch.no_grad():
        assert_close(m.extend(ids[:, 20:], state)[0], m(ids)[:, 20:], **tolerances.STREAM)


def test_states_of_two_models_do_not_mix():
    a, b = model("H"), model("H")
    with refused("different models"):
        ModelState.cat([a.init_state(1), b.init_state(1)])


def test_what_cannot_follow_is_refused():
    m = model("HA", "error")
    ids = torch.zeros(2, 40, dtype=torch.int64)
    _, state = m.extend(ids, m.init_state(2))
    with refused("80 tokens", "max_length 70"):
        m.extend(ids, state)
    with refused("1 rows", "state 2"):
        m.extend(ids[:1, :3], state)
    with refused("max_length 70"):
        m.init_state(1, 71)
    with refused("batch_size is 0"):
        m.init_state(0)
    with refused("unknown decoding 'fast'", "'tiled'"):
        m.init_state(1, None, "fast")
    with refused("id 11 is outside"):
        m.extend(torch.full((2, 1), 11), state)
    logits, _ = m.extend(ids[:, :30], state)  # none of the refusals cost the state
    assert logits.shape == (2, 30, 11)


def test_dropout_in_training_is_refused():
    m = model("HA", dropout=0.1).train()
    with refused("dropout", "model.eval()"):
        m.extend(torch.zeros(1, 3, dtype=torch.int64), m.init_state(1))


def test_logits_of_padding_are_not_numbers():
    m, ids = model("HA"), torch.randint(0, 11, (2, 5))
    logits, state = m.extend(ids, m.init_state(2), torch.tensor([5, 2]))
    assert logits[1, 2:].isnan().all()
    assert logits[0].isfinite().all()
    assert logits[1, :2].isfinite().all()
    assert state.position.tolist() == [5, 2]


def test_copies_are_independent_and_rows_can_be_taken():
    m, ids = model("HAWR"), torch.randint(0, 11, (2, 30))
    _, state = m.extend(ids[:, :20], m.init_state(2, None, "tiled"))
    rows = state.select([1, 1, 0])
    moved = state.to("cpu")
    with torch.no_grad():
        wanted = m(ids)[:, 20:]
        m.extend(1 - ids[:, 20:].clamp(max=1), state)
        assert_close(m.extend(ids[[1, 1, 0], 20:], rows)[0], wanted[[1, 1, 0]], **tolerances.STREAM)
        assert_close(m.extend(ids[:, 20:], moved)[0], wanted, **tolerances.STREAM)
    with refused("rows is", "list of row numbers"):
        moved.select(torch.zeros(1, 1))


def test_logits_of_a_stream_carry_no_gradient():
    m, ids = model("HA"), torch.randint(0, 11, (1, 5))
    state = m.init_state(1)
    assert not m.peek(ids, state)[0].requires_grad
    assert not m.extend(ids, state)[0].requires_grad


def test_rows_that_are_not_there_and_places_that_are_not():
    state = model("HR").init_state(3)
    with refused("rows are [0, 3]", "rows 0 .. 2"):
        state.select([0, 3])
    assert state.select([-1, 0]).rows == 2
    with refused("no state to put together"):
        ModelState.cat([])
    with refused("nowhere is no directory", "make it"):
        state.save("nowhere/state.safetensors")
    with refused("rows is empty"):
        state.select([])


def test_a_state_is_saved_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    state = model("H").init_state(1)
    with refused(tmp_path, "is a directory", "name a file"):
        state.save(tmp_path)

    def full(tensors: object, path: Path, metadata: object) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("hyena.models.state.write_safetensors", full)
    with refused("No space left on device", "make room"):
        state.save(tmp_path / "state.safetensors")
    assert not list(tmp_path.iterdir())


def test_a_mask_is_no_list_of_rows():
    state = model("H").init_state(3)
    with refused("rows is torch.bool", "mask.nonzero()"):
        state.select(torch.tensor([True, False, True]))
