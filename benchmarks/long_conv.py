"""Time every backend of the long convolution against its prediction, and write reports/long_conv_cpu.{json,md}.

    OMP_NUM_THREADS=1 python benchmarks/long_conv.py

One thread, float32, medians; a shape's backends are timed in turn, round after round: a drifting machine hits all alike.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import machine
import torch

from hyena.ops import long_conv, plan

SHAPES = [  # B, D, L, K
    (16, 384, 256, 3),
    (16, 128, 256, 32),
    (16, 128, 256, 256),
    (2, 256, 1024, 7),
    (2, 256, 1024, 1024),
    (2, 256, 4096, 128),
    (2, 256, 4096, 4096),
    (1, 64, 65536, 128),
    (1, 64, 65536, 2048),
    (1, 64, 65536, 65536),
    (1, 16, 1048576, 1048576),
    (8, 64, 64, 64),
]
BACKENDS = ("direct", "fft", "blocked")
MOST_DIRECT = 3e9  # multiply-adds above which the direct convolution would take minutes


def milliseconds(work: Callable[[], object]) -> float:
    """One run."""
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1e3


def measure(B: int, D: int, L: int, K: int, grad: bool, rounds: int) -> dict[str, float]:
    """Median milliseconds of each backend that is feasible."""
    u, h, gy = torch.randn(B, D, L), torch.randn(D, K), torch.randn(B, D, L)
    if grad:
        u.requires_grad_(), h.requires_grad_()

    def run(backend: str) -> None:
        y = long_conv(u, h, backend=backend)
        if grad:
            torch.autograd.grad(y, (u, h), gy)

    feasible = [b for b in BACKENDS if b != "direct" or B * D * L * K * (8 if grad else 1) < MOST_DIRECT]
    times: dict[str, list[float]] = {backend: [] for backend in feasible}
    for i in range(rounds + 1):
        for backend in feasible:
            elapsed = milliseconds(lambda b=backend: run(b))
            if i:  # the first round warms up
                times[backend].append(elapsed)
    return {backend: statistics.median(values) for backend, values in times.items()}


def main() -> None:
    """Measure, compare with `plan`, write the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path, default=Path("reports"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for B, D, L, K in SHAPES:
        for grad in (False, True):
            times = measure(B, D, L, K, grad, arguments.rounds)
            chosen = plan(B, D, L, K, D, needs_grad=grad).backend
            # blocked with a single block is fft under another name, so plan never names it
            ratio = times[chosen] / min(times.values()) if chosen in times else None
            rows.append({"B": B, "D": D, "L": L, "K": K, "gradient": grad, "ms": times, "plan": chosen, "over_best": ratio})
            print(rows[-1], file=sys.stderr)
    facts = machine.facts("OMP_NUM_THREADS=1 python benchmarks/long_conv.py")
    values = facts | {"what": "long_conv, float32, one thread, median milliseconds", "rounds": arguments.rounds, "rows": rows}
    stem = arguments.out / "long_conv_cpu"
    stem.with_suffix(".json").write_text(json.dumps(values, indent=1) + "\n")
    stem.with_suffix(".md").write_text(markdown(values, machine.sentence(facts)))


def markdown(values: dict, sentence: str) -> str:
    """The report as a table."""
    head = (
        f"# Backends of the long convolution on a CPU\n\n{sentence}\n\n{values['what']}; {values['rounds']} rounds, backends "
        'in turn. `plan` is what `backend="auto"` takes; the last column is its time over the best backend\'s.\n\n'
        "| B | D | L | K | gradient | direct | fft | blocked | plan | over best |\n|---|---|---|---|---|---|---|---|---|---|\n"
    )
    lines = []
    for row in values["rows"]:
        times = " | ".join(f"{row['ms'][b]:.2f}" if b in row["ms"] else "-" for b in BACKENDS)
        shape = " | ".join(str(row[key]) for key in "BDLK")
        over = "-" if row["over_best"] is None else f"{row['over_best']:.2f}"
        lines.append(f"| {shape} | {'yes' if row['gradient'] else 'no'} | {times} | {row['plan']} | {over} |\n")
    return head + "".join(lines)


if __name__ == "__main__":
    main()
