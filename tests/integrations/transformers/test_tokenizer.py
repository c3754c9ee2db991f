"""Tokenizers of transformers with the ids of ours, byte for byte and base for base; pipelines over both."""

from pathlib import Path

import pytest
import tokenizers
import torch
from transformers import AutoTokenizer, PreTrainedTokenizerFast, pipeline

import hyena
from hyena.data import load_tokenizer
from hyena.integrations.transformers import HyenaTokenizer, make_tokenizer, wrap
from hyena.integrations.transformers.tokenizer import _letters
from tests.helpers import refused
from tests.integrations.transformers.small import dressed, small
from tests.models.small import language_model

EVERY_BYTE = "".join(map(chr, [*range(0x800), *range(0x800, 0xD800, 0x333), *range(0xE000, 0x110000, 0x4321)])) + "\ufeff\u2028"
"""Characters whose UTF-8 has every byte that UTF-8 has, controls and separators among them."""
TEXTS = ["", "To be, or not to be", "  two  spaces , and don't\n\n", EVERY_BYTE, "[PAD]<pad></s>[UNK]Ā\x00", "a" * 1000]


def reloaded(made: PreTrainedTokenizerFast, directory: Path) -> PreTrainedTokenizerFast:
    """Saved and found again by `AutoTokenizer`, without a model beside it."""
    made.save_pretrained(directory)
    return AutoTokenizer.from_pretrained(directory)


@pytest.mark.parametrize("again", [False, True], ids=["made", "reloaded"])
def test_bytes(tmp_path: Path, again: bool):
    made, ours = make_tokenizer("bytes"), load_tokenizer("bytes")
    made = reloaded(made, tmp_path) if again else made
    seen: set[int] = set()
    for text in TEXTS:
        found = made(text)["input_ids"]
        assert found == ours.encode(text).tolist()
        assert made.decode(found) == made.decode(found, skip_special_tokens=True) == text
        seen |= set(found)
    assert seen == set(range(256)) - {0xC0, 0xC1, *range(0xF5, 0x100)}, "all that are legal in UTF-8"
    for byte in range(256):  # bytes that are not UTF-8 too
        assert made.decode([byte]) == ours.decode([byte])
        assert made.decode([65, byte, 66, byte]) == ours.decode([65, byte, 66, byte])
    assert (made.pad_token_id, made.padding_side, len(made)) == (256, "left", 257)


def test_the_alphabet_is_that_of_byte_level_vocabularies():
    letters = _letters()
    assert set(letters.values()) == set(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    assert len(letters) == 256


@pytest.mark.parametrize("again", [False, True], ids=["made", "reloaded"])
def test_dna(tmp_path: Path, again: bool):
    made, ours = make_tokenizer("dna"), load_tokenizer("dna")
    made = reloaded(made, tmp_path) if again else made
    for text in ("", "ACGTN", "acgtnACGTNNNN", "A" * 1000):
        found = made(text)["input_ids"]
        assert found == ours.encode(text).tolist()
        assert made.decode(found) == text.upper()
    for text in ("ACGX", "AC GT", "A\nC", "[SEP]", "é"):  # an error, never an [UNK] without a word
        with pytest.raises(Exception, match="UNK"):
            made(text)
    for id, name in enumerate(ours.names):
        assert made.convert_tokens_to_ids(name) == id
        assert made.decode([id]) == ours.decode([id])
    named = ("cls", "sep", "bos", "mask", "pad")
    assert [getattr(made, f"{name}_token_id") for name in named] == [0, 1, 2, 3, 4]
    assert made.decode([2, 7, 8, 1, 4], skip_special_tokens=True) == "AC"


@pytest.mark.parametrize("spec", ["bytes", "dna"])
def test_batches_are_padded_on_the_left(spec: str):
    batch = make_tokenizer(spec)(["ACGT", "A"], padding=True, return_tensors="pt")
    assert sorted(batch) == ["attention_mask", "input_ids"]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 1], [0, 0, 0, 1]]


def test_a_directory_that_hyena_wrote_names_its_tokenizer(tmp_path: Path):
    model = language_model("S", torch.float32, vocab_size=256)
    model.save(tmp_path / "plain")
    assert AutoTokenizer.from_pretrained(tmp_path / "plain")("é")["input_ids"] == [0xC3, 0xA9]
    language_model("S", torch.float32, vocab_size=12, tokenizer="dna").save(tmp_path / "dna")
    assert AutoTokenizer.from_pretrained(tmp_path / "dna")("ac")["input_ids"] == [7, 8]
    small("S").save(tmp_path / "none")
    with refused("names no tokenizer for its 10 symbols"):
        AutoTokenizer.from_pretrained(tmp_path / "none")
    make_tokenizer("dna").save_pretrained(tmp_path / "plain")
    assert AutoTokenizer.from_pretrained(tmp_path / "plain")("ac")["input_ids"] == [7, 8], "what lies there comes first"


def test_tokenizer_files(tmp_path: Path):
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel({"to": 0, "be": 1, "?": 2}, unk_token="?"))
    words.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    words.save(str(tmp_path / "words.json"))
    model = language_model("S", torch.float32, vocab_size=3, tokenizer="file:words.json")
    model.tokenizer_file = tmp_path / "words.json"
    model.save(tmp_path / "model")
    assert AutoTokenizer.from_pretrained(tmp_path / "model")("to be to")["input_ids"] == [0, 1, 0]
    assert isinstance(HyenaTokenizer.from_pretrained(tmp_path / "model"), PreTrainedTokenizerFast)
    with refused("tokenizer 'file:none.json' is not here"):
        make_tokenizer("file:none.json", tmp_path)


# --- pipelines ----------------------------------------------------------------------------------------------------------------


def test_text_generation(tmp_path: Path):
    model = language_model("HS", torch.float32, vocab_size=256, tokenizer="bytes")
    model.save(tmp_path)
    options = {"max_new_tokens": 12, "do_sample": False}
    write = pipeline("text-generation", model=str(tmp_path))
    (found,) = write("To be", **options)
    ids = torch.tensor([list(b"To be")])
    expected = hyena.generate(model, ids, 12, temperature=0.0)[0, 5:]
    assert found["generated_text"] == "To be" + bytes(expected.tolist()).decode(errors="replace")
    together = write(["To be", "O"], batch_size=2, **options)
    assert [text for (text,) in together] == [write(text, **options)[0] for text in ("To be", "O")]


def test_text_classification():
    model = wrap(hyena.Classifier(dressed("S", vocab_size=12).config.model_config, classes=3).eval())
    classify = pipeline("text-classification", model=model, tokenizer=make_tokenizer("dna"))
    together = classify(["ACGT", "A", "GGGTTTAA"], batch_size=3)
    for text, found in zip(["ACGT", "A", "GGGTTTAA"], together, strict=True):
        (alone,) = classify(text)
        assert found["label"] == alone["label"]
        assert found["score"] == pytest.approx(alone["score"], abs=1e-5)
