"""The one reader: where a block of a file ends must not be seen in the tokens, the counts or the errors."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hyena.configs.data import Policy
from hyena.data import ByteTokenizer, DNATokenizer, load_corpus, reader
from hyena.data.reader import Reader
from hyena.data.sources import find_sources
from tests.helpers import refused

DNA = DNATokenizer()


@settings(max_examples=60, deadline=None)
@given(st.text("ACGTNacgtnUuRy \n\t", max_size=60), st.integers(1, 20), st.sampled_from(["upper", "mask"]))
def test_blocks_of_text_change_nothing(tmp_path_factory: pytest.TempPathFactory, text: str, block: int, soft_mask: str):
    path = tmp_path_factory.mktemp("text") / "x.txt"
    path.write_text(text + "A")
    policy = Policy(soft_mask, "n")  # type: ignore[arg-type]
    whole = load_corpus(path, DNA, policy)
    plain = load_corpus(path, ByteTokenizer())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader, "_BLOCK", block)
        pieces = load_corpus(path, DNA, policy)
        assert (pieces.tokens.tolist(), pieces.notes, pieces.contents) == (whole.tokens.tolist(), whole.notes, whole.contents)
        assert load_corpus(path, ByteTokenizer()).tokens.tobytes() == plain.tokens.tobytes() == (text + "A").encode()


@pytest.mark.parametrize("block", [1, 3, 4, 100])
def test_positions_are_counted_over_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int):
    monkeypatch.setattr(reader, "_BLOCK", block)
    monkeypatch.setattr("hyena.data.fasta._BLOCK", block)
    (tmp_path / "x.txt").write_text("AC GT\nACR")
    with refused("x.txt: 'R' at position 7"):
        load_corpus(tmp_path / "x.txt", DNA)
    (tmp_path / "x.fa").write_text(">a\nAAAA\n>b\nACGT\nAC\nR\n")
    with refused("x.fa, record 'b': 'R' at position 7"):
        load_corpus(tmp_path / "x.fa", DNA)


@pytest.mark.parametrize("block", [1, 2, 100])
def test_a_byte_order_mark_is_no_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int):
    monkeypatch.setattr(reader, "_BLOCK", block)
    monkeypatch.setattr("hyena.data.fasta._BLOCK", block)
    mark = b"\xef\xbb\xbf"
    for name, content, text in (
        ("x.txt", mark + b"AC" + mark, b"AC" + mark),
        ("x.jsonl", mark + b'{"text": "AC"}', b"AC"),
        ("x.fa", mark + b">a\nAC\n", b"AC"),
        ("short.txt", mark[:2], mark[:2]),
    ):
        (tmp_path / name).write_bytes(content)
        corpus = load_corpus(tmp_path / name, ByteTokenizer())
        assert corpus.tokens.tobytes() == text
        assert any("byte order mark" in note for note in corpus.notes) is (name == "x.txt"), "said where it was content"
    (tmp_path / "x.txt").write_bytes(mark)
    with refused("x.txt holds no token"):
        load_corpus(tmp_path / "x.txt", ByteTokenizer())


def test_pieces_say_where_documents_begin(tmp_path: Path):
    (tmp_path / "a.fa").write_text(">x\nAC\n>y\nG\n")
    (tmp_path / "b.txt").write_text("T")
    sources, _ = find_sources([tmp_path / "a.fa", tmp_path / "b.txt"])
    told: list[tuple[int, int]] = []
    pieces = [
        (source, begins and begins.name, ids.tolist())
        for source, begins, ids in Reader(sources, DNA, Policy(), lambda *values: told.append(values)).pieces()
    ]
    sep = (None, None, [DNA.sep_id])
    assert pieces == [(0, "x", [7, 8]), sep, (0, "y", [9]), sep, (1, str(tmp_path / "b.txt"), [10])]
    assert told == [(12, 12)]
