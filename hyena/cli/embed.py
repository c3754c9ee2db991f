"""`hyena embed DIR FILE... --out OUT.npz`: one vector for every record, going on where it was killed."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from hyena.cli.parse import parse
from hyena.cli.progress import progress
from hyena.cli.sizes import parse_bytes
from hyena.configs.data import Policy
from hyena.errors import HyenaError

if TYPE_CHECKING:
    from hyena.cli.records import Entry

DESCRIPTION = """\
Hidden states of every record of FASTA files, or of every line of a text, pooled over its tokens: vectors (records, width).

OUT.npz holds `names` and `embeddings`; OUT.npy the vectors alone. What is finished stays in OUT.partial: after it was killed
the same command goes on there, and OUT appears when it is whole."""


@dataclass(frozen=True)
class Arguments:
    """Options of `hyena embed`."""

    directory: Annotated[Path, tyro.conf.Positional]
    """Directory of the model; a classifier's will do."""
    files: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """FASTA files (a record each sequence) or texts (a record each line), plain or compressed."""
    out: Path
    """The .npz or .npy file to write, float32."""
    layer: int | None = None
    """The block whose output is taken, from 0, or from -1 backwards; none given: after the last block and the final norm."""
    pool: Literal["mean", "last", "first", "sum"] = "mean"
    """How the tokens of a record become one vector."""
    max_memory: str = "2G"
    """Bytes beyond the weights to work in: 500M, 2G, ..."""
    soft_mask: Literal["upper", "mask", "keep"] = Policy.soft_mask
    """Lower-case letters of FASTA: upper: upper case; mask: N; keep: as they are (not with the dna tokenizer)."""
    iupac: Literal["error", "n"] = Policy.iupac
    """Ambiguity codes of DNA other than N: error; n: replaced by N."""
    restart: bool = False
    """Begin again, whatever an earlier run left."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda`, ..."""


def run(arguments: list[str]) -> int:
    """Parse, load, embed piece by piece, write."""
    a = parse(Arguments, arguments, "hyena embed", DESCRIPTION)
    import hyena
    from hyena.cli.models import tokenizer_of
    from hyena.cli.records import entries, size_of
    from hyena.cli.work import Work, check_outputs, fingerprint
    from hyena.training.device import device_for

    memory = parse_bytes(a.max_memory, "max_memory")
    if a.out.suffix not in (".npz", ".npy"):
        raise HyenaError(f"out is {a.out}: name a .npz file (names and vectors) or a .npy file (vectors)")
    if not a.files:
        raise HyenaError("no file to embed: name FASTA or text files")
    check_outputs([a.out], a.directory, a.files)
    model = hyena.load(a.directory).to(device_for(a.device))
    tokenizer, policy, total = tokenizer_of(model, a.directory), Policy(a.soft_mask, a.iupac), size_of(a.files)
    options = {"layer": a.layer, "pool": a.pool, "soft_mask": a.soft_mask, "iupac": a.iupac}
    with (
        Work(a.out, fingerprint(model, a.files, options), a.restart, a.out.with_name(f"{a.out.name}.vectors")) as work,
        progress("byte") as line,
    ):
        finished, done = len(work.pieces), 0
        if finished:
            line.note(f"going on after {finished} finished pieces of {a.out}.partial")
        for i, batch in enumerate(batched(entries(a.files, tokenizer, policy))):
            if i >= finished:
                work.append([entry.name for entry in batch], _vectors(model, batch, a.layer, a.pool, memory))
            done += sum(entry.bytes for entry in batch)
            line.update(min(done, total), total)
        names = [name for _, piece in work.pieces for name in piece]
        work.gather(lambda numbers, part: _write(part, names, numbers.reshape(len(names), model.config.width)))
    print(f"{a.out}: {len(names):,} vectors of width {model.config.width}")
    return 0


def batched(records: Any, tokens: int = 2**16) -> Any:
    """Neighbours together while they have up to `tokens` in all."""
    batch: list[Entry] = []
    count = 0
    for entry in records:
        if batch and count + len(entry.ids) > tokens:
            yield batch
            batch, count = [], 0
        batch.append(entry)
        count += len(entry.ids)
    if batch:
        yield batch


def _vectors(model: Any, batch: "list[Entry]", layer: int | None, pool: Any, memory: int) -> Any:
    """Vectors (records, width)."""
    import numpy as np
    import torch

    from hyena.inference import embed

    empty = next((entry.name for entry in batch if not len(entry.ids)), None)
    if empty is not None:
        raise HyenaError(f"record {empty!r} is empty: a record of at least one token has hidden states")
    rows = [torch.from_numpy(entry.ids.astype(np.int64)) for entry in batch]
    found = embed(model, rows, layer, pool, max_memory=memory)
    assert isinstance(found, torch.Tensor)
    return found.float().numpy()


def _write(part: Path, names: list[str], vectors: Any) -> None:
    """The output."""
    import numpy as np

    if part.suffix == ".npy":
        np.save(part, vectors)
    else:
        np.savez(part, names=np.array(names, dtype=np.str_), embeddings=vectors)
