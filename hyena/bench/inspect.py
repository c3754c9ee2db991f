"""`inspect`: seeing inside a model. Filters and their reach, short convolutions, skips, and the norms of what flows.

What each number means, with its formula, is in docs/inspect.md; what is judged unusual, and why, in `unusual.py`.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from hyena.bench.filters import Measure, Spread, measure
from hyena.bench.signals import Norms, norms
from hyena.configs.mixers import LETTERS
from hyena.configs.model import ModelConfig
from hyena.data import DNATokenizer
from hyena.models import Classifier, LanguageModel
from hyena.models.block import Block
from hyena.modules import GatedConv, Hyena
from hyena.modules.filters import ImplicitFilter

LENGTH, WINDOWS = 4096, 4
"""Tokens of a window, at most, and windows, where nobody says otherwise."""
ALIKE = 1e-3
"""The taps of a short convolution's channel are alike where they differ by less than this fraction of the largest."""
_SAMPLE, _ENVELOPE = 5, 64
"""Filters whose first taps are kept, and columns of lags of the envelope."""

Report = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Filters:
    """The long filters of a layer: (N - 1) D of them, over the whole grid. Counts are numbers of filters."""

    filters: int
    taps: int
    reach: Spread | None
    """Lags by which 99 % of a filter's energy is reached, in tokens."""
    norm: Spread | None
    """sqrt(sum h^2)."""
    tail: Spread | None
    """Loudness of the last tenth of the grid, measured in the filter's loudest tenth."""
    zero: int
    constant: int
    undecayed: int
    not_finite: int
    frequency: Spread | None
    """Frequencies of the sine activations behind implicit filters; None where they are modal."""
    envelope: dict[str, list[float]]
    """Over columns of lags that begin at `lag`: deciles and median over the filters of the taps' root mean square."""
    sample: dict[str, list[float]]
    """Number of a filter -> its first taps; from the shortest reach to the longest."""


@dataclass(frozen=True)
class ShortConvolution:
    """The depthwise convolution before the gates."""

    channels: int
    taps: int
    rms: list[float]
    """Root mean square of each tap over the channels, that of the present token first."""
    alike: int
    """Channels whose taps are all alike."""


@dataclass(frozen=True)
class Layer:
    """One block."""

    index: int
    letter: str
    mixer: str
    norms: Norms
    filters: Filters | None
    """None for a mixer without long filters, as are the next two."""
    short_conv: ShortConvolution | None
    skip: Spread | None
    """|d|, the weights beside the long convolutions; None also where there are none."""
    measure: Measure | None
    """What `filters` was made from, for pictures; not part of the JSON."""


@dataclass(frozen=True)
class Inspection:
    """A model seen from inside."""

    kind: str
    pattern: str
    width: int
    max_length: int
    dtype: str
    parameters: int
    source: str
    """Of the tokens behind the norms."""
    windows: int
    length: int
    not_finite: dict[str, int]
    """Tensor of the model -> numbers in it that are NaN or infinite; only those that have some."""
    layers: tuple[Layer, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; a number that is not finite becomes None."""
        return plain(asdict(replace(self, layers=tuple(replace(layer, measure=None) for layer in self.layers))))


def inspect(
    model: LanguageModel | Classifier,
    ids: Int[Tensor, "B L"] | None = None,
    source: str = "the ids given",
    report: Report | None = None,
) -> Inspection:
    """Measure the filters over their whole grid, and the norms on ids (B, L); without ids on random legal ones.

    Memory stays bounded for any max_length: filters are read in pieces, windows run one at a time. source: said of the ids in
    the result. report(what, done, total) tells how far it is.
    """
    tell = report or (lambda *_: None)
    if ids is None:
        ids, source = random_ids(model.config), "random legal ids"
    flows = norms(model, ids, lambda done, total: tell("window", done, total))
    layers = []
    for i, block in enumerate(model.backbone.layers):
        layers.append(_layer(i, model.config.layers[i], block, flows[i], model.config.max_length))
        tell("layer", i + 1, len(flows))
    config = model.config
    dtype = str(model.backbone.embedding.weight.dtype).removeprefix("torch.")
    windows, length = ids.shape
    return Inspection(
        kind=model.kind,
        pattern=config.layers,
        width=config.width,
        max_length=config.max_length,
        dtype=dtype,
        parameters=model.parameter_count(),
        source=source,
        windows=windows,
        length=length,
        not_finite=not_finite(model),
        layers=tuple(layers),
    )


def window_length(config: ModelConfig, length: int | None = None) -> int:
    """Tokens of a window: `length`, else as many as the model takes, at most LENGTH."""
    if length is not None:
        return length
    return min(config.max_length, LENGTH, *([config.position_rows] if config.position_rows else []))


def random_ids(config: ModelConfig, windows: int = WINDOWS, length: int | None = None) -> Int[Tensor, "B L"]:
    """The same random ids (windows, length) every time: A, C, G and T for DNA, else the whole vocabulary."""
    legal = DNATokenizer.legal_ids if config.tokenizer == DNATokenizer.spec else None
    choice = torch.tensor(legal or range(config.vocab_size))
    draw = torch.randint(len(choice), (windows, window_length(config, length)), generator=torch.Generator().manual_seed(0))
    return choice[draw]


def not_finite(model: torch.nn.Module) -> dict[str, int]:
    """Tensor -> how many of its numbers are NaN or infinite, where some are."""
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    counts = {name: int((~torch.isfinite(tensor)).sum()) for name, tensor in tensors.items() if tensor.is_floating_point()}
    return {name: count for name, count in counts.items() if count}


def _layer(index: int, letter: str, block: Block, flow: Norms, taps: int) -> Layer:
    """Everything about one block; taps: of its filters, as many as the grid has points."""
    mixer = block.mixer
    if not isinstance(mixer, Hyena | GatedConv):
        return Layer(index, letter, LETTERS[letter], flow, None, None, None, None)
    scaled, filter = mixer.order_scale if isinstance(mixer, Hyena) else None, mixer.filter
    found = measure(filter, None if scaled is None else _array(scaled).repeat(mixer.width), taps=filter.used(taps))
    skip = None if mixer.skip is None else Spread.of(np.abs(_array(mixer.skip)))
    filters = _filters(found, _array(filter.frequency) if isinstance(filter, ImplicitFilter) else np.empty(0))
    short = None if mixer.short_conv is None else _short(_array(mixer.short_conv.taps))
    return Layer(index, letter, LETTERS[letter], flow, filters, short, skip, found)


def _filters(m: Measure, frequency: np.ndarray) -> Filters:
    """The summary of a measure."""
    columns, picked = m.columns(_ENVELOPE), pick(m.reach, _SAMPLE)
    envelope: dict[str, list[float]] = {"lag": columns[:-1].tolist()}
    if m.finite.any():
        deciles = np.percentile(m.loudness(columns)[m.finite], [10, 50, 90], axis=0)
        envelope |= dict(zip(("lower", "median", "upper"), deciles.tolist(), strict=True))
    return Filters(
        filters=len(m.energy),
        taps=m.taps,
        reach=Spread.of(m.reach),
        norm=Spread.of(m.norm),
        tail=Spread.of(m.tail),
        zero=int(m.zero.sum()),
        constant=int(m.constant.sum()),
        undecayed=int(m.undecayed.sum()),
        not_finite=int((~m.finite).sum()),
        frequency=Spread.of(frequency),
        envelope=envelope,
        sample={str(row): m.head[row].tolist() for row in picked},
    )


def pick(reach: np.ndarray, count: int) -> list[int]:
    """Up to `count` filters, evenly from the shortest reach (G,) to the longest; those without a reach are left out."""
    known = np.argsort(reach, kind="stable")[: int(np.isfinite(reach).sum())]
    places = np.linspace(0, len(known) - 1, count).round().astype(int) if len(known) else np.array([], int)
    return [int(known[place]) for place in np.unique(places)]


def _short(taps: np.ndarray) -> ShortConvolution:
    """The summary of taps (channels, K)."""
    spread, largest = taps.max(1) - taps.min(1), np.abs(taps).max(1)
    alike = int((spread <= ALIKE * largest).sum()) if taps.shape[1] > 1 else 0
    return ShortConvolution(len(taps), taps.shape[1], np.sqrt((taps**2).mean(0)).tolist(), alike)


def _array(tensor: Tensor) -> np.ndarray:
    """A parameter in float64."""
    return tensor.detach().double().cpu().numpy()


def plain(value: Any) -> Any:
    """Values as JSON has them: no NaN, no infinity, no field of pictures."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items() if key != "measure"}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
