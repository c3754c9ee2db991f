"""Full forward against chunks against odd random chunks, at length; writes reports/chunks.{json,md}.

    python benchmarks/chunks.py                     # some minutes and some 15 GB
    python benchmarks/chunks.py --length 16384      # a look

The model has the shape of HyenaDNA-large-1m (8 layers of width 256) and random weights. Differences are the largest over all
logits, float32 at the length given and float64 at a sixteenth of it.
"""

import argparse
import json
import shlex
import sys
import time
from itertools import accumulate, pairwise
from pathlib import Path

import machine
import torch

import hyena
from hyena.models.state import ModelState

EVEN = 65_536
BARS = {"float32": 1e-4, "float64": 1e-10}


def main() -> int:
    """Measure, report; 1 where a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--length", type=int, default=262_144)
    parser.add_argument("--engines", nargs="+", default=["tiled", "epoched", "cached"])
    parser.add_argument("--out", type=Path, default=Path("reports"))
    a = parser.parse_args()
    facts = machine.facts(shlex.join(["python", "benchmarks/chunks.py", *sys.argv[1:]]))
    rows = [*compare(a.length, torch.float32, a.engines), *compare(max(64, a.length // 16), torch.float64, a.engines)]
    a.out.mkdir(parents=True, exist_ok=True)
    (a.out / "chunks.json").write_text(json.dumps(facts | {"rows": rows}, indent=1) + "\n")
    (a.out / "chunks.md").write_text(page(facts, rows))
    print(page(facts, rows))
    return 0 if all(row["difference"] <= BARS[row["dtype"]] for row in rows) else 1


def compare(length: int, dtype: torch.dtype, engines: list[str]) -> list[dict[str, object]]:
    """One row for every way to split a sequence of this length."""
    torch.manual_seed(0)
    model = hyena.LanguageModel(hyena.presets.hyenadna_large_1m()).to(dtype).eval()
    ids = torch.randint(7, 11, (1, length))
    with torch.no_grad():
        began = time.perf_counter()
        wanted = model(ids)
        whole = time.perf_counter() - began
    splits = {"even chunks": [*range(0, length, min(EVEN, length // 4)), length], "odd random chunks": odd(length)}
    rows = []
    for engine in engines:
        for name, edges in splits.items():
            state, worst = model.init_state(1, length, engine), 0.0
            began = time.perf_counter()
            for start, stop in pairwise(edges):
                logits, state = model.extend(ids[:, start:stop], state)
                worst = max(worst, float((logits.detach() - wanted[:, start:stop]).abs().max()))
            rows.append(row(name, engine, length, dtype, edges, worst, time.perf_counter() - began, whole, wanted, state))
    return rows


def row(
    name: str,
    engine: str,
    length: int,
    dtype: torch.dtype,
    edges: list[int],
    worst: float,
    seconds: float,
    whole: float,
    logits: torch.Tensor,
    state: ModelState,
) -> dict[str, object]:
    """What is reported of one way."""
    return {
        "split": name,
        "engine": engine,
        "length": length,
        "dtype": str(dtype).removeprefix("torch."),
        "chunks": len(edges) - 1,
        "difference": worst,
        "largest_logit": float(logits.abs().max()),
        "seconds": seconds,
        "full_forward_seconds": whole,
        "state_bytes": state.nbytes,
    }


def odd(length: int) -> list[int]:
    """Edges of chunks of odd lengths: a few short ones, then random ones up to a quarter of the whole."""
    generator, sizes = torch.Generator().manual_seed(0), [1, 1, 3, 33, 1]
    while sum(sizes) < length:
        sizes.append(int(torch.randint(0, length // 8, (), generator=generator)) * 2 + 1)
    return [0, *(min(length, edge) for edge in accumulate(sizes))]


def page(facts: dict[str, object], rows: list[dict[str, object]]) -> str:
    """The report."""
    lines = [
        "# Full forward against chunks",
        "",
        machine.sentence(facts),
        "",
        "HyenaDNA-large-1m's shape (8 layers of width 256), random weights. difference: the largest over all logits",
        f"between `model(ids)` and `model.extend`; bars {BARS['float32']:g} in float32 and {BARS['float64']:g} in float64.",
        "",
        "| tokens | dtype | split | chunks | engine | difference | largest logit | seconds | of one forward | state |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        lines.append(
            f"| {r['length']:,} | {r['dtype']} | {r['split']} | {r['chunks']} | {r['engine']} | {r['difference']:.2g} | "
            f"{r['largest_logit']:.2g} | {r['seconds']:.1f} | {r['full_forward_seconds']:.1f} | "
            f"{r['state_bytes'] / 1e9:.2f} GB |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
