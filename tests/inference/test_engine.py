"""Every way of decoding draws what the definition draws, whatever the batch; rows that stopped cost nothing."""

from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from hyena.inference import Sampling, generate, prefill, stream
from hyena.inference.sampling import derived
from hyena.models import LanguageModel
from tests.helpers import refused
from tests.models.small import language_model

ENGINES = ["auto", "cached", "tiled", "epoched"]
PATTERNS = ["HH", "HA", "HW", "R", "SMLA SMLD", "RRAR"]
LENGTHS = (5, 1, 40, 2, 40)
"""Equal and unequal ones, a single token, more and less than a block of the tiled engine."""
NEW = 60
"""New tokens: several blocks of the tiled engine, and more than its shortest prompt."""


def model_of(pattern: str, **options: object) -> LanguageModel:
    """A model that does not soon repeat itself."""
    torch.manual_seed(len(pattern))
    return language_model(pattern, **{"max_length": 160, "vocab_size": 50} | options)


def prompts(lengths: tuple[int, ...] = LENGTHS) -> list[Tensor]:
    """Random rows."""
    generator = torch.Generator().manual_seed(1)
    return [torch.randint(0, 50, (n,), generator=generator) for n in lengths]


@torch.no_grad()
def likeliest(model: LanguageModel, ids: Tensor, count: int) -> Tensor:
    """The definition, for one row."""
    for _ in range(count):
        ids = torch.cat([ids, model(ids[None])[0, -1, : model.config.vocab_size].argmax(-1, keepdim=True)])
    return ids


def same(one: list[Tensor], other: list[Tensor]) -> bool:
    """Whether all rows are equal."""
    return len(one) == len(other) and all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


class Defined(NamedTuple):
    """A model, and what it continues the prompts with by definition: the likeliest tokens, and those drawn with seed 0."""

    model: LanguageModel
    likeliest: list[Tensor]
    drawn: list[Tensor]


@pytest.fixture(scope="module", params=PATTERNS)
def defined(request: pytest.FixtureRequest) -> Defined:
    """For each pattern."""
    model = model_of(request.param)
    rows = [likeliest(model, prompt, NEW) for prompt in prompts()]
    return Defined(model, rows, generate(model, prompts(), NEW, seed=0, decoding="recompute"))


@pytest.mark.parametrize("decoding", [*ENGINES, "recompute"])
def test_every_engine_draws_what_the_definition_draws(defined: Defined, decoding: str):
    assert same(generate(defined.model, prompts(), NEW, temperature=0.0, decoding=decoding), defined.likeliest)
    assert same(generate(defined.model, prompts(), NEW, seed=0, decoding=decoding), defined.drawn)
    assert len(torch.cat(defined.drawn).unique()) > 45


@pytest.mark.parametrize(("tokens", "decoding"), [(7, "tiled"), (16, "cached"), (16, "epoched"), (45, "tiled"), (100, "tiled")])
def test_prompts_may_be_read_in_pieces(defined: Defined, tokens: int, decoding: str, monkeypatch: pytest.MonkeyPatch):
    model, _, rows = defined
    seen: list[int] = []
    extend = model.backbone.extend
    monkeypatch.setattr(model.backbone, "extend", lambda ids, *rest: (seen.append(ids.numel()), extend(ids, *rest))[1])
    memory = tokens * (prefill.token_bytes(model) + prefill.mask_bytes(model, max(LENGTHS)))
    assert same(generate(model, prompts(), NEW, seed=0, decoding=decoding, max_memory=memory), rows)
    assert max(seen) <= tokens, "as many tokens as fit the memory, and no more"


def test_a_row_does_not_depend_on_the_others(defined: Defined):
    model, rows, _ = defined
    for i in (1, 2):
        assert same(generate(model, [prompts()[i]], NEW, temperature=0.0), [rows[i]])
    order = [3, 2, 1, 0]
    assert same(generate(model, [prompts()[i] for i in order], NEW, temperature=0.0), [rows[i] for i in order])


@pytest.mark.parametrize("decoding", ["auto", "recompute"])
def test_draws_do_not_depend_on_the_others_either(decoding: str):
    model, rows = model_of("HA"), prompts()
    seeds = [11, 12, 13, 14, 15]
    together = generate(model, rows, 30, seed=seeds, decoding=decoding)
    for i, prompt in enumerate(rows):
        assert same(generate(model, [prompt], 30, seed=seeds[i]), [together[i]])
    assert same(generate(model, rows[:3], 30, seed=5), generate(model, rows, 30, seed=5)[:3])
    assert torch.equal(generate(model, [rows[0]], 30, seed=5)[0], generate(model, rows, 30, seed=5)[0])


def test_equal_prompts_draw_each_for_itself():
    model = model_of("R")
    rows = generate(model, torch.zeros(6, 3, dtype=torch.int64), 12, seed=0)
    assert len({tuple(row.tolist()) for row in rows}) == 6


@pytest.mark.parametrize("decoding", ["cached", "tiled", "recompute"])
def test_samples_are_what_separate_calls_give(decoding: str):
    model, rows = model_of("HA"), prompts((5, 1, 40))
    seeds = list(range(100, 112))
    every = generate(model, rows, 20, seed=seeds, samples=4, decoding=decoding)
    assert len(every) == 12
    for i, row in enumerate(every):
        assert torch.equal(row, generate(model, [rows[i // 4]], 20, seed=seeds[i])[0])
    # Sample s of prompt p has its own number, whatever else is drawn.
    few = generate(model, rows[:2], 40, seed=3, samples=2)
    many = generate(model, rows, 40, seed=3, samples=5)
    assert same([few[0], few[1], few[2], few[3]], [many[0], many[1], many[5], many[6]])
    assert torch.equal(many[6], generate(model, [rows[1]], 40, seed=derived(3, 1, 1))[0])
    assert len({tuple(row[1:].tolist()) for row in many}) == 15


def test_a_prompt_is_read_once_for_all_its_samples(monkeypatch: pytest.MonkeyPatch):
    model, shapes = model_of("HW"), []
    extend = model.backbone.extend
    monkeypatch.setattr(model.backbone, "extend", lambda ids, *rest: (shapes.append(tuple(ids.shape)), extend(ids, *rest))[1])
    ids = generate(model, prompts((40,))[0][None], 4, seed=0, samples=5)
    assert ids.shape == (5, 44)
    assert shapes == [(1, 40), (5, 1), (5, 1), (5, 1)], "the last token is never read"


def test_samples_of_a_tensor_stand_side_by_side():
    model, ids = model_of("H"), torch.stack(prompts((6, 6)))
    every = generate(model, ids, 5, seed=1, samples=3)
    assert torch.equal(every[:, :6], ids.repeat_interleave(3, 0))


@pytest.mark.parametrize("decoding", [*ENGINES, "recompute"])
def test_rows_end_at_a_stop_and_leave_the_batch(defined: Defined, decoding: str, monkeypatch: pytest.MonkeyPatch):
    model, _, rows = defined
    sizes: list[int] = []
    name = "forward" if decoding == "recompute" else "extend"
    run = getattr(model.backbone, name)
    monkeypatch.setattr(model.backbone, name, lambda ids, *rest: (sizes.append(len(ids)), run(ids, *rest))[1])
    stop = int(rows[0][5 + 8])  # the ninth new token of the first row
    expected, lasts = [], []
    for prompt, row in zip(prompts(), rows, strict=True):
        new = row[len(prompt) :].tolist()
        end = new.index(stop) if stop in new else NEW
        expected.append(row[: len(prompt) + end])
        lasts.append(min(end + 1, NEW))
    assert len(set(lasts)) > 2, "rows that end at different times"
    assert same(generate(model, prompts(), NEW, seed=0, decoding=decoding, stop=[stop]), expected)
    steps = sizes[-max(lasts) + 1 :]
    assert steps == [sum(last > step for last in lasts) for step in range(1, max(lasts))]


def test_a_stream_says_which_rows_have_stopped():
    model, ids = model_of("HA"), torch.stack(prompts((5, 5)))
    whole = generate(model, ids, 30, temperature=0.0)[:, 5:]
    stop = int(whole[0, 3])
    ends = [row.index(stop) if stop in row else 29 for row in whole.tolist()]
    tokens = torch.stack(list(stream(model, ids, 30, Sampling(0.0), stop=stop)), 1)
    assert tokens.shape == (2, max(ends) + 1), "it ends when all have stopped"
    for row, drawn, end in zip(whole, tokens, ends, strict=True):
        assert torch.equal(drawn[: end + 1], row[: end + 1]), "the stop is among the tokens"
        assert (drawn[end + 1 :] == -1).all()


def test_lengths_say_what_of_a_padded_tensor_is_prompt():
    model, rows = model_of("HA"), prompts((5, 1, 7))
    padded = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=3)
    expected = generate(model, rows, 12, temperature=0.0)
    assert same(generate(model, padded, 12, temperature=0.0, lengths=torch.tensor([5, 1, 7])), expected)
    assert same(generate(model, padded, 12, temperature=0.0, lengths=[5, 1, 7]), expected)
    lists = [row.tolist() for row in rows]
    assert same(generate(model, lists, 12, temperature=0.0), expected)


def test_what_kind_of_result_comes_depends_on_the_call_alone():
    model, ids = model_of("H"), torch.stack(prompts((5, 5)))
    assert isinstance(generate(model, ids, 3), Tensor)
    for options in ({"stop": [1]}, {"lengths": [5, 5]}):
        rows = generate(model, ids.int(), 3, **options)
        assert isinstance(rows, list)
        assert {row.dtype for row in rows} == {torch.int32}
    assert isinstance(generate(model, list(ids), 3), list)
    assert same(generate(model, [[1, 2], [3]], 0), [torch.tensor([1, 2]), torch.tensor([3])])


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_one_token_needs_no_step(temperature: float):
    model = model_of("HA")
    assert [len(row) for row in generate(model, prompts(), 1, temperature=temperature)] == [n + 1 for n in LENGTHS]


def test_training_mode_is_that_of_every_module():
    model = model_of("HA", dropout=0.5)
    model.backbone.blocks[0].train()
    before = {name: module.training for name, module in model.named_modules()}
    one = generate(model, prompts(), 8, temperature=0.0)
    assert same(one, generate(model.eval(), prompts(), 8, temperature=0.0)), "dropout was on"
    model.backbone.blocks[0].train()
    tokens = stream(model, prompts(), 8)
    next(tokens)
    assert {name: module.training for name, module in model.named_modules()} == before


def test_an_interruption_leaves_the_model_as_it_was(monkeypatch: pytest.MonkeyPatch):
    model = model_of("HA").train()
    tokens = stream(model, prompts(), 8)
    next(tokens)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(model.backbone, "extend", interrupted)
    with pytest.raises(KeyboardInterrupt):
        next(tokens)
    assert all(module.training for module in model.modules())


@pytest.mark.parametrize(
    ("ids", "options", "parts"),
    [
        ([], {}, ("ids is []",)),
        ([1, 2], {}, ("[1, 2]", "list of rows")),
        ([[1], []], {}, ("prompt 1", "at least one token")),
        ([[1], [1.5]], {}, ("prompt 1", "whole numbers")),
        ([[1], ["a"]], {}, ("prompt 1", "'a'")),
        (["a"], {}, ("a text", "stream_text")),
        ([[1], [-2]], {}, ("prompt 1", "id -2")),
        ([[1], [2, 50]], {}, ("prompt 1", "id 50", "0 .. 49")),
        ([[1]], {"lengths": [1]}, ("lengths", "padded on the right")),
        (torch.ones(2, 3, dtype=torch.int64), {"lengths": [0, 3]}, ("lengths is [0, 3]", "from 1 to 3")),
        (torch.ones(2, 3, dtype=torch.int64), {"lengths": [3]}, ("lengths is [3]", "2 whole numbers")),
        ([[1]], {"samples": 0}, ("samples is 0", "at least 1")),
        ([[1]], {"seed": [1, 2]}, ("2 numbers", "1 rows")),
        ([[1]], {"seed": [2**64]}, (2**64, "64 bits")),
        ([[1]], {"stop": [50]}, ("id 50", "never drawn")),
        ([[1]], {"stop": 7, "allowed": [1, 2]}, ("id 7", "allowed")),
        ([[1]], {"stop": [""]}, ("empty text",)),
        ([[1]], {"stop": [2.5]}, ("2.5", "ids and texts")),
        ([[1]], {"stop": ["a"]}, ("tokenizer", "50 symbols")),
        ([[1]], {"max_memory": 10}, ("max_memory", "--max-memory", "10B")),
        ([[1], [1] * 100], {"max_new_tokens": 62}, ("100 tokens", "62 new", "max_length 160", "at most 61")),
    ],
)
def test_what_has_no_meaning_is_refused_before_the_first_token(ids: object, options: dict[str, object], parts: tuple[str, ...]):
    with refused(*parts):
        stream(model_of("H"), ids, **{"max_new_tokens": 3} | options)
