"""`hyena prepare FILES --out DIR --tokenizer dna`: tokens once on disk, for many runs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from hyena.cli.parse import parse
from hyena.cli.progress import progress
from hyena.configs.data import Policy

DESCRIPTION = """\
Read text and FASTA files, plain or compressed, and folders of them into a directory of tokens, which is then named among
data.files of a training in place of the files."""


@dataclass(frozen=True)
class Arguments:
    """Options of `hyena prepare`."""

    files: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Text, .jsonl and FASTA files, plain or compressed, and folders."""
    out: Path
    """Directory to make; it must not hold anything."""
    tokenizer: str = "bytes"
    """`bytes`, `dna` or `file:NAME` (a tokenizer.json)."""
    soft_mask: Literal["upper", "mask", "keep"] = Policy.soft_mask
    """Lower-case letters of DNA and FASTA: upper: upper case; mask: N; keep: as they are (not with the dna tokenizer)."""
    iupac: Literal["error", "n"] = Policy.iupac
    """Ambiguity codes of DNA other than N: error; n: replaced by N and counted."""
    text_field: str = Policy.text_field
    """The key of a .jsonl line that holds its text."""


def run(arguments: list[str]) -> int:
    """Parse, write the tokens, print what they are."""
    a = parse(Arguments, arguments, "hyena prepare", DESCRIPTION)
    from hyena.data import load_tokenizer, prepare

    policy = Policy(a.soft_mask, a.iupac, a.text_field)
    with progress("byte") as line:
        corpus = prepare(a.files, load_tokenizer(a.tokenizer), a.out, policy, line.update)
        for note in corpus.notes:
            line.note(note)
    print(f"tokens     {len(corpus)}")
    print(f"documents  {corpus.contents.count if corpus.contents else 0}")
    print(f"digest     {corpus.tokens.digest}")
    print(f'name it in a training: files = ["{a.out}"]')
    return 0
