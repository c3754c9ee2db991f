"""Hold the choices of `plan` against the clock, by the shipped table and by one measured here: reports/costs.{json,md}.

    python benchmarks/costs.py

One thread, float32. The shapes are none of those that a table is fitted to; a shape's backends are timed in turn.
"""

import argparse
import json
import statistics
import sys
from dataclasses import asdict
from pathlib import Path

import torch

from hyena.bench.calibrate import calibrate
from hyena.bench.machine import facts, sentence
from hyena.bench.ops import time_backends
from hyena.bench.rivals import Shape
from hyena.ops import kernel
from hyena.ops.costs import CPU, Costs
from hyena.ops.plan import plan

SHAPES = [  # B, D, L, K, G
    (1, 1, 1, 1, 1),
    (8, 48, 48, 48, 48),
    (3, 200, 100, 100, 200),
    (2, 96, 700, 5, 96),
    (2, 96, 700, 24, 96),
    (2, 96, 700, 40, 96),
    (2, 96, 700, 90, 96),
    (2, 96, 700, 700, 12),
    (1, 320, 3000, 3000, 320),
    (4, 40, 3000, 12, 40),
    (4, 40, 3000, 150, 40),
    (1, 24, 50000, 7, 24),
    (1, 24, 50000, 56, 24),
    (1, 24, 50000, 900, 24),
    (1, 24, 50000, 50000, 24),
    (1, 4, 400000, 400000, 4),
]
TOLERANCE = 1.1
MOST_DIRECT = 1.5e9  # multiply-adds above which the direct convolution would take minutes


def feasible(shape: Shape, gradient: bool) -> tuple[str, ...]:
    """The backends worth timing: what works tap by tap takes long for long filters."""
    work = shape.points * min(shape.K, shape.L)
    direct = ("direct",) if work * (8 if gradient else 1) < MOST_DIRECT else ()
    kernels = [name for name in kernel.KERNELS if kernel.available() and (name != "fir" or work < 4 * MOST_DIRECT)]
    blocked = ("blocked",) if 4 * shape.K < shape.L else ()
    return (*direct, "fft", *blocked, *kernels)


def judge(shape: Shape, gradient: bool, tables: dict[str, Costs]) -> dict:
    """One shape: milliseconds of every backend, and each table's choice with its time over the best one's, round by round."""
    samples = time_backends(shape, feasible(shape, gradient), gradient, rounds=11, seconds=1.5)
    times = {name: samples.seconds(name).median * 1e3 for name in samples.calls}
    best = min(times, key=lambda name: times[name])
    row = {**asdict(shape), "gradient": gradient, "ms": times, "best": best}
    for name, costs in tables.items():
        chosen = plan(**asdict(shape), needs_grad=gradient, costs=costs).backend
        row[name] = {"backend": chosen, "over_best": samples.ratio(chosen, best).median if chosen in times else None}
    return row


def main() -> int:
    """Calibrate, judge, write; status 1 where a choice is off by more than the tolerance."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("reports"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    mine = calibrate(lambda done, total: print(f"calibrating: {done} of {total}", file=sys.stderr))
    tables, rows = {"shipped": CPU, "calibrated": mine}, []
    for shape in (Shape(*numbers) for numbers in SHAPES):
        for gradient in (False, True):
            rows.append(judge(shape, gradient, tables))
            print(rows[-1], file=sys.stderr)
    about = facts("python benchmarks/costs.py")
    stem = arguments.out / "costs"
    stem.with_suffix(".json").write_text(json.dumps(about | {"calibrated": asdict(mine), "rows": rows}, indent=1) + "\n")
    stem.with_suffix(".md").write_text(markdown(rows, mine, sentence(about)))
    return int(any(not within(row[name]["over_best"]) for row in rows for name in tables))


def within(ratio: float | None) -> bool:
    """Whether a choice is as good as the best."""
    return ratio is not None and ratio <= TOLERANCE


def markdown(rows: list[dict], mine: Costs, about: str) -> str:
    """The report."""
    lines = [
        f"# What `plan` chooses\n\n{about}\n\nOne thread, float32, forward, or forward and backward; medians, all in turn. "
        "The shapes are none of those that the tables are fitted to. After a choice its time over the best backend's.\n\n"
    ]
    for name in ("shipped", "calibrated"):
        ratios = [row[name]["over_best"] for row in rows]
        good = sum(within(ratio) for ratio in ratios)
        known = [ratio for ratio in ratios if ratio is not None]
        lines.append(
            f"- {name} table: within {TOLERANCE - 1:.0%} of the best on {good} of {len(rows)} shapes; median "
            f"{statistics.median(known):.2f}, worst {max(known):.2f}\n"
        )
    backends = ("direct", "fft", "blocked", "fir", "native")
    lines.append(f"\n| B | D | L | K | G | gradient | {' | '.join(f'{b} ms' for b in backends)} | shipped | calibrated |\n")
    lines.append("|---" * (8 + len(backends)) + "|\n")
    for row in rows:
        shape = " | ".join(f"{row[key]:,}" for key in "BDLKG")
        times = " | ".join(f"{row['ms'][b]:.3g}" if b in row["ms"] else "-" for b in backends)
        choices = " | ".join(choice(row[name]) for name in ("shipped", "calibrated"))
        lines.append(f"| {shape} | {'yes' if row['gradient'] else 'no'} | {times} | {choices} |\n")
    lines.append("\nThe table measured here:\n\n```\n")
    lines += [f"{name} = {value}\n" for name, value in asdict(mine).items()]
    return "".join(lines) + "```\n"


def choice(held: dict) -> str:
    """A choice and how good it is."""
    return f"{held['backend']} {held['over_best']:.2f}" if held["over_best"] is not None else f"{held['backend']}, not timed"


if __name__ == "__main__":
    sys.exit(main())
