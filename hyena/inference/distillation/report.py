"""What a distillation reports: how close the filters are, layer by layer, and what that does to the predictions."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from hyena.inference.distillation.compare import Positions
from hyena.inference.distillation.layers import Measures

HEAD_ALONE = "head alone"
"""The model that is compared beside: the same heads, no modes."""
DISTILLED = "distilled"
_BINS = 32


@dataclass(frozen=True)
class Middle:
    """A number over the filters of a layer."""

    median: float
    maximum: float

    @staticmethod
    def of(values: np.ndarray) -> "Middle":
        """Of the finite ones; 0 where there are none."""
        finite = values[np.isfinite(values)]
        return Middle(float(np.median(finite)), float(finite.max())) if finite.size else Middle(0.0, 0.0)


@dataclass(frozen=True)
class Reach:
    """Lags within which lie 99 % of a filter's energy, over the original's grid."""

    original: float
    """Medians over the layer's filters, as are the next two."""
    distilled: float
    head_alone: float
    shorter: int
    """Filters whose reach is shorter than it was."""
    most: float
    """By how many lags at most."""


@dataclass(frozen=True)
class LayerReport:
    """One layer's filters. Errors are sqrt(sum of squares of the differences) over a filter's own norm."""

    index: int
    filters: int
    smallest_order: int | None
    """The order that this layer alone would need for the tolerance, where one was given."""
    error: Middle
    """Of the distilled filters."""
    head_alone: Middle
    """Of the same heads without modes."""
    tail_error: Middle
    """The error as a fraction of the part past the head alone, which the modes stand for."""
    reach: Reach
    past: Middle
    """Norm of what a distilled filter has past the grid, where the original has nothing or no value, over the filter's norm."""


@dataclass(frozen=True)
class Predictions:
    """Means over some positions of the given windows, nats per token."""

    positions: int
    """Of a window."""
    loss: float
    """Of the original."""
    change: float
    """Loss of the distilled model less that of the original."""
    divergence: float
    """KL(original || distilled) of the next token's distribution."""
    head_alone_change: float
    head_alone_divergence: float


@dataclass(frozen=True)
class DistillationReport:
    """What was made, and how close it is."""

    order: int
    head: int
    tolerance: float | None
    max_length: int
    """Lags over which filters were fitted and measured."""
    state_bytes: int
    """Of one sequence after max_length tokens; the same after any number of tokens."""
    original_state_bytes: int
    """The original's after max_length tokens."""
    layers: tuple[LayerReport, ...]
    predictions: Predictions | None
    """At all positions; None where no ids were given."""
    past_head: Predictions | None
    """At positions >= head alone, where the modes are heard; None also where windows are no longer than the head."""
    windows: int
    source: str
    """Of the windows."""
    bins: dict[str, list[float]]
    """Over bins of positions that begin at `position`: the divergences."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    def sentences(self) -> list[str]:
        """What a user should know and might not see in the numbers."""
        found = []
        short = [layer for layer in self.layers if layer.reach.shorter]
        if short:
            count, filters = (sum(f(layer) for layer in self.layers) for f in (lambda a: a.reach.shorter, lambda a: a.filters))
            worst = max(short, key=lambda layer: layer.reach.most)
            found.append(
                f"{count} of {filters} filters reach less far back than they did, by up to {worst.reach.most:,.0f} lags "
                f"(layer {worst.index}): 99 % of their energy lies nearer"
            )
        if (past := max(layer.past.maximum for layer in self.layers)) > 0.01:
            found.append(
                f"past lag {self.max_length:,}, where the original ends, filters go on with up to {past:.2g} of their norm: "
                "the two differ on longer sequences"
            )
        if self.predictions is None:
            found.append("no data was given: what the errors do to the predictions was not measured")
        elif self.past_head is None:
            found.append(f"the windows are no longer than the head of {self.head} taps: the modes were not heard")
        return found


def layer_report(index: int, m: Measures, smallest_order: int | None) -> LayerReport:
    """The summary of a layer's measures."""
    tail_error = np.divide(m.error, m.tail, out=np.zeros_like(m.error), where=m.tail > 0)
    lost = np.nan_to_num(m.reach) - np.nan_to_num(m.distilled_reach)
    return LayerReport(
        index=index,
        filters=len(m.norm),
        smallest_order=smallest_order,
        error=Middle.of(m.relative(m.error)),
        head_alone=Middle.of(m.relative(m.tail)),
        tail_error=Middle.of(tail_error),
        reach=Reach(
            original=Middle.of(m.reach).median,
            distilled=Middle.of(m.distilled_reach).median,
            head_alone=Middle.of(m.head_reach).median,
            shorter=int(m.shorter.sum()),
            most=max(0.0, float(lost.max())),
        ),
        past=Middle.of(m.relative(m.past)),
    )


def predictions(found: Positions, first: int) -> Predictions | None:
    """Means over positions from `first` on; None where there are none."""
    here = slice(first, None)
    if not found.loss[here].size:
        return None
    loss = float(found.loss[here].mean())
    return Predictions(
        positions=found.loss[here].size,
        loss=loss,
        change=float(found.losses[DISTILLED][here].mean()) - loss,
        divergence=float(found.divergences[DISTILLED][here].mean()),
        head_alone_change=float(found.losses[HEAD_ALONE][here].mean()) - loss,
        head_alone_divergence=float(found.divergences[HEAD_ALONE][here].mean()),
    )


def bins(found: Positions) -> dict[str, list[float]]:
    """Divergences over bins of positions that grow geometrically."""
    L = len(found.loss)
    edges = np.unique(np.geomspace(1, L + 1, _BINS + 1).round().astype(int)) - 1
    means = {
        name: (np.add.reduceat(values, edges[:-1]) / np.diff(edges)).tolist() for name, values in found.divergences.items()
    }
    return {"position": edges[:-1].tolist(), **means}
