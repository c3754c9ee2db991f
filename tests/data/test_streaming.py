"""Text shown id by id: whole characters only, and nothing lost."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hyena.data import ByteTokenizer, DNATokenizer, FileTokenizer, stream_decoder
from hyena.errors import HyenaError

TEXT = "the café – 漢字 🧬 end"


def test_bytes_come_out_as_whole_characters():
    tokenizer = ByteTokenizer()
    show = stream_decoder(tokenizer)
    pieces = [show(token) for token in tokenizer.encode("é🧬a").tolist()]
    assert pieces == ["", "é", "", "", "", "🧬", "a"]


def test_bytes_that_are_not_text_do_not_block():
    show = stream_decoder(ByteTokenizer())
    assert [show(token) for token in (0xFF, 0xC3, ord("a"))] == ["\ufffd", "", "\ufffda"]


def test_dna_comes_out_letter_by_letter():
    show = stream_decoder(DNATokenizer())
    assert [show(token) for token in (7, 1, 10)] == ["A", "[SEP]", "T"]


def test_bpe_text_comes_out_whole(bpe_file: Path):
    tokenizer = FileTokenizer(str(bpe_file))
    show = stream_decoder(tokenizer)
    ids = tokenizer.encode(TEXT).tolist()
    pieces = [show(token) for token in ids]
    assert "".join(pieces) == TEXT
    assert "\ufffd" not in "".join(pieces)
    assert pieces.count("") > 0, "the test must split a character over tokens"
    assert pieces[0] != ""


# The file is only read, so that examples may share it.
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(ids=st.lists(st.integers(0, 256), max_size=40))
def test_bpe_pieces_are_a_beginning_of_the_text_for_any_ids(bpe_file: Path, ids: list[int]):
    tokenizer = FileTokenizer(str(bpe_file))
    show = stream_decoder(tokenizer)
    shown = "".join(map(show, ids))
    text = tokenizer.decode(ids)
    assert text.startswith(shown)
    assert text.endswith("\ufffd") or shown == text


def test_bpe_that_drops_the_first_space_keeps_the_others(tmp_path: Path):
    tokenizers = pytest.importorskip("tokenizers")
    vocabulary = {"▁the": 0, "▁end": 1, "s": 2}
    raw = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="s"))
    raw.decoder = tokenizers.decoders.Metaspace()
    raw.save(str(tmp_path / "spaces.json"))
    show = stream_decoder(FileTokenizer("spaces.json", tmp_path))
    assert [show(token) for token in (0, 1, 2, 0)] == ["the", " end", "s", " the"]


@pytest.mark.parametrize("tokenizer", [ByteTokenizer(), DNATokenizer()])
def test_id_out_of_range(tokenizer: ByteTokenizer | DNATokenizer):
    with pytest.raises(HyenaError, match="id 300 "):
        stream_decoder(tokenizer)(300)


def test_two_streams_do_not_mix():
    first, second = stream_decoder(ByteTokenizer()), stream_decoder(ByteTokenizer())
    assert first(0xC3) == ""
    assert second(ord("a")) == "a"
    assert first(0xA9) == "é"
