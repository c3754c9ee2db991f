"""Files to one long sequence of tokens, with what is known of its documents and sources, and notes on all that was changed.

No shuffling and no padding: documents follow one another with a border between them, and windows of the tokens are cut by
`hyena.data.loader`. `read_corpus` keeps them in memory, `hyena.data.shards` on disk.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from hyena.configs.data import Policy
from hyena.data.reader import Reader
from hyena.data.sources import Source, find_sources
from hyena.data.tokenizers import DNATokenizer, Tokenizer
from hyena.data.tokens import Tokens, cut, little_endian, new_digest
from hyena.errors import HyenaError

LISTED = 100_000


class Span(NamedTuple):
    """Where a document lies in a corpus: its first token and how many there are.

    fasta: it is a FASTA record; then digest is that of its tokens, else empty.
    """

    name: str
    start: int
    tokens: int
    fasta: bool
    digest: str = ""


class SourceFile(NamedTuple):
    """A file that was read: its path, its size on disk, and the digest of its tokens, empty where it has none."""

    path: str
    bytes: int
    digest: str


@dataclass(frozen=True)
class Contents:
    """What a corpus is made of.

    digest: of all tokens; the same for the same tokens however they are stored.
    count: of the documents; documents and sources list them, or nothing where there are more than 100,000.
    """

    digest: str
    count: int
    documents: tuple[Span, ...] = ()
    sources: tuple[SourceFile, ...] = ()


# Arrays have no truth value as a whole, so a generated == could only fail.
@dataclass(frozen=True, eq=False)
class Corpus:
    """Tokens and where they came from.

    tokens: shape (L,), the smallest unsigned type that holds the vocabulary: an array, or `Tokens` where they are on disk.
    tokenizer: what made them.
    source: the files, in order.
    notes: one line for each thing changed or left out, to be shown to the user.
    contents: documents and sources; None for a part of a corpus.
    """

    tokens: Any
    tokenizer: Tokenizer
    source: str
    notes: tuple[str, ...] = ()
    contents: Contents | None = field(default=None, repr=False)

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
        train, held_out = cut(self.tokens, 0, border), cut(self.tokens, border, len(self))
        return (
            Corpus(train, self.tokenizer, self.source, self.notes),
            Corpus(held_out, self.tokenizer, self.source, self.notes),
        )


def join(parts: Sequence[Corpus]) -> Corpus:
    """Corpora of one tokenizer one after the other, with a border between them; nothing is copied."""
    if len(parts) == 1:
        return parts[0]
    tokens: list[Tokens | np.ndarray] = []
    documents: list[Span] = []
    sources: list[SourceFile] = []
    start = count = 0
    listed = True
    for part in parts:
        border = _border(part, tokens[-1] if tokens else None)
        tokens.append(border)
        tokens.append(Tokens([part.tokens], part.contents.digest) if part.contents and not _on_disk(part) else part.tokens)
        start += len(border)
        if part.contents is not None:
            documents += [span._replace(start=span.start + start) for span in part.contents.documents]
            sources += part.contents.sources
            count += part.contents.count
            listed = listed and len(part.contents.documents) == part.contents.count
        start += len(part)
    whole = Tokens.join(tokens)
    contents = Contents(whole.digest, count, tuple(documents) if listed else (), tuple(sources))
    notes = tuple(dict.fromkeys(note for part in parts for note in part.notes))
    return Corpus(whole, parts[0].tokenizer, ", ".join(part.source for part in parts), notes, contents)


def _on_disk(part: Corpus) -> bool:
    return isinstance(part.tokens, Tokens)


def _border(part: Corpus, before: Any) -> np.ndarray:
    """What stands between a corpus and the tokens before it, of the dtype of its tokens."""
    dtype = part.tokens.dtype
    if before is None:
        return np.empty(0, dtype)
    last = b"" if isinstance(part.tokenizer, DNATokenizer) else part.tokenizer.decode(before[len(before) - 1 :])[-1:].encode()
    return Reader([], part.tokenizer, Policy()).border(last).astype(dtype)


def read_corpus(paths: Sequence[str | Path], tokenizer: Tokenizer, policy: Policy) -> Corpus:
    """Files and folders, none of them prepared, as a corpus in one array."""
    sources, notes = find_sources(paths)
    reader = Reader(sources, tokenizer, policy)
    content = bytearray()  # grows in place: joining pieces at the end would take twice the memory
    contents = collect(reader, sources, lambda ids: content.extend(ids.tobytes()))
    tokens = np.frombuffer(content, reader.dtype)
    return Corpus(tokens, tokenizer, name_of(sources), (*notes, *reader.notes()), contents)


def name_of(sources: Sequence[Source]) -> str:
    """The files for messages: all of a few, the first and the number of many."""
    names = [str(source.path) for source in sources]
    return ", ".join(names) if len(names) <= 8 else f"{names[0]} and {len(names) - 1} more files"


def collect(reader: Reader, sources: Sequence[Source], write: Callable[[np.ndarray], object]) -> Contents:
    """Hand every piece of a reader to `write`, in order, and say what they were. HyenaError where there is no token."""
    whole, own = new_digest(reader.dtype), new_digest(reader.dtype)
    of_source = [hashlib.sha256() for _ in sources]  # of the digests of its documents
    nothing = hashlib.sha256().hexdigest()
    documents: list[Span] = []
    open_document: tuple[int, Span] | None = None
    place = count = 0

    def close() -> None:
        if open_document is not None:
            number, span = open_document
            of_source[number].update(own.digest())
            if count <= LISTED:
                documents.append(span._replace(digest=own.hexdigest() if span.fasta else ""))

    for source, begins, ids in reader.pieces():
        if source is not None and begins is not None:
            close()
            own, count = new_digest(reader.dtype), count + 1
            open_document = source, Span(begins.name, place, 0, begins.fasta)
        write(ids)
        content = little_endian(ids)
        whole.update(content)
        place += len(ids)
        if source is not None and open_document is not None:
            own.update(content)
            open_document = source, open_document[1]._replace(tokens=open_document[1].tokens + len(ids))
    close()
    if not place:
        raise HyenaError(f"{name_of(sources)} holds no token; give files with content")
    files = (
        SourceFile(str(source.path.resolve()), source.bytes, "" if (found := digest.hexdigest()) == nothing else found)
        for source, digest in zip(sources, of_source, strict=True)
    )
    listed = tuple(documents) if count <= LISTED else ()
    return Contents(whole.hexdigest(), count, listed, tuple(files) if len(sources) <= LISTED else ())
