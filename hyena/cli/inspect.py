"""`hyena inspect DIR [--data FILE] [--out PLACE] [--json]`: what is inside a model, in numbers, sentences and a picture."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from hyena.cli.outputs import NO_PICTURE, beside, write_json
from hyena.cli.parse import parse
from hyena.cli.progress import progress
from hyena.configs.data import Policy
from hyena.errors import HyenaError

if TYPE_CHECKING:
    import torch

    from hyena.bench.inspect import Inspection, Layer
    from hyena.models import Classifier, LanguageModel

DESCRIPTION = """\
Seeing inside a model: the reach and decay of its long filters, its short convolutions and skips, the norms of what flows.

Writes inspect.json and inspect.png, prints a line a layer and what is unusual. docs/inspect.md explains the numbers."""


@dataclass(frozen=True)
class Arguments:
    """Options of `hyena inspect`."""

    directory: Annotated[Path, tyro.conf.Positional]
    """Directory of the model; a classifier's will do."""
    data: tuple[Path, ...] = ()
    """Text or FASTA files, folders or prepared tokens to measure the norms on; none given: random legal tokens."""
    soft_mask: Literal["upper", "mask", "keep"] = Policy.soft_mask
    """Lower-case letters of DNA and FASTA: upper: upper case; mask: N; keep: as they are (not with the dna tokenizer)."""
    iupac: Literal["error", "n"] = Policy.iupac
    """Ambiguity codes of DNA other than N: error; n: replaced by N and counted."""
    text_field: str = Policy.text_field
    """The key of a .jsonl line that holds its text."""
    out: Path | None = None
    """A directory for inspect.json and inspect.png, or their path without the ending; none given: the model's directory."""
    windows: int = 4
    """Windows to measure the norms on, evenly spread over the data."""
    length: int | None = None
    """Tokens of a window; none given: the model's max_length, at most 4096."""
    json: bool = False
    """Print the content of inspect.json in place of the table."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda`, ..."""


def run(arguments: list[str]) -> int:
    """Parse, load, measure, write, print."""
    a = parse(Arguments, arguments, "hyena inspect", DESCRIPTION)
    import hyena
    from hyena.bench.inspect import inspect
    from hyena.bench.plots import draw_inspection
    from hyena.bench.unusual import unusual
    from hyena.training.device import device_for

    model = hyena.load(a.directory).to(device_for(a.device))
    ids, source, notes = _ids(model, a)
    numbers, picture = beside(a.out or a.directory, "inspect")
    with progress("layer") as line:
        for note in notes:
            line.note(note)
        found = inspect(model, ids, source, lambda what, done, total: line.update(done, total) if what == "layer" else None)
    sentences = unusual(found)
    values = {"directory": str(a.directory)} | found.to_dict() | {"unusual": sentences}
    write_json(numbers, values)
    drawn = draw_inspection(found, picture, a.directory.resolve().name)
    if a.json:
        print(json.dumps(values, allow_nan=False))
        return 0
    print(table(found))
    print("\nunusual:" + ("" if sentences else " nothing"))
    for sentence in sentences:
        print(f"  - {sentence}")
    print(f"\nnumbers: {numbers}\npicture: {drawn or NO_PICTURE}")
    return 0


def table(found: "Inspection") -> str:
    """A line a layer; root mean squares of stream, mixer and MLP, reach in tokens."""
    head = (
        f"{found.kind}, {found.parameters:,} parameters ({found.dtype}), width {found.width}, max_length {found.max_length:,}"
    )
    norms = f"norms: root mean squares on {found.windows} windows of {found.length:,} tokens of {found.source}"
    columns = (
        "layer  mixer                             stream    mixer      MLP   reach: median    from .. to   |filter|   |skip|"
    )
    return "\n".join([head, norms, "", columns, *map(_row, found.layers)])


def _row(layer: "Layer") -> str:
    """One line of the table."""
    n, f = layer.norms, layer.filters
    start = f"{layer.index:>5}  {layer.letter} {layer.mixer:<31} {n.stream:>7.3g}  {n.mixer:>7.3g}  {n.mlp:>7.3g}"
    if f is None:
        return f"{start}   no long filters"
    if f.reach is None or f.norm is None:
        return f"{start}   no filter with a reach"
    reach = f"{f.reach.median:>13,.0f}  {f'{f.reach.minimum:,.0f} .. {f.reach.maximum:,.0f}':>14}"
    return f"{start}   {reach}  {f.norm.median:>9.3g}  {'none' if layer.skip is None else format(layer.skip.median, '.3g'):>7}"


def _ids(model: "LanguageModel | Classifier", a: Arguments) -> tuple["torch.Tensor", str, tuple[str, ...]]:
    """Ids (windows, length), where they are from, and notes on the data; windows evenly spread over it."""
    import numpy as np
    import torch

    from hyena.bench.inspect import random_ids, window_length
    from hyena.cli.models import tokenizer_of
    from hyena.data import load_corpus

    for name in ("windows", "length"):
        if (value := vars(a)[name]) is not None and value < 1:
            raise HyenaError(f"{name} is {value}; pass at least 1")
    if not a.data:
        return random_ids(model.config, a.windows, a.length), "random legal ids (no --data given)", ()
    corpus = load_corpus(a.data, tokenizer_of(model, a.directory), Policy(a.soft_mask, a.iupac, a.text_field))
    length = min(window_length(model.config, a.length), len(corpus))
    windows = min(a.windows, len(corpus) // length)
    starts = np.linspace(0, len(corpus) - length, windows).astype(np.int64).tolist()
    ids = np.stack([corpus.tokens[start : start + length] for start in starts]).astype(np.int64)
    return torch.from_numpy(ids), corpus.source, corpus.notes
