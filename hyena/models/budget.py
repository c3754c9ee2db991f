"""How the work of `layerwise` is cut to fit a number of bytes, and what it then takes."""

from dataclasses import dataclass
from typing import Any

import torch

from hyena.errors import HyenaError
from hyena.models.backbone import Backbone
from hyena.modules.attention import MASK, SCORES, Attention
from hyena.modules.hyena_long import Blocks, by_channels, bytes_of
from hyena.modules.kept import KeptFilter
from hyena.modules.precision import at_least_float32
from hyena.ops import kernel

DEFAULT_MEMORY = 2 * 2**30
"""Bytes beyond the weights that long work may take where nothing else is said."""
OPTION = "max_memory (--max-memory)"

_CHUNK = {"cpu": 2**22, "meta": 2**22}
_CHUNK_ELSEWHERE = 2**28
"""Bytes of an MLP's hidden rows at a time: what the second-level cache of two cores holds, and plenty for an accelerator."""
_MOST_CHANNELS, _FEWEST_CHANNELS = 64, 8
"""Channels at a time: more are not faster; with fewer, norms and filters would be computed all too often."""
PIECES = (8192, 2048, 512)
"""Tokens at a time of mixers that go on with a state, the fastest first: a modal filter's powers are made again for each."""
KEPT = 2**20
"""Bytes of a filter's taps above which they are made again for every sequence in place of being kept."""


@dataclass(frozen=True)
class Budget:
    """What layer-by-layer work over B sequences of L tokens takes, in bytes."""

    blocks: Blocks
    piece: int
    """Tokens at a time, of all sequences together, of mixers that read chunk by chunk."""
    stream: int
    """The residual stream."""
    mixed: int
    """As much again for the results of the mixers that are worked by channels."""
    streams: int
    """Projections and filters of a block of channels, and taps that are kept."""
    state: int
    """The largest state of a mixer that reads chunk by chunk, with what a chunk of it takes."""
    rest: int
    """Rows at a time, ids, results, and the workspace of the convolution."""

    @property
    def total(self) -> int:
        """All of it."""
        return self.stream + self.mixed + self.streams + self.state + self.rest


def plan_blocks(
    backbone: Backbone, B: int, L: int, max_memory: int | None = None, layers: int | None = None, lean: bool = False
) -> Budget:
    """The fastest way that fits `max_memory` bytes (any way where None); `HyenaError` with the number where none does.

    lean: the way that takes the least.
    """
    budgets: list[Budget] = []
    for channels, keep, piece in _choices(backbone.config.width):
        budgets.append(_budget(backbone, B, L, Blocks(channels, _tokens(backbone), keep), piece, layers))
        if not lean and (max_memory is None or budgets[-1].total <= max_memory):
            return budgets[-1]
    least, fast = min(budgets, key=lambda budget: budget.total), budgets[0]
    if lean:
        return least
    raise HyenaError(
        f"{_sequences(B, L)} needs {readable(least.total)} beyond the weights ({readable(fast.total)} to be fast), more than "
        f"{OPTION} {readable(max_memory or 0)}: allow that much, or work in windows"
    )


def most_rows(backbone: Backbone, B: int, L: int, max_memory: int | None) -> int:
    """How many of B sequences of L tokens fit `max_memory` at once; `HyenaError` where not even one does."""
    while B > 1:
        try:
            plan_blocks(backbone, B, L, max_memory)
            return B
        except HyenaError:
            B = -(-B // 2)
    plan_blocks(backbone, 1, L, max_memory)
    return 1


def readable(count: int) -> str:
    """Bytes in the unit that suits, rounded up so that the number suffices when it is passed back: 2.6GiB, 300MiB."""
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= size:
            return f"{-(-count * 100 // size) / 100:g}{unit}"
    return f"{count}B"


def _sequences(B: int, L: int) -> str:
    return f"a sequence of {L:,} tokens" if B == 1 else f"a batch of {B} sequences of {L:,} tokens"


def _choices(width: int) -> list[tuple[int, bool, int]]:
    """(channels at a time, whether the filter's features are kept, tokens of a chunk), the fastest first."""
    sizes = sorted({min(width, c) for c in (_MOST_CHANNELS, 48, 32, 24, 16, _FEWEST_CHANNELS)}, reverse=True)
    most, *fewer = PIECES
    choices = [*((c, True, most) for c in sizes), *((c, False, most) for c in sizes if c <= 32)]
    return [*choices, *((sizes[-1], False, piece) for piece in fewer)]


def _tokens(backbone: Backbone) -> int:
    """Rows at a time."""
    weight, config = backbone.embedding.weight, backbone.config
    size = at_least_float32(weight.dtype).itemsize
    return max(64, min(2**16, _CHUNK.get(weight.device.type, _CHUNK_ELSEWHERE) // (max(config.hidden, config.width) * size)))


def _budget(backbone: Backbone, B: int, L: int, blocks: Blocks, piece: int, layers: int | None) -> Budget:
    """What one way takes."""
    weight, config = backbone.embedding.weight, backbone.config
    D, rows, size = config.width, B * L, weight.element_size()
    residual = at_least_float32(weight.dtype).itemsize if config.float32_residual else size
    mixers = [block.mixer for block in backbone.layers[:layers]]
    hyenas = [mixer for mixer in mixers if by_channels(mixer)]
    others = [mixer for mixer in mixers if not by_channels(mixer)]
    chunk = min(L, max(1, piece // B))
    kept = [m.kept_bytes(chunk) for mixer in others for m in mixer.modules() if isinstance(m, KeptFilter)]
    at_once = min(blocks.tokens, rows)
    hidden = at_once if hyenas else min(at_once, B * chunk)
    work = max((workspace(L, mixer.filter.used(L), max(4, size)) for mixer in hyenas), default=0)
    return Budget(
        blocks,
        piece,
        stream=rows * D * residual,
        mixed=rows * D * size if hyenas else 0,
        streams=max((bytes_of(mixer, B, L, blocks) for mixer in hyenas), default=0)
        + max((taps for taps in kept if taps > KEPT), default=0)
        + sum(taps for taps in kept if taps <= KEPT),
        state=max((_chunked(mixer, B, L, chunk, max(4, size)) for mixer in others), default=0),
        rest=work + (2 * config.hidden * hidden + (6 * D + 4 * config.rows) * at_once) * max(4, size) + 24 * rows,
    )


def _chunked(mixer: Any, B: int, L: int, chunk: int, size: int) -> int:
    """What a mixer takes that reads `chunk` tokens of each of B sequences at a time: its state, streams, and masks."""
    masks = 0
    if isinstance(mixer, Attention) and mixer.window is None and chunk < L:
        masks = MASK * min(chunk * L, SCORES)
    return B * (mixer.state_bytes(L) + 14 * mixer.width * chunk * size) + masks


def workspace(L: int, K: int, size: int) -> int:
    """Bytes that the compiled convolution takes beside its operands: a few transforms a thread, and their constants."""
    N = kernel.rounded(kernel.points(L, K, False))
    return (2 * torch.get_num_threads() + 2) * 2 * N * size
