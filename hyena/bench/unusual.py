"""What is unusual about a model, in plain sentences. Each threshold says why it is where it is.

A sentence is a place to look at, not a verdict: a fresh model may well have a mixer that hardly speaks.
"""

import math
from collections.abc import Iterator

from hyena.bench.filters import CONSTANT, UNDECAYED
from hyena.bench.inspect import ALIKE, Filters, Inspection, Layer

SILENT = 2.0**-9
"""A part that adds less than this fraction to the stream is lost where the stream is rounded to bfloat16 (8 bits)."""
GROWTH = 100.0
"""A block that makes the stream this many times louder leaves what came before it one part in a hundred."""
LOUD = 1e4
"""float16 ends at 65504: a stream whose largest number is above this has less than a factor of seven to spare."""

SOME = 0.05
"""Filters of few positional features are slow functions, and one in some hundred is by chance loud late, untrained even."""


def unusual(inspection: Inspection) -> list[str]:
    """Sentences on what a healthy trained model has not; empty where there is nothing to say."""
    found = [
        f"{name} holds {count:,} number(s) that are NaN or infinite: the model's output is worthless"
        for name, count in inspection.not_finite.items()
    ]
    broken = next((layer.index for layer in inspection.layers if not math.isfinite(layer.norms.out)), None)
    if broken is not None:
        found.append(f"layer {broken}: the stream leaving it holds numbers that are not finite (the first such layer)")
    for layer in inspection.layers:
        found += [f"layer {layer.index}: {sentence}" for sentence in (*_of_filters(layer.filters), *_of_layer(layer))]
    return found


def _of_filters(f: Filters | None) -> Iterator[str]:
    """Filters that are dead, constant, cut off or broken."""
    if f is None:
        return
    of = f"of {f.filters:,} long filters"
    if f.zero:
        yield f"{f.zero:,} {of} are nearly zero: dead, only the skip is left of them"
    if f.constant:
        yield f"{f.constant:,} {of} are constant within {CONSTANT:g}: running sums, not filters"
    if f.undecayed > SOME * f.filters:
        yield f"{f.undecayed:,} {of} never decay: the last tenth of the grid is {UNDECAYED:g} of their loudest or more"
    if f.not_finite:
        yield f"{f.not_finite:,} {of} hold numbers that are not finite"


def _of_layer(layer: Layer) -> Iterator[str]:
    """Parts that do not speak, streams that shout, short convolutions that learned nothing."""
    n = layer.norms
    for name, part in (("mixer", n.mixer), ("MLP", n.mlp)):
        if part < SILENT * n.stream:
            share = f"{part / n.stream:.1e} of the stream's"
            yield f"the {name}'s output vanishes against the stream: its root mean square is {share}"
    if n.stream and n.out > GROWTH * n.stream:
        yield f"the stream grows {n.out / n.stream:,.0f} times louder in this one block"
    if math.isfinite(n.largest) and n.largest > LOUD:
        yield f"the stream's largest number is {n.largest:.3g}: float16 ends at 65504"
    for name, value in n.gates.items():
        if value == 0:
            yield f"{'the value' if name == 'v' else 'gate'} {name} is zero throughout: nothing passes the mixer"
    if layer.short_conv is not None and layer.short_conv.alike:
        s = layer.short_conv
        yield f"{s.alike:,} of {s.channels:,} channels of the short convolution have taps alike within {ALIKE:g}"
