"""Generation against the loop that defines it, and the promises around it: seeds, limits, what is never drawn."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

import hyena
from hyena.configs.mixers import HyenaConfig, ImplicitFilterConfig, Mixers
from hyena.inference import Sampling, generate, stream
from hyena.models import Classifier, LanguageModel
from hyena.modules import Hyena
from tests.helpers import refused, right_or_refused, unchecked
from tests.training.runs import MODEL

PROMPT = torch.tensor([[1, 2, 3, 4, 5], [200, 7, 7, 0, 255]])


def model_of(**changes: object) -> LanguageModel:
    """A tiny model in float64 whose predictions are far from uniform; rounding does not decide what is likeliest."""
    return LanguageModel(MODEL.replace(**({"init_std": 0.3} | changes))).double().eval()


@torch.no_grad()
def likeliest(model: LanguageModel, ids: Tensor, count: int) -> Tensor:
    """The definition: run everything, take the largest logit among the symbols, append, again."""
    for _ in range(count):
        best = model(ids)[:, -1, : model.config.vocab_size].argmax(-1)
        ids = torch.cat([ids, best[:, None]], 1)
    return ids


@pytest.mark.parametrize("pattern", ["H", "HAW"])
@pytest.mark.parametrize("decoding", ["auto", "cached", "tiled", "epoched", "recompute"])
def test_at_temperature_zero_it_is_the_loop(pattern: str, decoding: str):
    model = model_of(pattern=pattern)
    ids = generate(model, PROMPT, 12, temperature=0.0, decoding=decoding)
    assert torch.equal(ids, likeliest(model, PROMPT, 12))
    assert len(ids[:, 5:].unique()) > 2, "a model that repeats itself shows little"


def test_a_whole_number_is_a_temperature():
    model = model_of()
    with unchecked():
        assert torch.equal(generate(model, PROMPT, 3, temperature=0), generate(model, PROMPT, 3, temperature=0.0))


@pytest.mark.parametrize("count", [0, 1, 9])
@pytest.mark.parametrize("dtype", [torch.int64, torch.int32])
def test_the_prompt_comes_first_and_the_rest_is_as_long_as_asked(count: int, dtype: torch.dtype):
    prompt = PROMPT.to(dtype)
    ids = generate(model_of(), prompt, count, seed=0)
    assert (ids.shape, ids.dtype) == ((2, 5 + count), dtype)
    assert torch.equal(ids[:, :5], prompt)
    assert torch.equal(PROMPT, prompt.long()), "the prompt itself is not touched"


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16])
def test_ids_of_a_small_type(dtype: torch.dtype):
    """As a corpus holds them: right, also where a drawn id has no place in the type, or refused; never wrapped round."""
    model, prompt = model_of(vocab_size=300, tokenizer=None), PROMPT % 100
    with right_or_refused(dtype):
        ids = generate(model, prompt.to(dtype), 4, temperature=0.0, allowed=[270, 280, 290])
        assert torch.equal(ids.long(), generate(model, prompt, 4, temperature=0.0, allowed=[270, 280, 290]))


def test_a_seed_fixes_the_text_and_leaves_the_global_generator_alone():
    model = model_of()
    before = torch.get_rng_state()
    one, two, other = (generate(model, PROMPT, 12, seed=seed) for seed in (7, 7, 8))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), before)


def test_without_a_seed_the_global_generator_is_used():
    model = model_of()
    torch.manual_seed(5)
    one, two = generate(model, PROMPT, 12), generate(model, PROMPT, 12)
    torch.manual_seed(5)
    assert torch.equal(generate(model, PROMPT, 12), one)
    assert not torch.equal(one, two)


@pytest.mark.parametrize("seed", [0, -1, 2**63, 2**64 - 1])
def test_any_seed_of_64_bits(seed: int):
    model = model_of()
    assert torch.equal(generate(model, PROMPT, 3, seed=seed), generate(model, PROMPT, 3, seed=seed))


@pytest.mark.parametrize("seed", [2**64, -(2**64)])
def test_a_seed_that_is_too_large_is_refused(seed: int):
    with refused("seed", seed):
        generate(model_of(), PROMPT, 3, seed=seed)


@pytest.mark.parametrize("sampling", [Sampling(0.0), Sampling(0.9, 20, 0.95)])
def test_the_stream_is_the_same_token_by_token(sampling: Sampling):
    model = model_of()
    tokens = stream(model, PROMPT, 10, sampling, seed=3)
    assert isinstance(tokens, Iterator)
    drawn = list(tokens)
    assert all(token.shape == (2,) for token in drawn)
    whole = generate(model, PROMPT, 10, sampling.temperature, sampling.top_k, sampling.top_p, seed=3)
    assert torch.equal(torch.stack(drawn, 1), whole[:, 5:])


def test_generate_passes_every_option_on():
    model = model_of()
    plain = generate(model, PROMPT, 10, seed=0)
    for options in ({"temperature": 3.0}, {"top_k": 2}, {"top_p": 0.2}, {"allowed": range(100)}):
        assert not torch.equal(generate(model, PROMPT, 10, seed=0, **options), plain), options


def test_nothing_is_computed_before_the_first_token_is_asked_for(monkeypatch: pytest.MonkeyPatch):
    model, calls = model_of(), []
    extend = model.backbone.extend
    monkeypatch.setattr(model.backbone, "extend", lambda *args: (calls.append(1), extend(*args))[1])
    tokens = stream(model, PROMPT, 3)
    assert not calls
    next(tokens)
    assert len(calls) == 1


def test_rows_of_a_batch_do_not_meet():
    model = model_of(pattern="HA")
    together = generate(model, PROMPT, 10, temperature=0.0)
    for row in range(2):
        assert torch.equal(generate(model, PROMPT[row : row + 1], 10, temperature=0.0), together[row : row + 1])


def padded() -> LanguageModel:
    """A model of 12 symbols in 16 rows whose padding rows are by far the likeliest everywhere."""
    model = model_of(vocab_size=12, vocab_multiple=8, tokenizer="dna", tied=False)
    assert model.lm_head is not None
    model.backbone.norm.weight.data.mul_(0.1)
    model.backbone.norm.bias.data.fill_(1.0)
    model.lm_head.weight.data[12:] = 10.0
    assert (model(PROMPT % 12).argmax(-1) >= 12).all()
    return model


@pytest.mark.parametrize("temperature", [0.0, 1.0, 50.0])
def test_padding_rows_are_never_drawn(temperature: float):
    ids = generate(padded(), (PROMPT % 12).repeat(20, 1), 20, temperature=temperature, seed=0)
    drawn = ids[:, 5:]
    assert drawn.max() < 12
    assert temperature == 0.0 or set(drawn.flatten().tolist()) == set(range(12))


@pytest.mark.parametrize("temperature", [0.0, 1.0, 50.0])
@pytest.mark.parametrize("allowed", [(7, 8, 9, 10), [10, 8, 8], {3}, range(2, 5)])
def test_only_what_is_allowed_is_drawn(temperature: float, allowed: object):
    with unchecked():  # a set is not a sequence, but as good
        ids = generate(padded(), (PROMPT % 12).repeat(20, 1), 20, temperature=temperature, seed=0, allowed=allowed)
    assert set(ids[:, 5:].flatten().tolist()) <= set(allowed)
    assert temperature != 50.0 or set(ids[:, 5:].flatten().tolist()) == set(allowed)


BYTES = [(256, 512), (512, 1)]
"""Symbols and the multiple of the rows: bytes in a head of 512 rows, as Evo has it, said in two ways."""


@pytest.mark.parametrize(("vocab_size", "vocab_multiple"), BYTES)
@pytest.mark.parametrize("temperature", [0.0, 50.0])
@pytest.mark.parametrize("stop", [(), "no such text", [0, "nor this"]])
def test_what_the_tokenizer_has_not_is_never_drawn(vocab_size: int, vocab_multiple: int, temperature: float, stop: object):
    model = model_of(vocab_size=vocab_size, vocab_multiple=vocab_multiple)
    model.backbone.embedding.weight.data[256:] = 10 * model.backbone.embedding.weight.data[:256]  # the likeliest by far
    assert model(PROMPT).shape[2] == 512
    assert (model(PROMPT).argmax(-1) >= 256).any()
    rows = generate(model, PROMPT.repeat(10, 1), 20, temperature=temperature, seed=0, stop=stop)
    drawn = torch.cat([row[5:] for row in rows])
    assert drawn.max() < 256
    assert len(drawn.unique()) > 5


def test_what_the_tokenizer_has_not_can_be_allowed_but_makes_no_text():
    model = model_of(vocab_size=512)
    assert set(generate(model, PROMPT, 8, seed=0, allowed=[300, 511])[:, 5:].flatten().tolist()) <= {300, 511}
    with refused("allowed has id 511", "tokenizer 'bytes'", "0 .. 255"):
        generate(model, PROMPT, 8, allowed=[65, 511], stop="x")
    with refused("allowed", "0 to 255"):
        generate(model_of(vocab_size=256, vocab_multiple=512), PROMPT, 8, allowed=[300])


@pytest.mark.parametrize(("dtype", "kept"), [(torch.uint8, True), (torch.int8, False), (torch.int16, True)])
def test_a_type_that_holds_every_id_is_kept(dtype: torch.dtype, kept: bool):
    model, prompt = model_of(), PROMPT % 100
    with unchecked():
        ids = generate(model, prompt.to(dtype), 4, seed=0)
    assert ids.dtype == (dtype if kept else torch.int64)
    assert torch.equal(ids.long(), generate(model, prompt, 4, seed=0))


@pytest.mark.parametrize("allowed", [[], [12], [-1, 3]])
def test_ids_that_do_not_exist_cannot_be_allowed(allowed: list[int]):
    with refused("allowed", "0 to 11"):
        generate(padded(), PROMPT % 12, 2, allowed=allowed)


def test_tokens_that_must_be_read_fit_into_max_length_exactly():
    model = model_of(max_length=16)
    assert generate(model, PROMPT, 12, temperature=0.0).shape == (2, 17)  # the last one drawn is never read
    with refused("5 tokens", "13 new", "max_length 16", "at most 12", "beyond"):
        generate(model, PROMPT, 13)
    whole = PROMPT.repeat(1, 4)[:, :16]
    assert generate(model, whole, 1).shape == (2, 17)
    with refused("16 tokens", "2 new", "max_length 16", "at most 1"):
        generate(model, whole, 2)
    with refused("20 tokens", "1 new", "max_length 16", "at most 0"):
        generate(model, PROMPT.repeat(1, 4), 1)


def test_a_refused_stream_is_refused_before_the_first_token():
    with refused("max_length 32"):
        stream(model_of(), PROMPT, 29)


@pytest.mark.parametrize("beyond", ["truncate", "extend"])
def test_past_the_grid_where_the_model_says_how(beyond: str):
    model = model_of(max_length=16, beyond=beyond)
    ids = generate(model, PROMPT, 20, temperature=0.0)
    assert torch.equal(ids, likeliest(model, PROMPT, 20))
    assert torch.equal(ids[:, :17], generate(model_of_same(model, "error"), PROMPT, 12, temperature=0.0))


def model_of_same(model: LanguageModel, beyond: str) -> LanguageModel:
    """The same weights under another `beyond`."""
    other = LanguageModel(model.config.replace(beyond=beyond)).double().eval()
    other.load_state_dict(model.state_dict())
    return other


def test_a_grid_that_cannot_go_on_is_refused_before_the_first_token():
    mixers = Mixers(H=HyenaConfig(filter=ImplicitFilterConfig(features=5, width=8, train_features=True)))
    model = model_of(max_length=16, beyond="extend", mixers=mixers)
    assert stream(model, PROMPT, 30)
    mixer = model.backbone.layers[0].mixer
    assert isinstance(mixer, Hyena)
    mixer.filter.z.data[3] += 1.0  # trained away from the formula that would continue it
    assert generate(model, PROMPT, 12).shape == (2, 17)
    with refused("extend", "trained", "truncate"):
        stream(model, PROMPT, 13)


@pytest.mark.parametrize("pattern", ["A", "W", "AWA"])
def test_without_a_filter_there_is_no_grid_to_leave(pattern: str):
    model = model_of(pattern=pattern, max_length=8, beyond="error")
    assert torch.equal(generate(model, PROMPT, 20, temperature=0.0), likeliest(model, PROMPT, 20))


def test_learned_positions_are_a_limit_too():
    model = model_of(pattern="A", position_rows=10)
    assert generate(model, PROMPT, 6).shape == (2, 11)
    with refused("5 tokens", "7 new", "position_rows 10", "at most 6"):
        generate(model, PROMPT, 7)


@pytest.mark.parametrize("training", [True, False])
def test_the_model_is_left_as_it_was(training: bool):
    model = model_of(dropout=0.5, embed_dropout=0.5).train(training)
    recording: set[bool] = set()
    model.backbone.norm.register_forward_hook(lambda *_: recording.add(torch.is_grad_enabled()))
    one = generate(model, PROMPT, 8, temperature=0.0)
    assert torch.equal(one, generate(model, PROMPT, 8, temperature=0.0)), "dropout was on"
    assert model.training is training
    assert recording == {False}
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(module.training is training for module in model.modules())
    tokens = stream(model, PROMPT, 8)
    next(tokens)
    assert model.training is training, "between two tokens the model belongs to the caller"
    tokens.close()
    assert model.training is training
    bad = PROMPT + 256
    with refused("id 511"):
        generate(model, bad, 2)
    assert model.training is training


def test_gradients_stay_on_for_the_caller_between_tokens():
    for _ in stream(model_of(), PROMPT, 2):
        assert torch.is_grad_enabled()


def test_a_classifier_does_not_generate():
    with refused("Classifier", "language model"):
        generate(Classifier(MODEL), PROMPT, 3)


@pytest.mark.parametrize(
    ("ids", "options", "parts"),
    [
        (PROMPT.float(), {}, ("whole numbers", "float32")),
        (PROMPT[0], {}, ("(B, L)", "(5,)")),
        (PROMPT[:, :0], {}, ("at least one token", "(2, 0)")),
        (PROMPT, {"max_new_tokens": -1}, ("max_new_tokens", "-1")),
        (PROMPT, {"decoding": "quick"}, ("'quick'", "'cached'", "'recompute'")),
        (PROMPT, {"temperature": -1.0}, ("temperature", "-1.0")),
        (PROMPT, {"top_k": 0}, ("top_k", "0")),
        (PROMPT, {"top_p": 1.5}, ("top_p", "1.5")),
        (PROMPT + 256, {}, ("id 511", "255")),
    ],
)
def test_what_has_no_meaning_is_refused(ids: Tensor, options: dict[str, object], parts: tuple[str, ...]):
    with refused(*parts):
        generate(model_of(), ids, **({"max_new_tokens": 3} | options))


def test_half_precision_models_generate():
    model = model_of().to(torch.bfloat16)
    ids = generate(model, PROMPT, 6, seed=0)
    assert ids.shape == (2, 11)
    assert torch.equal(ids, hyena.generate(model, PROMPT, 6, seed=0))
