"""Files to one long array of tokens, with notes on all that was changed on the way.

FASTA is known by its content, everything else is text. No shuffling, no chunks, no cache: a corpus is one array in
memory, and windows of it are cut by `hyena.data.loader`.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hyena.data.fasta import is_fasta, read_fasta, to_acgtn
from hyena.data.files import read_bytes
from hyena.data.tokenizers import ByteTokenizer, DNATokenizer, Tokenizer
from hyena.errors import HyenaError


# Arrays have no truth value as a whole, so a generated == could only fail.
@dataclass(frozen=True, eq=False)
class Corpus:
    """Tokens and where they came from.

    tokens: shape (L,), the smallest unsigned type that holds the vocabulary.
    tokenizer: what made them.
    source: the files, in order.
    notes: one line for each thing changed or left out, to be shown to the user.
    """

    tokens: np.ndarray
    tokenizer: Tokenizer
    source: str
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        """The number of tokens."""
        return len(self.tokens)

    def split(self, fraction: float) -> tuple["Corpus", "Corpus"]:
        """(train, held_out): held_out is the last `fraction` of the tokens, train is all before; nothing is copied.

        HyenaError unless 0 < fraction < 1 and both parts have the two tokens that one prediction takes.
        """
        if not 0 < fraction < 1:
            raise HyenaError(f"fraction to hold out is {fraction}; pass a number between 0 and 1, such as 0.1")
        border = len(self) - round(len(self) * fraction)
        if min(border, len(self) - border) < 2:
            raise HyenaError(
                f"holding out {fraction} of the {len(self)} tokens of {self.source} leaves a part with fewer than 2; "
                "give more data or another fraction"
            )
        train, held_out = self.tokens[:border], self.tokens[border:]
        return (
            Corpus(train, self.tokenizer, self.source, self.notes),
            Corpus(held_out, self.tokenizer, self.source, self.notes),
        )


def load_corpus(paths: Sequence[str | Path] | str | Path, tokenizer: Tokenizer) -> Corpus:
    """Read files, plain or compressed, into one corpus in the order given.

    Text is encoded file by file, with nothing put between files; for the DNA tokenizer its white space is dropped. Of
    FASTA only the sequences are taken. With the DNA tokenizer they are mapped by `to_acgtn` and [SEP] stands between
    records; with any other they stay as written and a line end stands between them. HyenaError, naming the file, for a
    file that cannot be read or encoded or holds no token.
    """
    files = [Path(paths)] if isinstance(paths, str | Path) else [Path(path) for path in paths]
    if not files:
        raise HyenaError("no data file given; name at least one")
    dtype = np.min_scalar_type(tokenizer.vocab_size - 1)
    separator = np.array([tokenizer.sep_id]) if isinstance(tokenizer, DNATokenizer) else tokenizer.encode(b"\n")
    pieces: list[np.ndarray] = []
    notes: list[str] = []
    after_fasta = False
    for path in files:
        fasta = is_fasta(path)
        for part in _sequences(path, tokenizer, notes) if fasta else _text(path, tokenizer, notes):
            if pieces and (fasta or after_fasta):
                pieces.append(separator.astype(dtype))
            pieces.append(part.astype(dtype))
            after_fasta = fasta
    return Corpus(np.concatenate(pieces), tokenizer, ", ".join(map(str, files)), tuple(notes))


def _sequences(path: Path, tokenizer: Tokenizer, notes: list[str]) -> Iterator[np.ndarray]:
    """The ids of each FASTA record; what was left out or replaced is added to `notes` at the end."""
    records, replaced = 0, 0
    for record in read_fasta(path):
        where = f"{path}, record {record.name!r}"
        sequence = record.sequence
        if isinstance(tokenizer, DNATokenizer):
            with _located(where):
                sequence, count = to_acgtn(sequence)
            replaced += count
        records += 1
        yield _encode(sequence, tokenizer, where)
    notes.append(f"read {path.name} as FASTA, {records} record(s); its header lines are not part of the corpus")
    if replaced:
        notes.append(f"replaced {replaced} ambiguity codes by N in {path.name}")


def _text(path: Path, tokenizer: Tokenizer, notes: list[str]) -> Iterator[np.ndarray]:
    """The ids of a whole text file, as one array."""
    content = read_bytes(path)
    if isinstance(tokenizer, DNATokenizer):
        letters = b"".join(content.split())
        if dropped := len(content) - len(letters):
            notes.append(f"dropped {dropped} white-space characters in {path.name}")
        content = letters
    yield _encode(content, tokenizer, str(path))


def _encode(content: bytes, tokenizer: Tokenizer, where: str) -> np.ndarray:
    """`tokenizer.encode`, with errors that say where the content stood; HyenaError for content without a token."""
    if isinstance(tokenizer, ByteTokenizer):
        # Eight times smaller than int64: a large text would not fit otherwise.
        return np.frombuffer(content, np.uint8)
    with _located(where):
        ids = tokenizer.encode(content)
    if not len(ids):
        raise HyenaError(f"{where} holds no token for tokenizer {tokenizer.spec!r}; give a file with content")
    return ids


@contextmanager
def _located(where: str) -> Iterator[None]:
    """Put the place in front of the message of a HyenaError."""
    try:
        yield
    except HyenaError as error:
        raise HyenaError(f"{where}: {error}") from error
