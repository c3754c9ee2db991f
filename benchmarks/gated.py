"""Time the gated convolutions of StripedHyena 2 against PyTorch's own words; writes reports/gated.{json,md}.

    python benchmarks/gated.py                      # some minutes; leave the machine alone
    python benchmarks/gated.py --trial              # short sequences in seconds: does it run?

SE (7 taps) and MR (128 taps under its decay), float32: `long_conv(v, h, pre=k, post=q)` against `q * F.conv1d(k * v)`,
depthwise and padded on the left, and the whole layer with its projections against the same in PyTorch. The exit status is 1
where a bar is missed.
"""

import argparse
import json
import shlex
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import machine
import torch
import torch.nn.functional as F
from torch import Tensor

from hyena.bench.machine import busy
from hyena.bench.timing import Spread, interleave, sampler
from hyena.configs.filters import ExplicitFilterConfig
from hyena.configs.mixers import ExplicitConvConfig, Mixers
from hyena.modules.explicit_filter import ExplicitFilter
from hyena.modules.gated_conv import GatedConv
from hyena.ops import long_conv, plan
from hyena.training.files import write_atomically

BAR = 3.0
"""How many times as long PyTorch's operator takes at least."""


@dataclass(frozen=True)
class Row:
    """Two ways to do one thing."""

    what: str
    taps: int
    groups: int
    backend: str
    ours: Spread
    """Milliseconds."""
    theirs: Spread
    ratio: Spread
    bar: float | None


def main() -> int:
    """Measure, print and write row by row."""
    a = arguments()
    torch.set_num_threads(a.threads)
    L, D = (1024, 32) if a.trial else (a.length, a.width)
    facts = machine.facts(shlex.join(["python", "benchmarks/gated.py", *sys.argv[1:]]))
    facts |= {"threads": a.threads, "rounds": a.rounds, "length": L, "width": D, "trial": a.trial, "warning": busy()}
    rows: list[Row] = []
    for name, config in (("SE", Mixers().S), ("MR", Mixers().M)):
        for groups in (D, D // 16):
            layer = layer_of(config, D, groups)
            for what, bar, pair in ((name, BAR, operator(layer, L)), (f"{name}, the whole layer", None, whole(layer, L))):
                rows.append(measure(what, bar, layer.filter, L, pair, a))
                print(line(rows[-1]), flush=True)
                write(rows, facts, a.out)
    missed = [row for row in rows if row.bar is not None and row.ratio.median < row.bar]
    return 1 if missed and not a.trial else 0


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--length", type=int, default=65_536)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--seconds", type=float, default=20.0, help="for each method of a row; three rounds in any case")
    parser.add_argument("--trial", action="store_true", help="short sequences: a trial of the script, not of the library")
    parser.add_argument("--out", type=Path, default=Path("reports"))
    return parser.parse_args()


def layer_of(config: ExplicitConvConfig, D: int, groups: int) -> GatedConv:
    """The mixer of a letter at width D, its filter in so many groups."""
    torch.manual_seed(0)
    filter = ExplicitFilterConfig(config.filter.taps, groups, config.filter.decay)
    return GatedConv(ExplicitConvConfig(skip=config.skip, filter=filter), D).eval()


Pair = tuple[Callable[[], Tensor], Callable[[], Tensor]]
"""Ours and theirs."""


def operator(layer: GatedConv, L: int) -> Pair:
    """The convolution between its gates, without the skip term that `F.conv1d` has not."""
    q, k, v = (torch.randn(1, layer.width, L) for _ in range(3))
    h = layer.filter(L).detach()
    weight = weights(h, layer.width)
    return lambda: long_conv(v, h, pre=k, post=q), lambda: q * conv1d(k * v, weight)


def whole(layer: GatedConv, L: int) -> Pair:
    """Projections, short convolution, gates, filter and skip."""
    x, D = torch.randn(1, L, layer.width), layer.width
    assert layer.short_conv is not None
    short, weight = weights(layer.short_conv.taps.detach(), 3 * D), weights(layer.filter(L).detach(), D)

    def plain() -> Tensor:
        q, k, v = conv1d(layer.in_proj(x).transpose(1, 2), short).chunk(3, dim=1)
        u = k * v
        y = conv1d(u, weight)
        return layer.out_proj((q * (y if layer.skip is None else y + layer.skip[:, None] * u)).transpose(1, 2))

    return lambda: layer(x), plain


def weights(h: Tensor, channels: int) -> Tensor:
    """Taps (G, K) as the weight (D, 1, K) of a depthwise convolution, whose last tap meets the present token."""
    return h.repeat_interleave(channels // len(h), 0).flip(1)[:, None].contiguous()


def conv1d(u: Tensor, weight: Tensor) -> Tensor:
    """The causal depthwise convolution as users write it."""
    return F.conv1d(F.pad(u, (weight.shape[-1] - 1, 0)), weight, groups=len(weight))


@torch.no_grad()
def measure(what: str, bar: float | None, filter: ExplicitFilter, L: int, pair: Pair, a: argparse.Namespace) -> Row:
    """Both in turn; they must agree."""
    ours, theirs = pair
    difference = float((ours() - theirs()).norm() / theirs().norm())
    assert difference < 1e-5, f"{what}: the two differ by {difference:.2g}"
    candidates = {"ours": sampler(ours), "theirs": sampler(theirs)}
    found = interleave(candidates, 3 if a.trial else a.rounds, 0.2 if a.trial else a.seconds)
    K, G, D = filter.used(L), filter.groups, filter.width
    chosen = plan(1, D, L, K, G, gated=True, threads=a.threads).backend
    times = [found.seconds(name).scaled(1e3) for name in candidates]
    return Row(what, K, G, chosen, *times, found.ratio("theirs", "ours"), bar)


def line(r: Row) -> str:
    """A row for the terminal."""
    mark = "" if r.bar is None else "pass" if r.ratio.median >= r.bar else "MISS"
    return (
        f"{mark:<5}{r.what:<22} K {r.taps:<4} G {r.groups:<4} {r.backend:<7}"
        f"{r.ours.median:9.3g} ms {r.theirs.median:9.3g} ms  {r.ratio.median:.3g} times"
    )


def write(rows: list[Row], facts: dict, out: Path) -> None:
    """JSON and Markdown, each whole or as it was."""
    text = json.dumps(facts | {"rows": [asdict(r) for r in rows]}, indent=1, allow_nan=False) + "\n"
    write_atomically(out / "gated.json", lambda part: part.write_text(text))
    write_atomically(out / "gated.md", lambda part: part.write_text(markdown(rows, facts)))


def markdown(rows: list[Row], facts: dict) -> str:
    """The report."""
    head = (
        f"# Gated convolutions against PyTorch\n\n{machine.sentence(facts)}\n\n{facts['threads']} threads, float32, B = 1, "
        f"D = {facts['width']:,}, L = {facts['length']:,}, evaluation. SE and MR of StripedHyena 2: "
        "`long_conv(v, h, pre=k, post=q)` against `q * F.conv1d(k * v)`, depthwise and padded on the left; and the whole layer "
        "with its projections against the same in PyTorch. Both take turns in one process, the ratio is formed in each round; "
        f"medians of up to {facts['rounds']} rounds, quartiles in brackets.\n\n"
    )
    if facts["warning"]:
        head += f"**{facts['warning'].capitalize()}.**\n\n"
    if facts["trial"]:
        head += "**A trial on short sequences: the figures mean nothing.**\n\n"
    table = (
        "| what | taps | filters | backend | ours, ms | PyTorch, ms | times as fast | bar | |\n"
        "|---|---:|---:|---|---:|---:|---:|---:|---|\n"
    )
    return head + table + "".join(map(cells, rows))


def cells(r: Row) -> str:
    """A line of the table."""
    bar = "" if r.bar is None else f"≥ {r.bar:g}"
    mark = "" if r.bar is None else "cleared" if r.ratio.median >= r.bar else "**missed**"
    ratio = f"{r.ratio.median:.3g} ({r.ratio.lower:.3g} - {r.ratio.upper:.3g})"
    return (
        f"| {r.what} | {r.taps} | {r.groups} | {r.backend} | {r.ours.median:.3g} | {r.theirs.median:.3g} | {ratio} | {bar} | "
        f"{mark} |\n"
    )


if __name__ == "__main__":
    sys.exit(main())
