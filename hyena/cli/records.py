"""The records of files that are scored and embedded: those of FASTA, or the lines of a text."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hyena.configs.data import Policy
from hyena.data import ByteTokenizer, DNATokenizer, Tokenizer, is_fasta, read_fasta
from hyena.data.dna import check_policy, fold_case, to_acgtn
from hyena.data.fasta import read_parts
from hyena.data.files import reading
from hyena.data.reader import located
from hyena.errors import HyenaError


class Entry(NamedTuple):
    """One record: its name (that of FASTA, or FILE:LINE), its tokens (L,), and how many bytes of text they were."""

    name: str
    ids: np.ndarray
    bytes: int


def size_of(paths: tuple[Path, ...]) -> int:
    """Bytes of text in all records, for the time to go; also the first look at every file."""
    total = 0
    for path in paths:
        if path.suffix == ".jsonl":
            raise HyenaError(f"{path} is .jsonl, which is not read here: write its texts to a file, one a line")
        if is_fasta(path):
            total += sum(len(letters) for _, letters in read_parts(path))
        else:
            with reading(path) as file:
                while block := file.read(1 << 20):
                    total += len(block)
    return total


def entries(paths: tuple[Path, ...], tokenizer: Tokenizer, policy: Policy) -> Iterator[Entry]:
    """All records of all files, one in memory at a time; `HyenaError` with file and record for what cannot be read."""
    check_policy(policy, tokenizer)
    for path in paths:
        if is_fasta(path):
            for record in read_fasta(path):
                with located(f"{path}, record {record.name!r}"):
                    dna = isinstance(tokenizer, DNATokenizer) or policy.soft_mask == "mask"
                    letters, _ = to_acgtn(record.sequence, policy) if dna else fold_case(record.sequence, policy)
                    yield Entry(record.name, _compact(letters, tokenizer), len(record.sequence))
        else:
            with reading(path) as file:
                for number, line in enumerate(file, 1):
                    with located(f"{path}, line {number}"):
                        yield Entry(f"{path.name}:{number}", _compact(line.rstrip(b"\r\n"), tokenizer), len(line))


def _compact(text: bytes, tokenizer: Tokenizer) -> np.ndarray:
    """Ids in an eighth of the memory where they fit bytes: a chromosome is long."""
    if isinstance(tokenizer, ByteTokenizer):
        return np.frombuffer(text, np.uint8)
    if isinstance(tokenizer, DNATokenizer):
        ids = tokenizer.letter_ids(text)
        return tokenizer.encode(text) if len(ids) and int(ids.max()) >= tokenizer.vocab_size else ids
    return tokenizer.encode(text).astype(np.int32)
