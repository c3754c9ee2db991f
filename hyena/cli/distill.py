"""`hyena distill DIR OUT --order S [--head K] | --tolerance T`: a model with O(1) steps, and how close it is."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from hyena.cli.outputs import NO_PICTURE, write_json
from hyena.cli.parse import parse
from hyena.cli.progress import Line, progress
from hyena.configs.data import Policy
from hyena.errors import HyenaError

if TYPE_CHECKING:
    import torch

    from hyena.data import Corpus
    from hyena.inference.distillation import DistillationReport
    from hyena.inference.distillation.report import Predictions
    from hyena.models import Classifier, LanguageModel

DESCRIPTION = """\
Replace the long implicit filters of a model (letter H) by an exact head and a few damped oscillations: every further token then
costs the same time and memory. OUT is an ordinary model, with distill.json and distill.png beside it: how close the filters
are, and what the difference does to the predictions, also past the head alone and beside the head without its tail."""


@dataclass(frozen=True)
class Arguments:
    """Options of `hyena distill`."""

    directory: Annotated[Path, tyro.conf.Positional]
    """Directory of the model."""
    out: Annotated[Path, tyro.conf.Positional]
    """Directory to write, which must not be there yet."""
    order: int | None = None
    """Complex poles of a filter; 16 is a good start."""
    head: int = 0
    """Leading taps that are kept as they are."""
    tolerance: float | None = None
    """In place of an order: the smallest one for which no filter is off by more than this fraction of its norm."""
    data: tuple[Path, ...] = ()
    """Files to compare predictions on; none given: what the model's own training held out, where it is still there."""
    last: float | None = None
    """Only this last fraction of the data's tokens."""
    soft_mask: Literal["upper", "mask", "keep"] = Policy.soft_mask
    """Lower-case letters of DNA and FASTA: upper: upper case; mask: N; keep: as they are (not with the dna tokenizer)."""
    iupac: Literal["error", "n"] = Policy.iupac
    """Ambiguity codes of DNA other than N: error; n: replaced by N and counted."""
    text_field: str = Policy.text_field
    """The key of a .jsonl line that holds its text."""
    windows: int = 64
    """Windows to compare on, evenly spread over the data."""
    length: int | None = None
    """Tokens of a window; none given: the model's max_length, at most 4096."""
    steps: int | None = None
    """Steps by which the poles are refined; 0 leaves them as the Hankel matrix gives them; none given: 30."""
    json: bool = False
    """Print the content of distill.json in place of the table."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda`, ... for the comparison; filters are always fitted on the CPU, in float64."""


def run(arguments: list[str]) -> int:
    """Parse, load, distil, write, print."""
    a = parse(Arguments, arguments, "hyena distill", DESCRIPTION)
    import hyena
    from hyena.bench.distillation_plot import draw_distillation
    from hyena.checkpoints.files import new_directory
    from hyena.inference.distillation import distill
    from hyena.inference.distillation.fit import STEPS
    from hyena.training.device import device_for

    if a.out.exists() or a.out.is_symlink():
        raise HyenaError(f"{a.out} already exists: remove it, or name another directory")
    if a.steps is not None and a.steps < 0:
        raise HyenaError(f"steps is {a.steps}: use 0 for no refinement")
    model = hyena.load(a.directory).to(device_for(a.device))
    with progress("filter") as line, new_directory(a.out, False) as part:
        ids, source = _ids(model, a, line)
        lines: dict[str, Line] = {"filter": line}

        def tell(what: str, done: int, total: int) -> None:
            lines.setdefault(what, line.another(what)).update(done, total)

        steps = STEPS if a.steps is None else a.steps
        new, found = distill(model, a.order, a.head, a.tolerance, ids, source, steps, tell)
        new.save(part)
        values = {"directory": str(a.directory), "out": str(a.out)} | found.to_dict() | {"sentences": found.sentences()}
        write_json(part / "distill.json", values)
        drawn = draw_distillation(found, part / "distill.png", a.directory.resolve().name)
    if a.json:
        print(json.dumps(values, allow_nan=False))
        return 0
    print(table(found))
    picture = NO_PICTURE if drawn is None else a.out / "distill.png"
    print(f"\nmodel: {a.out}\nnumbers: {a.out / 'distill.json'}\npicture: {picture}")
    return 0


def table(found: "DistillationReport") -> str:
    """A line a layer, then the predictions, then what a user should know."""
    poles = f"{found.order} poles" if found.order > 1 else "1 pole"
    wanted = "" if found.tolerance is None else f", the fewest for a tolerance of {found.tolerance:g}"
    lines = [
        f"head of {found.head} taps and {poles} a filter{wanted}; state of a sequence: {found.state_bytes:,} bytes, "
        f"{found.original_state_bytes:,} before, at {found.max_length:,} tokens",
        "",
        "error over a filter's norm     distilled: median      worst    head alone: median      worst    "
        "reach: before   after   head",
    ]
    for layer in found.layers:
        needs = "" if layer.smallest_order is None else f" (needs {layer.smallest_order})"
        name = f"layer {layer.index}, {layer.filters:,} filters{needs}"
        lines.append(
            f"{name:<40}{layer.error.median:>9.2g}  {layer.error.maximum:>9.2g}"
            f"{layer.head_alone.median:>22.2g}  {layer.head_alone.maximum:>9.2g}"
            f"{layer.reach.original:>18,.0f}  {layer.reach.distilled:>6,.0f}  {layer.reach.head_alone:>5,.0f}"
        )
    if found.predictions is not None:
        lines += ["", f"nats per token on {found.windows} windows of {found.source}"]
        lines.append(f"{'':<30}{'loss':>8}{'change':>12}{'KL':>10}{'head alone: change':>24}{'KL':>10}")
        lines.append(_row(f"all {found.predictions.positions:,} positions", found.predictions))
        if found.past_head is not None and found.head:
            lines.append(_row(f"{found.past_head.positions:,} positions past the head", found.past_head))
    lines += ["", *(f"note: {sentence}" for sentence in found.sentences())]
    return "\n".join(lines).rstrip()


def _row(name: str, p: "Predictions") -> str:
    """One line of the predictions."""
    return (
        f"{name:<30}{p.loss:>8.4f}{p.change:>+12.6f}{p.divergence:>10.2g}"
        f"{p.head_alone_change:>+24.6f}{p.head_alone_divergence:>10.2g}"
    )


def _ids(model: "LanguageModel | Classifier", a: Arguments, line: Line) -> tuple["torch.Tensor | None", str]:
    """Windows (windows, length + 1) evenly spread over the data, and where they are from; None where there is none."""
    import numpy as np
    import torch

    from hyena.bench.inspect import window_length
    from hyena.models import LanguageModel

    for name in ("windows", "length"):
        if (value := vars(a)[name]) is not None and value < 1:
            raise HyenaError(f"{name} is {value}; pass at least 1")
    corpus = _corpus(model, a, line) if isinstance(model, LanguageModel) or a.data else None
    if corpus is None:
        return None, ""
    for note in corpus.notes:
        line.note(note)
    length = min(window_length(model.config, a.length) + 1, len(corpus))
    windows = min(a.windows, len(corpus) // length)
    starts = np.linspace(0, len(corpus) - length, windows).astype(np.int64).tolist()
    ids = np.stack([corpus.tokens[start : start + length] for start in starts]).astype(np.int64)
    return torch.from_numpy(ids), corpus.source


def _corpus(model: "LanguageModel | Classifier", a: Arguments, line: Line) -> "Corpus | None":
    """The data named, or what the run in the model's directory held out; None where there is neither."""
    from hyena.cli.models import tokenizer_of
    from hyena.data import corpora, load_corpus
    from hyena.training.record import RUN, TOKENS, recorded

    if a.data:
        corpus = load_corpus(a.data, tokenizer_of(model, a.directory), Policy(a.soft_mask, a.iupac, a.text_field))
        return corpus if a.last is None else corpus.split(a.last)[1]
    if a.last is not None:
        raise HyenaError("last is a fraction of the data, and no --data is given: name the files, or leave it out")
    if not (a.directory / RUN).is_file() or (data := recorded(a.directory).data).recall is not None:
        return None
    kept = a.directory / TOKENS
    try:
        return corpora(data, tokenizer_of(model, a.directory), kept if kept.is_dir() else None)[1]
    except HyenaError as error:
        line.note(f"what {a.directory} was validated on cannot be read ({error}): pass --data to compare predictions")
        return None
