"""`generate` over our state: what hyena itself generates, token for token, and what there would be without a cache."""

import copy

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, DynamicCache, GenerationConfig

import hyena
from hyena.integrations.transformers import HyenaCache, HyenaForCausalLM, wrap
from hyena.integrations.transformers.cache import CACHE
from tests import tolerances
from tests.checkpoints.golden import case
from tests.helpers import refused, unchecked
from tests.integrations.transformers.small import MODELS, dressed, padded, small
from tests.models.small import ids

GREEDY = {"do_sample": False}


@pytest.fixture
def prompts() -> list[Tensor]:
    """Rows of several lengths."""
    return [torch.randint(0, 10, (n,)) for n in (7, 1, 12)]


def same_streams(a: Tensor, b: Tensor) -> None:
    """Logits in float32, computed in two orders."""
    assert (a - b).norm() <= tolerances.FLOAT32_MODEL * b.norm()


@pytest.mark.parametrize("name", ["sh1-lm", "sh1-lm-evo", "sh2-lm", "sh2-lm-1m", "hyenadna-lm-a"])
def test_greedy_is_that_of_hyena_on_converted_models(name: str):
    model = case(name).model()
    prompt = case(name).io["input_ids"][:, :9].long()
    ours = hyena.generate(model, prompt, 20, temperature=0.0)
    assert torch.equal(wrap(model).generate(prompt, max_new_tokens=20, **GREEDY), ours)


@pytest.mark.parametrize("name", MODELS)
def test_greedy_is_that_of_hyena_on_every_letter(name: str):
    model, prompt = small(name), ids(2, 9)
    ours = hyena.generate(model, prompt, 15, temperature=0.0)
    theirs = wrap(model)
    assert torch.equal(theirs.generate(prompt, max_new_tokens=15, **GREEDY), ours)
    assert torch.equal(theirs.generate(prompt, max_new_tokens=15, use_cache=False, **GREEDY), ours)
    assert torch.equal(theirs.generate(prompt, max_new_tokens=15, prefill_chunk_size=4, **GREEDY), ours)
    assert int(ours.max()) < model.config.vocab_size


def test_rows_that_round_the_head_up_are_never_drawn(tmp_path):
    model = small("untied, rounded up")
    with torch.no_grad():  # otherwise they would be the likeliest
        model.lm_head.weight[10:] = 100 * model.lm_head.weight[:6]
    model.save(tmp_path / "a")
    first = AutoModelForCausalLM.from_pretrained(tmp_path / "a")
    first.save_pretrained(tmp_path / "b")
    for theirs in (wrap(model), first, AutoModelForCausalLM.from_pretrained(tmp_path / "b")):
        for options in (GREEDY, {"do_sample": True}, {"num_beams": 3}):
            assert int(theirs.generate(ids(2, 5), max_new_tokens=10, **options).max()) < 10


@pytest.mark.parametrize("pattern", ["HRA", "SML", "DW"])
@pytest.mark.parametrize("pad", [3, 99])
def test_padding_on_the_left_changes_no_row(prompts: list[Tensor], pattern: str, pad: int):
    """The id of padding is never looked at, be it in the vocabulary or not."""
    model = dressed(pattern)
    tokens, mask = padded(prompts, "left", pad)
    together = model.generate(tokens, attention_mask=mask, max_new_tokens=12, **GREEDY)
    chunks = model.generate(tokens, attention_mask=mask, max_new_tokens=12, prefill_chunk_size=5, **GREEDY)
    assert torch.equal(chunks, together)
    for row, prompt in enumerate(prompts):
        alone = model.generate(prompt[None], max_new_tokens=12, **GREEDY)[0]
        assert torch.equal(together[row, -12:], alone[-12:])
        assert torch.equal(alone, hyena.generate(model.native(), prompt[None], 12, temperature=0.0)[0])


@pytest.mark.parametrize("side", ["left", "right"])
@torch.no_grad()
def test_logits_of_padded_rows(prompts: list[Tensor], side: str):
    """Of a forward without a cache, on either side; what stands under padding is finite."""
    model = dressed()
    tokens, mask = padded(prompts, side, 99)
    logits = model(tokens, attention_mask=mask).logits
    assert logits.isfinite().all()
    for row, prompt in enumerate(prompts):
        same_streams(logits[row, mask[row] == 1], model(prompt[None]).logits[0])


@torch.no_grad()
def test_logits_with_a_cache_are_those_without(prompts: list[Tensor]):
    model = dressed()
    tokens, mask = padded(prompts)
    full = model(tokens, attention_mask=mask).logits
    cache, found = HyenaCache(), []
    for begin, end in ((0, 3), (3, 4), (4, 9), (9, 12)):
        out = model(tokens[:, begin:end], attention_mask=mask[:, :end], cache=cache)
        assert out[CACHE] is cache
        assert cache.get_seq_length() == end
        found.append(out.logits)
    stream = torch.cat(found, 1)
    assert stream[mask == 0].isnan().all(), "there is no token, and no number"
    same_streams(stream[mask == 1], full[mask == 1])


@torch.no_grad()
def test_which_logits_are_kept():
    model, tokens = dressed(), ids()
    full = model(tokens).logits
    assert torch.equal(model(tokens, logits_to_keep=1).logits, full[:, -1:])
    assert torch.equal(model(tokens, logits_to_keep=torch.tensor([2, 5])).logits, full[:, [2, 5]])
    assert torch.equal(model(tokens, return_dict=False)[0], full)
    assert CACHE not in model(tokens)
    assert isinstance(model(tokens, use_cache=True)[CACHE], HyenaCache)


@pytest.mark.parametrize("pattern", ["HRA", "SML"])
def test_beams_are_those_without_a_cache(pattern: str):
    model = dressed(pattern)
    tokens, mask = padded([torch.randint(0, 10, (n,)) for n in (5, 3)])
    options = {"attention_mask": mask, "max_new_tokens": 8, "num_beams": 4, "num_return_sequences": 2}
    found = model.generate(tokens, **options)
    assert found.shape == (4, 13)
    plain = model.generate(tokens[:1], **options | {"attention_mask": mask[:1]})
    assert torch.equal(found[:2], plain)
    assert torch.equal(plain, model.generate(tokens[:1], **options | {"attention_mask": mask[:1], "use_cache": False}))
    assert len({tuple(row) for row in plain.tolist()}) == 2


def test_sampling_with_a_cache_draws_what_it_draws_without():
    model, prompt = dressed(), ids(2, 5)
    options = {"do_sample": True, "top_k": 5, "temperature": 0.9, "num_return_sequences": 3, "max_new_tokens": 9}
    drawn = []
    for use_cache in (True, False):
        torch.manual_seed(3)
        drawn.append(model.generate(prompt, use_cache=use_cache, **options))
    assert drawn[0].shape == (6, 14)
    assert torch.equal(*drawn)
    assert len({tuple(row) for row in drawn[0].tolist()}) > 2


def test_rows_end_by_themselves():
    """A row that has ended is fed padding, of which the model may have no row."""
    model, prompt = dressed(), ids(4, 6)
    plain = model.generate(prompt, max_new_tokens=20, **GREEDY)
    end = int(plain[0, 9])
    found = model.generate(prompt, max_new_tokens=20, do_sample=False, eos_token_id=end, pad_token_id=77)
    for row in range(4):
        new = plain[row, 6:].tolist()
        stop = new.index(end) + 1 if end in new else 20
        assert found[row, 6 : 6 + stop].tolist() == new[:stop]
        assert (found[row, 6 + stop :] == 77).all()


def test_going_on_from_a_cache():
    model, prompt = dressed(), ids(2, 10)
    first = model.generate(prompt, max_new_tokens=5, return_dict_in_generate=True, **GREEDY)
    cache = first[CACHE]
    assert isinstance(cache, HyenaCache)
    assert cache.get_seq_length() == 14, "the last token drawn was not read"
    own = HyenaCache(decoding="epoched")
    assert torch.equal(model.generate(prompt, cache=own, max_new_tokens=5, **GREEDY), first.sequences)
    longer = torch.cat([first.sequences, ids(2, 3)], 1)
    plain = model.generate(longer, max_new_tokens=20, **GREEDY)
    for each in (copy.deepcopy(cache), cache, own, HyenaCache(decoding="cached")):
        assert torch.equal(model.generate(longer, cache=each, max_new_tokens=20, **GREEDY), plain)
        assert each.get_seq_length() == 37


def test_longer_than_the_model_reads():
    with refused("a stream of 69 tokens", "max_length 64"):  # before anything is computed
        wrap(small("H")).generate(ids(1, 60), max_new_tokens=10, **GREEDY)
    tokens, mask = padded([ids(1, 60)[0], ids(1, 10)[0]])
    tokens, mask = torch.cat([tokens[:, :10], tokens], 1), torch.cat([torch.zeros(2, 10, dtype=mask.dtype), mask], 1)
    found = wrap(small("H")).generate(tokens, attention_mask=mask, max_new_tokens=5, **GREEDY)
    assert found.shape == (2, 75), "padding takes no room"


@torch.no_grad()
def test_rows_of_a_cache():
    model, tokens = dressed(), ids(3, 8)
    cache = model(tokens[:, :6], use_cache=True)[CACHE]
    assert cache.layers[0].rows == 3
    cache.reorder_cache(torch.tensor([2, 0, 0]))
    other = tokens[[2, 0, 0]]
    same_streams(model(other[:, 6:7], cache=cache).logits, model(other[:, :7]).logits[:, 6:])
    cache.batch_select_indices(torch.tensor([1]))
    cache.batch_repeat_interleave(2)
    other = tokens[[0, 0]]
    same_streams(model(other[:, 7:], cache=cache).logits, model(other).logits[:, 7:])
    cache.reset()
    assert cache.get_seq_length() == 0
    same_streams(model(tokens, cache=cache).logits, model(tokens).logits)


# --- what is refused ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ({"cache": DynamicCache()}, ("DynamicCache", "HyenaCache")),
        ({"cache_implementation": "static"}, ("cache_implementation is 'static'", "leave it out")),
        ({"cache_implementation": "offloaded"}, ("cache_implementation is 'offloaded'",)),
        ({"output_hidden_states": True, "return_dict_in_generate": True}, ("output_hidden_states", "leave it out")),
        ({"attention_mask": torch.tensor([[1, 0, 1, 1], [1, 1, 1, 1]])}, ("a hole in row 0",)),
        (
            {"attention_mask": torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]])},
            ("after the tokens of row 1", "padding_side = 'left'"),
        ),
        ({"attention_mask": torch.tensor([[1, 1, 1, 1], [0, 0, 0, 0]])}, ("no token in row 1",)),
        ({"pad_token_id": 3}, ("row 1 holds the id of padding, 3", "attention_mask")),
    ],
    ids=str,
)
def test_generation_that_is_refused(options: dict[str, object], parts: tuple[str, ...]):
    with refused(*parts):
        dressed().generate(torch.tensor([[5, 2, 1, 9], [3, 2, 3, 1]]), max_new_tokens=3, **GREEDY, **options)


def test_assisted_decoding_is_refused():
    for options in ({"assistant_model": dressed()}, {"prompt_lookup_num_tokens": 2}):
        with unchecked(), pytest.raises(ValueError, match="stateful"):
            dressed().generate(ids(1, 4), max_new_tokens=3, **GREEDY, **options)


def test_embeddings_in_place_of_tokens_are_refused():
    model = dressed()
    embedded = model.get_input_embeddings()(ids(1, 4))
    with refused("inputs_embeds are not read"):
        model(inputs_embeds=embedded)
    with refused("inputs_embeds are not read"):
        model.generate(inputs_embeds=embedded, max_new_tokens=3, **GREEDY)


def test_forwards_that_are_refused():
    model, tokens = dressed(), ids(2, 4)
    with refused("position_ids is given", "leave it out"):
        model(tokens, position_ids=torch.arange(4))
    with refused("attention_mask is (2, 3)", "(2, 4)"):
        model(tokens, attention_mask=torch.ones(2, 3))
    with refused("attention_mask has no token in row 1", "leave the row out"):
        model(tokens, attention_mask=torch.tensor([[1, 1, 1, 1], [0, 0, 0, 0]]))
    with refused("a cache gives no gradient"):
        model.train()(tokens, use_cache=True)
    model.eval()
    with torch.no_grad():
        cache = model(tokens, use_cache=True)[CACHE]
        with refused("4 columns were read and 1 are new", "(2, 5)"):
            model(tokens[:, :1], attention_mask=torch.ones(2, 1), cache=cache)
        with refused("padding after the tokens of row 1"):
            model(tokens[:, :1], attention_mask=torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 1, 0]]), cache=cache)
        with refused("names 3 tokens of row 1 among the columns read before, and 4 were read"):
            model(tokens[:, :1], attention_mask=torch.tensor([[1, 1, 1, 1, 1], [0, 1, 1, 1, 1]]), cache=cache)
        with refused("does not go back by 2 tokens"):
            cache.crop(2)
        with refused("holds no keys and values"):
            cache.update(torch.ones(1), torch.ones(1), 0)


def test_the_generation_config_is_saved(tmp_path):
    model = dressed()
    model.generation_config.max_new_tokens = 4
    model.save_pretrained(tmp_path)
    assert GenerationConfig.from_pretrained(tmp_path).max_new_tokens == 4
    theirs = HyenaForCausalLM.from_pretrained(tmp_path)
    assert theirs.generate(ids(1, 3), **GREEDY).shape == (1, 7)
