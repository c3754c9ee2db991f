"""Lines over lengths on logarithmic axes, each with its name at its right end: what the pictures of measurements share."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

INK, PALE = "#22313f", "#5b6b7a"


class End(NamedTuple):
    """Where a line ends, and how it is called."""

    x: float
    y: float
    label: str
    colour: str
    bold: bool = False


def tidy(axes: Any, subs: tuple[int, ...]) -> None:
    """Plain numbers at powers of ten times `subs`, a pale grid, two sides."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.yaxis.set_major_locator(LogLocator(10, subs=subs))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:,.0f}" if y >= 1 else f"{y:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.grid(alpha=0.22)
    axes.spines[["top", "right"]].set_visible(False)


def token_axis(axes: Any, lengths: Sequence[int], label: str = "tokens") -> None:
    """The measured lengths as ticks of a logarithmic axis, which a panel above may share."""
    from matplotlib.ticker import NullLocator

    axes.set(xscale="log", xlabel=label)
    axes.set_xlim(lengths[0] / 1.35, lengths[-1] * 1.35)
    axes.set_xticks(lengths, [tokens(L) for L in lengths])
    axes.xaxis.set_minor_locator(NullLocator())


def label_ends(axes: Any, ends: Sequence[End], gap: float) -> None:
    """Each line's name at its right end, moved apart where ends are near one another."""
    placed = sorted((_place(end.y, *axes.get_ylim()), _place(end.x, *axes.get_xlim()), end) for end in ends)
    for place, (y, x, end) in zip(apart([each[0] for each in placed], gap), placed, strict=True):
        axes.annotate(
            end.label,
            (x, y),
            xycoords="axes fraction",
            xytext=(1.04, place),
            textcoords="axes fraction",
            va="center",
            color=end.colour,
            fontweight="bold" if end.bold else "normal",
            arrowprops={
                "arrowstyle": "-",
                "color": end.colour,
                "linewidth": 0.7,
                "relpos": (0, 0.5),
                "shrinkA": 1,
                "shrinkB": 5,
            },
        )


def _place(value: float, low: float, high: float) -> float:
    """A value's place on a logarithmic axis, as a fraction of its length."""
    return math.log(value / low) / math.log(high / low)


def apart(places: Sequence[float], gap: float) -> list[float]:
    """Ascending places moved until each is `gap` from the next, and no farther than that asks for.

    Places that are too near are joined into a block around their mean, until no two blocks touch.
    """
    blocks: list[list[float]] = []
    for place in places:
        blocks.append([place])
        while len(blocks) > 1 and _first(blocks[-1], gap) - _last(blocks[-2], gap) < gap:
            blocks[-2:] = [blocks[-2] + blocks[-1]]
    return [_first(block, gap) + i * gap for block in blocks for i in range(len(block))]


def _first(block: list[float], gap: float) -> float:
    """Where the first of a block stands."""
    return sum(block) / len(block) - (len(block) - 1) / 2 * gap


def _last(block: list[float], gap: float) -> float:
    """Where the last of a block stands."""
    return _first(block, gap) + (len(block) - 1) * gap


def tokens(L: int) -> str:
    """1024 as 1K, 1048576 as 1M."""
    for power, name in ((20, "M"), (10, "K")):
        if L % 2**power == 0:
            return f"{L >> power}{name}"
    return f"{L:,}"
