"""`hyena bench markov --data FILE [--orders 0 1 2 ...] [--mix] [--json]`."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from hyena.cli.parse import parse
from hyena.cli.progress import progress
from hyena.configs.data import Policy

if TYPE_CHECKING:
    from hyena.data import Tokenizer

DESCRIPTION = """\
Nats per token of a corpus' end under tables of counts of its beginning: what a model has to beat.

The split is that of training: the last valid_fraction of the tokens is held out. --mix adds the stronger baseline."""


@dataclass(frozen=True)
class Arguments:
    """Options of `hyena bench markov`."""

    data: tuple[Path, ...]
    """Text or FASTA files, plain or compressed, folders of them, and prepared tokens, joined in this order."""
    orders: tuple[int, ...] = (0, 1, 2, 3, 4, 5, 6, 8)
    """Tokens of context; each order is a model of its own."""
    valid_fraction: float = 0.1
    """Fraction of the tokens held out from the end, as in training."""
    tokenizer: str | None = None
    """`dna`, `bytes` or `file:NAME`; none given: that of prepared tokens, dna where the first file is FASTA, else bytes."""
    soft_mask: Literal["upper", "mask", "keep"] = Policy.soft_mask
    """Lower-case letters of DNA and FASTA: upper: upper case; mask: N; keep: as they are (not with the dna tokenizer)."""
    iupac: Literal["error", "n"] = Policy.iupac
    """Ambiguity codes of DNA other than N: error; n: replaced by N and counted."""
    text_field: str = Policy.text_field
    """The key of a .jsonl line that holds its text."""
    smoothing: float = 1.0
    """Added to each count, over the symbols that occur in the data."""
    mix: bool = False
    """Report also the mixture of all orders up to each: the estimate of an order is the prior of the next."""
    json: bool = False
    """Print one JSON object."""


def run(arguments: list[str]) -> int:
    """Parse, count, print."""
    a = parse(Arguments, arguments, "hyena bench markov", DESCRIPTION)
    from hyena.bench.markov import markov
    from hyena.data import load_corpus

    tokenizer = _tokenizer(a)
    spec = a.tokenizer or tokenizer.spec
    corpus = load_corpus(a.data, tokenizer, Policy(a.soft_mask, a.iupac, a.text_field))
    with progress("order") as line:
        for note in corpus.notes:
            line.note(note)
        found = markov(corpus, a.orders, a.valid_fraction, a.smoothing, a.mix, line.update)
    if a.json:
        print(json.dumps({"data": corpus.source, "tokenizer": spec, "valid_fraction": a.valid_fraction} | asdict(found)))
        return 0
    print(
        f"{found.trained_tokens:,} tokens counted, {found.tokens:,} predicted, {found.symbols} symbols, tokenizer {spec}, "
        f"smoothing {a.smoothing:g}"
    )
    print("order    contexts  nats/token  bits/token" + ("  mixture: nats/token  bits/token  concentration" if a.mix else ""))
    for o in found.orders:
        row = f"{o.order:>5}  {o.contexts:>10,}  {o.nats_per_token:>10.4f}  {o.bits_per_token:>10.4f}"
        if o.mix_nats_per_token is not None:
            row += f"  {o.mix_nats_per_token:>19.4f}  {o.mix_bits_per_token:>10.4f}  {o.concentration:>13g}"
        print(row)
    return 0


def _tokenizer(a: Arguments) -> "Tokenizer":
    """The tokenizer that is named, else the one that the first source asks for."""
    from hyena.data import load_tokenizer, open_tokens
    from hyena.data.sources import find_sources

    if a.tokenizer:
        return load_tokenizer(a.tokenizer)
    first = find_sources(a.data)[0][0]
    if first.kind == "prepared":
        return open_tokens(first.path).tokenizer
    return load_tokenizer("dna" if first.kind == "fasta" else "bytes")
