"""Distil a trained run by several orders and heads; write reports/distill.{json,md} and docs/images/distill.png.

python benchmarks/distill.py runs/demo
"""

import argparse
import json
import shlex
import sys
import time
from pathlib import Path
from typing import Any

import machine
import torch

import hyena
from hyena.bench.distillation_plot import draw_distillation
from hyena.cli.progress import progress
from hyena.data import corpora
from hyena.inference.distillation import DistillationReport, distill
from hyena.models import LanguageModel
from hyena.training.files import write_atomically
from hyena.training.record import TOKENS, recorded

ORDERS, HEADS = (4, 8, 16, 32), (0, 16, 64)
BAR, BAR_ORDER = 0.01, 16
"""Nats per token that a distilled demonstration of this order may lose."""


def main() -> None:
    """Distil, compare on all that the run held out, report."""
    a = arguments()
    model = hyena.load(a.run)
    assert isinstance(model, LanguageModel), "a language model is needed"
    run = recorded(a.run)
    tokens = corpora(run.data, hyena.data.load_tokenizer(run.spec), a.run / TOKENS)[1].tokens
    length = model.config.max_length + 1
    count = min(a.windows or len(tokens), len(tokens) // length)
    ids = torch.from_numpy(tokens[: count * length].astype("int64")).view(count, length)
    rows, drawn = [], None
    for order in a.orders:
        for head in a.heads:
            began = time.perf_counter()
            with progress(f"order {order}, head {head}: filter") as line:
                found = distill(
                    model,
                    order,
                    head,
                    ids=ids,
                    report=lambda what, *at, line=line: line.update(*at) if what == "filter" else None,
                ).report
            rows.append(row(found, time.perf_counter() - began))
            print(f"order {order:>2}  head {head:>2}  change {rows[-1]['predictions']['change']:+.6f}", flush=True)
            if order == BAR_ORDER and head == (16 if 16 in a.heads else a.heads[-1]):
                drawn = draw_distillation(found, a.images / "distill.png", a.run.name)
    facts: dict[str, Any] = machine.facts(shlex.join(["python", "benchmarks/distill.py", *sys.argv[1:]]))
    facts |= {"threads": torch.get_num_threads(), "run": a.run.name, "windows": count, "positions": length - 1, "rows": rows}
    facts |= {"files": [Path(file).name for file in run.data.valid_files or run.data.files]}
    write_atomically(a.out / "distill.json", lambda part: part.write_text(json.dumps(facts, indent=1, allow_nan=False) + "\n"))
    write_atomically(a.out / "distill.md", lambda part: part.write_text(markdown(facts, drawn is not None)))


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="directory of a finished run, such as that of `hyena demo`")
    parser.add_argument("--orders", type=int, nargs="+", default=ORDERS)
    parser.add_argument("--heads", type=int, nargs="+", default=HEADS)
    parser.add_argument("--windows", type=int, help="windows to compare on; none given: all that was held out")
    parser.add_argument("--out", type=Path, default=Path("reports"))
    parser.add_argument("--images", type=Path, default=Path("docs/images"))
    return parser.parse_args()


def row(found: DistillationReport, seconds: float) -> dict[str, Any]:
    """What the report keeps of one distillation; of the windows' files their names alone."""
    values = found.to_dict() | {"seconds": round(seconds, 1)}
    return {key: value for key, value in values.items() if key not in ("bins", "source")}


def markdown(facts: dict[str, Any], drawn: bool) -> str:
    """The report."""
    rows = facts["rows"]
    first = rows[0]
    judged = [r for r in rows if r["order"] == BAR_ORDER and r["head"]]
    worst = max((r["predictions"]["change"] for r in judged), default=None)
    verdict = "" if worst is None else (
        f"The bar for order {BAR_ORDER} and a head is a change of the loss below {BAR} nats per token: "
        f"**{'met' if worst < BAR else 'missed'}**, {worst:+.6f} at worst. "
    )  # fmt: skip
    picture = "![errors and divergences](../docs/images/distill.png)\n\n" if drawn else ""
    what = (
        f"The run `{facts['run']}`, compared on {facts['windows']:,} windows of {facts['positions']} tokens that its training "
        f"held out of {', '.join(facts['files'])}; loss before {first['predictions']['loss']:.4f} nats per token. {verdict}"
        "Columns: change of the loss and KL(original || distilled) in nats per token over all positions, the same over "
        "positions past the head (where the modes are heard), and of the same head without modes; the largest error of any "
        "filter of any layer as a fraction of its norm, the median in brackets; bytes of a sequence's state at any length "
        f"({first['original_state_bytes']:,} before, at {first['max_length']} tokens); filters whose reach (99 % of the "
        "energy) is shorter than it was, and by how many lags at most.\n\n"
    )
    return (
        f"# Distillation of a trained model\n\n{machine.sentence(facts)} {machine_threads(facts)}\n\n{what}"
        "| order | head | change | KL | change past the head | KL | head alone: change | KL | worst filter (median) | state | "
        "reach shorter | seconds |\n|---|---|---|---|---|---|---|---|---|---|---|---|\n"
        + "".join(map(line, rows))
        + f"\n{picture}Reproduce: `hyena demo --directory runs/demo`, then the command above. Training differs in its last "
        "bits from machine to machine, and these figures with it.\n"
    )


def machine_threads(facts: dict[str, Any]) -> str:
    """With how many threads it ran."""
    return f"{facts['threads']} thread{'' if facts['threads'] == 1 else 's'}."


def line(r: dict[str, Any]) -> str:
    """A row of the table."""
    p, past = r["predictions"], r["past_head"] or r["predictions"]
    layers = r["layers"]
    filters, shorter = (sum(f(layer) for layer in layers) for f in (lambda a: a["filters"], lambda a: a["reach"]["shorter"]))
    most = max(layer["reach"]["most"] for layer in layers)
    worst, median = (max(layer["error"][part] for layer in layers) for part in ("maximum", "median"))
    close = f"{worst:.1e} ({median:.0e})"
    return (
        f"| {r['order']} | {r['head']} | {p['change']:+.6f} | {p['divergence']:.1e} | {past['change']:+.6f} | "
        f"{past['divergence']:.1e} | {p['head_alone_change']:+.4f} | {p['head_alone_divergence']:.1e} | {close} | "
        f"{r['state_bytes']:,} | {f'{shorter} of {filters}, {most:.0f}' if shorter else 'none'} | {r['seconds']:.0f} |\n"
    )


if __name__ == "__main__":
    main()
