"""Text in, text out: stops that straddle tokens, characters that do, several prompts and samples."""

from pathlib import Path

import numpy as np
import pytest
import torch

from hyena.data import ByteTokenizer
from hyena.inference import Sampling, generate, generate_text, stream_text
from hyena.models import Classifier, LanguageModel
from tests.helpers import refused
from tests.training.runs import MODEL

GREEDY = Sampling(0.0)


class Scripted(LanguageModel):
    """A model of bytes that writes a given text: after so many tokens, the next byte of it."""

    def __init__(self, script: bytes, prompt: int):
        """prompt: tokens before the script."""
        super().__init__(MODEL.replace(pattern="A", vocab_size=256, tokenizer="bytes", max_length=64))
        self.eval()
        self.script, self.prompt = script, prompt

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """All on one byte; the place is counted by the calls."""
        scores = torch.full((*hidden.shape[:2], 256), -50.0)
        scores[..., self.script[self.prompt]] = 50.0
        self.prompt += 1
        return scores


@pytest.mark.parametrize(
    ("script", "stop", "text"),
    [
        (b"one END two", ["END"], "one "),
        (b"one EENDtwo", ["END"], "one E"),
        (b"one\n\ntwo\n", ["\n\n"], "one"),
        ("naïve é stop".encode(), ["é"], "naïve "),
        ("naïve é stop".encode(), ["ve", "ï"], "na"),
        (b"abcdefghijk", ["x", 0x66], "abcde"),
        (b"one EN", ["END"], "one EN"),
    ],
)
def test_a_text_ends_before_its_stop(script: bytes, stop: list[int | str], text: str):
    count = len(script)
    assert generate_text(Scripted(script, 0), [">"], count, GREEDY, stop=stop) == [">" + text]
    pieces = list(stream_text(Scripted(script, 0), [">"], count, GREEDY, stop=stop))
    assert "".join(piece for (piece,) in pieces) == text
    (ids,) = generate(Scripted(script, 0), torch.tensor([[62]]), count, 0.0, stop=stop)
    assert ByteTokenizer().decode(ids.numpy()) == ">" + text


def test_what_may_begin_a_stop_is_held_back():
    pieces = [piece for (piece,) in stream_text(Scripted(b"aENbEND", 0), [">"], 7, GREEDY, stop="END")]
    assert pieces == ["a", "", "", "ENb", "", "", ""]


def test_a_character_comes_whole():
    pieces = [piece for (piece,) in stream_text(Scripted("aé!".encode(), 0), [">"], 4, GREEDY)]
    assert pieces == ["a", "", "é", "!"]


def model_of(**changes: object) -> LanguageModel:
    """Far from uniform, in float64."""
    torch.manual_seed(0)
    return LanguageModel(MODEL.replace(**({"init_std": 0.3} | changes))).double().eval()


@pytest.mark.parametrize("decoding", ["auto", "recompute"])
def test_the_rows_are_those_of_generate(decoding: str):
    model, prompts, bytes_ = model_of(), ["To be", "O", "abc"], ByteTokenizer()
    ids = generate(model, [torch.from_numpy(bytes_.encode(p)) for p in prompts], 20, seed=1, samples=2, decoding=decoding)
    texts = [bytes_.decode(row.numpy()) for row in ids]
    # Of a character whose last bytes are not drawn, nothing is shown.
    for text, written in zip(texts, generate_text(model, prompts, 20, seed=1, samples=2, decoding=decoding), strict=True):
        assert text.startswith(written)
        assert set(text[len(written) :]) <= {"\ufffd"}


def test_a_row_that_has_ended_says_nothing_more():
    model = model_of(pattern="HA", vocab_size=12, vocab_multiple=8, tokenizer="dna")
    whole = generate_text(model, ["ACGT", "C"], 20, seed=2)
    stop = whole[0][6:8]
    ends = [text.find(stop, n) for text, n in zip(whole, (4, 1), strict=True)]
    rows = list(zip(*stream_text(model, ["ACGT", "C"], 20, seed=2, stop=stop), strict=True))
    assert min(ends) != max(ends)
    for text, n, end, pieces in zip(whole, (4, 1), ends, rows, strict=True):
        new = text[n : end if end >= 0 else None]
        last = len(new) + len(stop) if end >= 0 else 20
        assert "".join(piece for piece in pieces if piece) == new
        assert None not in pieces[:last]
        assert set(pieces[last:]) <= {None}


def test_a_dna_model_writes_letters_alone():
    model = model_of(vocab_size=12, vocab_multiple=8, tokenizer="dna")
    (text,) = generate_text(model, ["nacg"], 25, Sampling(50.0), seed=0)
    assert text.startswith("NACG")
    assert set(text[4:]) == set("ACGT")
    (text,) = generate_text(model, [b"ACG"], 25, Sampling(50.0), seed=0, allowed=[7, 11])
    assert set(text[3:]) == set("AN")


@pytest.mark.parametrize(
    ("prompts", "parts"),
    [
        ("text", ("'text'", "list of texts")),
        ([], ("[]", "list of texts")),
        ([""], ("the prompt is empty", "at least one token")),
        (["a", ""], ("prompt 1 is empty", "at least one token")),
    ],
)
def test_what_is_no_prompt_is_refused(prompts: object, parts: tuple[str, ...]):
    with refused(*parts):
        stream_text(model_of(), prompts, 3)


def test_a_prompt_that_the_tokenizer_does_not_know_is_named():
    model = model_of(vocab_size=12, tokenizer="dna")
    with refused("prompt 1", "'X'", "position 1"):
        stream_text(model, ["A", "AX"], 3)


def test_models_that_write_no_text_are_refused():
    with refused("Classifier", "language model"):
        stream_text(Classifier(MODEL), ["a"], 3)
    with refused("tokenizer", "20 symbols"):
        stream_text(model_of(vocab_size=20, tokenizer=None), ["a"], 3)


def test_prompts_may_be_arrays_of_bytes():
    text = np.frombuffer(b"To be", np.uint8).tobytes()
    assert generate_text(model_of(), [text], 4, GREEDY) == generate_text(model_of(), ["To be"], 4, GREEDY)


def test_a_stop_for_dna_is_read_as_prompts_are():
    model = model_of(vocab_size=12, tokenizer="dna")
    whole = generate_text(model, ["ACGT"], 20, seed=0)[0]
    stopped = generate_text(model, ["ACGT"], 20, seed=0, stop=whole[10:13])[0]
    assert len(stopped) < len(whole)
    assert generate_text(model, ["ACGT"], 20, seed=0, stop=whole[10:13].lower())[0] == stopped
    with refused("'X'", "not a DNA letter"):
        generate_text(model, ["ACGT"], 20, seed=0, stop="ACX")


@pytest.mark.parametrize(("vocab_size", "vocab_multiple"), [(256, 512), (512, 1)])
def test_a_head_with_more_rows_than_bytes_writes_bytes(vocab_size: int, vocab_multiple: int):
    model = model_of(vocab_size=vocab_size, vocab_multiple=vocab_multiple, tokenizer="bytes")
    model.backbone.embedding.weight.data[256:] = 10 * model.backbone.embedding.weight.data[:256]
    for sampling in (GREEDY, Sampling(50.0)):
        (text,) = generate_text(model, ["ACGT"], 25, sampling, seed=0)
        assert text.startswith("ACGT")
        assert generate_text(model, ["ACGT"], 25, sampling, seed=0, stop="never written") == [text]
    (text,) = generate_text(model, ["A"], 25, Sampling(50.0), seed=0, allowed=b"ACGT")
    assert set(text) <= set("ACGT")
    if vocab_size == 512:
        with refused("allowed has id 400", "tokenizer 'bytes'", "0 .. 255"):
            stream_text(model, ["A"], 5, allowed=[65, 400])


def test_a_head_with_more_rows_than_a_file_has_symbols(tmp_path: Path):
    tokenizers = pytest.importorskip("tokenizers")
    raw = tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0, "b": 1, "c": 2}, unk_token="c"))
    raw.save(str(tmp_path / "words.json"))
    model = model_of(vocab_size=8, tokenizer="file:words.json")
    model.tokenizer_file = tmp_path / "words.json"
    (text,) = generate_text(model, ["a"], 20, Sampling(50.0), seed=0)
    assert set(text.split()) == set("abc")
    ids = torch.zeros(1, 1, dtype=torch.int64)
    assert generate(model, ids, 30, 50.0, seed=0).max() > 2, "of ids alone a file's tokenizer is not asked"
    (row,) = generate(model, ids, 30, 50.0, seed=0, stop="d")
    assert row.max() <= 2


def test_a_bos_stands_before_every_prompt_and_in_no_text():
    model = model_of()
    texts = generate_text(model, ["be", "To"], 12, GREEDY, bos=10)
    wanted = generate_text(model, ["\nbe", "\nTo"], 12, GREEDY)
    assert ["\n" + text for text in texts] == wanted
    (alone,) = generate_text(model, [""], 12, GREEDY, bos=10)
    assert ["\n" + alone] == generate_text(model, ["\n"], 12, GREEDY)
    with refused("id 300", "outside the vocabulary"):
        generate_text(model, ["a"], 3, bos=300)
