"""Hold the long convolution against what was promised of it: reports/long_conv_bars.{json,md}, a row a bar.

    python benchmarks/bars.py                       # all of them, half an hour or so; leave the machine alone
    python benchmarks/bars.py --only a f --rounds 5 # some of them
    python benchmarks/bars.py --trial               # all on short sequences in a minute or two: does it run?

float32. What was finished is written after each row, so Ctrl-C loses nothing. The exit status is 1 where a bar is missed.
"""

import argparse
import json
import shlex
import sys
from dataclasses import asdict
from pathlib import Path

import machine
import torch
from bar_cases import BARS, Result, Settings

from hyena.bench.machine import busy
from hyena.training.files import write_atomically


def main() -> int:
    """Measure, print and write row by row."""
    a = arguments()
    torch.set_num_threads(a.threads)
    settings = Settings(a.threads, 3 if a.trial else a.rounds, 0.2 if a.trial else a.seconds, 64 if a.trial else 1)
    facts = machine.facts(shlex.join(["python", "benchmarks/bars.py", *sys.argv[1:]]))
    facts |= {"threads": a.threads, "rounds": settings.rounds, "seconds": settings.seconds, "trial": a.trial}
    warning = busy()
    if warning:
        print(f"warning: {warning}", file=sys.stderr)
    results: list[Result] = []
    for letter in a.only:
        for result in BARS[letter](settings):
            results.append(result)
            print(line(result), flush=True)
            write(results, facts | {"warning": warning}, a.out)
    missed = sum(result.passed is False for result in results)
    print(f"{missed} of {sum(result.passed is not None for result in results)} bars are missed")
    return 1 if missed else 0


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=BARS, default=list(BARS), metavar="LETTER")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--seconds", type=float, default=10.0, help="for each method of a row; three rounds in any case")
    parser.add_argument("--trial", action="store_true", help="short sequences: a trial of the script, not of the library")
    parser.add_argument("--out", type=Path, default=Path("reports"))
    return parser.parse_args()


def line(r: Result) -> str:
    """A row for the terminal."""
    mark = {True: "pass", False: "MISS", None: "    "}[r.passed]
    return f"{r.bar}  {mark}  {number(r.value):>9} {limit(r):<10} {r.shape:<28} {r.backend or '':<8} {r.what}  {r.note}"


def number(value: float) -> str:
    """Three digits."""
    return f"{value:.2e}" if 0 < abs(value) < 1e-3 else f"{value:,.3g}" if value < 1000 else f"{value:,.0f}"


def limit(r: Result) -> str:
    """The bar."""
    return "" if r.limit is None else f"{'≥' if r.at_least else '≤'} {number(r.limit)}"


def write(results: list[Result], facts: dict, out: Path) -> None:
    """JSON and Markdown, each whole or as it was."""
    rows = [asdict(r) | {"passed": r.passed} for r in results]
    stem = out / "long_conv_bars"
    text = json.dumps(facts | {"rows": rows}, indent=1, allow_nan=False) + "\n"
    write_atomically(stem.with_suffix(".json"), lambda part: part.write_text(text))
    write_atomically(stem.with_suffix(".md"), lambda part: part.write_text(markdown(results, facts)))


def markdown(results: list[Result], facts: dict) -> str:
    """The report."""
    judged = [r for r in results if r.passed is not None]
    missed = [r for r in judged if not r.passed]
    head = (
        f"# The long convolution against its bars\n\n{machine.sentence(facts)}\n\n{facts['threads']} threads, float32, B = 1 "
        "and a filter a channel as long as the sequence where nothing else is said. Methods take turns, round after round, in "
        f"one process; ratios are formed in each round; medians of up to {facts['rounds']} rounds, quartiles in brackets. "
        f"{len(judged) - len(missed)} of {len(judged)} bars are cleared.\n\n"
    )
    if facts["warning"]:
        head += f"**{facts['warning'].capitalize()}.**\n\n"
    if facts["trial"]:
        head += "**A trial on short sequences: the figures mean nothing.**\n\n"
    table = "| | what | shape | value | bar | | backend | |\n|---|---|---|---:|---:|---|---|---|\n"
    return head + table + "".join(map(row, results))


def row(r: Result) -> str:
    """A line of the table."""
    value = (
        number(r.value) if r.lower is None or r.upper is None else f"{number(r.value)} ({number(r.lower)} - {number(r.upper)})"
    )
    mark = {True: "cleared", False: "**missed**", None: ""}[r.passed]
    return f"| {r.bar} | {r.what} | {r.shape} | {value} | {limit(r)} | {mark} | {r.backend or ''} | {r.note} |\n"


if __name__ == "__main__":
    sys.exit(main())
