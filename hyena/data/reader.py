"""The one reader: sources to pieces of tokens, about a megabyte at a time, with a border between documents.

A document is a text file, a line of a .jsonl file or a FASTA record. Whoever collects the pieces, in memory or on disk, gets
the same tokens in the same order.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

import numpy as np

from hyena.configs.data import Policy
from hyena.data.dna import Changes, check_policy, fold_case, to_acgtn
from hyena.data.fasta import read_parts
from hyena.data.files import BYTE_ORDER_MARK, reading
from hyena.data.notes import Tally
from hyena.data.sources import Source
from hyena.data.tokenizers import ByteTokenizer, DNATokenizer, FileTokenizer, Tokenizer
from hyena.errors import HyenaError

_BLOCK = 1 << 20
_WHITE = b" \t\n\r\v\f"
Report = Callable[[int, int], None]


@dataclass
class Document:
    """A document while it is read.

    name: the record's name, or the file and line.
    where: the same for messages.
    blocks: its content, cleaned; to be taken once and in order.
    """

    name: str
    where: str
    fasta: bool
    blocks: Iterator[bytes]


class Piece(NamedTuple):
    """Tokens in the order of the corpus.

    source: the number of their source, None for a border between documents.
    begins: the document whose first piece this is.
    """

    source: int | None
    begins: Document | None
    ids: np.ndarray


class Reader:
    """One pass over sources."""

    def __init__(self, sources: Sequence[Source], tokenizer: Tokenizer, policy: Policy, report: Report | None = None):
        """report(bytes_done, bytes_total) counts bytes on disk; HyenaError for a policy that the tokenizer has no use for."""
        check_policy(policy, tokenizer)
        self._sources, self._tokenizer, self._policy = sources, tokenizer, policy
        self._dna = isinstance(tokenizer, DNATokenizer)
        self._tally = Tally()
        self._report, self._done, self._told = report, 0, 0
        self._total = sum(source.bytes for source in sources)
        end = tokenizer.end_of_text if isinstance(tokenizer, FileTokenizer) else None
        self._end_of_text = end
        self.dtype = np.min_scalar_type(tokenizer.vocab_size - 1)

    def pieces(self) -> Iterator[Piece]:
        """Every piece, none of them empty; HyenaError, naming file and place, for what cannot be read or encoded."""
        last: bytes | None = None
        for number, source in enumerate(self._sources):
            documents = 0
            for document in self._documents(source):
                documents += 1
                begun = False
                for block, ids in self._encoded(document):
                    if len(ids) and not begun and last is not None and len(border := self.border(last)):
                        yield Piece(None, None, border)
                    if len(ids):
                        yield Piece(number, None if begun else document, ids.astype(self.dtype, copy=False))
                        begun, last = True, block[-1:]
                if not begun:
                    self._without_token(source, document)
            if not documents:
                self._without_token(source, Document(str(source.path), str(source.path), False, iter(())))
        if self._report is not None:
            self._report(self._total, self._total)

    def notes(self) -> list[str]:
        """What was changed or left out so far, one line a kind."""
        end = self._end_of_text
        return self._tally.lines() + ([f"documents are separated by the tokenizer's {end[0]}"] if end else [])

    def border(self, last: bytes) -> np.ndarray:
        """What stands between two documents, the first of which ends in the byte `last`."""
        if isinstance(self._tokenizer, DNATokenizer):
            return np.array([self._tokenizer.sep_id], self.dtype)
        if self._end_of_text is not None:
            return np.array([self._end_of_text[1]], self.dtype)
        return (self._tokenizer.encode(b"" if last == b"\n" else b"\n")).astype(self.dtype)

    def _encoded(self, document: Document) -> Iterator[tuple[bytes, np.ndarray]]:
        """(content, ids): block by block where letters are tokens, else the whole document, which no border may cut."""
        tokenizer = self._tokenizer
        if isinstance(tokenizer, ByteTokenizer):
            yield from ((block, np.frombuffer(block, np.uint8)) for block in document.blocks)
        elif isinstance(tokenizer, DNATokenizer):
            yield from ((block, tokenizer.letter_ids(block)) for block in document.blocks)
        elif content := b"".join(document.blocks):
            with located(document.where):
                yield content, tokenizer.encode(content)

    def _without_token(self, source: Source, document: Document) -> None:
        """A named file must hold something; an empty line or file in a folder is left out and counted."""
        if source.named and document.where == str(source.path):
            with reading(source.path) as file:
                if not file.read(1):
                    raise HyenaError(f"{source.path} is empty; give a file with content")
            spec = self._tokenizer.spec
            raise HyenaError(f"{source.path} holds no token for tokenizer {spec!r}; give a file with content")
        self._tally.add("empty", source.path)

    def _documents(self, source: Source) -> Iterator[Document]:
        """The documents of a file; each is to be used up before the next is asked for."""
        path = source.path
        if source.kind == "fasta":
            for header, parts in groupby(read_parts(path, self._advance), key=lambda part: part[0]):
                self._tally.add("records", path)
                where = f"{path}, record {header.name!r}"
                letters = (letters for _, letters in parts)
                yield Document(header.name, where, True, self._cleaned(source, where, letters))
        elif source.kind == "jsonl":
            with reading(path, self._advance) as file:
                for number, line in enumerate(file, start=1):
                    if line.strip():
                        where = f"{path}, line {number}"
                        text = _field(line, where, self._policy.text_field)
                        yield Document(f"{path}:{number}", where, False, self._cleaned(source, where, iter([text])))
        else:
            yield Document(str(path), str(path), False, self._cleaned(source, str(path), self._blocks(source)))

    def _blocks(self, source: Source) -> Iterator[bytes]:
        with reading(source.path, self._advance) as file:
            if (head := file.read(len(BYTE_ORDER_MARK))) == BYTE_ORDER_MARK:
                self._tally.add("mark", source.path)
                head = b""
            while block := head + file.read(_BLOCK):
                head = b""
                yield block

    def _cleaned(self, source: Source, where: str, blocks: Iterator[bytes]) -> Iterator[bytes]:
        """The blocks of one document by the policy: DNA for the DNA tokenizer, letters for FASTA, any other text as it is."""
        fasta = source.kind == "fasta"
        if not fasta and not self._dna:
            yield from blocks
            return
        first = 1
        for block in blocks:
            letters = block if fasta else block.translate(None, _WHITE)
            self._tally.add("white", source.path, len(block) - len(letters))
            if self._dna or self._policy.soft_mask == "mask":
                with located(where):
                    clean, changes = to_acgtn(letters, self._policy, first)
            else:
                clean, changes = fold_case(letters, self._policy)
            self._count(source, changes)
            first += len(clean)
            yield clean

    def _count(self, source: Source, changes: Changes) -> None:
        self._tally.add("mask" if self._policy.soft_mask == "mask" else "upper", source.path, changes.lower)
        self._tally.add("uracil", source.path, changes.uracil)
        self._tally.add("ambiguous", source.path, changes.ambiguous)

    def _advance(self, count: int) -> None:
        """`count` more bytes were taken from disk."""
        self._done += count
        if self._report is not None and self._done - self._told >= _BLOCK:
            self._told = self._done
            self._report(min(self._done, self._total), self._total)


@contextmanager
def located(where: str) -> Iterator[None]:
    """Put the place in front of the message of a HyenaError."""
    try:
        yield
    except HyenaError as error:
        raise HyenaError(f"{where}: {error}") from error


def _field(line: bytes, where: str, key: str) -> bytes:
    """The text of one line of a .jsonl file, in UTF-8."""
    try:
        values = json.loads(line)
    except (ValueError, RecursionError) as error:
        reason = str(error).splitlines()[0]
        raise HyenaError(f"{where} is not valid JSON ({reason}); a .jsonl file holds one object a line") from None
    if not isinstance(values, dict):
        raise HyenaError(f"{where} holds no object but a {type(values).__name__}; a line must look like {{{key!r}: '...'}}")
    if key not in values:
        has = ", ".join(map(repr, list(values)[:8])) or "none"
        raise HyenaError(
            f"{where} has no key {key!r}, its keys: {has}; name the one with the text by --text-field (text_field)"
        )
    if not isinstance(values[key], str):
        raise HyenaError(
            f"{where}: the key {key!r} holds no text but a {type(values[key]).__name__}; name another as text_field"
        )
    try:
        return values[key].encode()
    except UnicodeEncodeError as error:
        bad = ascii(values[key][error.start])
        raise HyenaError(
            f"{where}: {bad} at character {error.start + 1} of {key!r} is half a surrogate pair; mend it"
        ) from None
