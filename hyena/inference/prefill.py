"""Prompts into a state: read in chunks that fit a number of bytes, rows of like length together."""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hyena.errors import HyenaError
from hyena.models import LanguageModel
from hyena.models.budget import OPTION, readable
from hyena.models.state import ModelState
from hyena.modules import Hyena
from hyena.modules.attention import MASK, SCORES, Attention
from hyena.modules.modal_stream import ModalStream
from hyena.modules.precision import at_least_float32

_MOST = 2**17
"""Tokens of a chunk, all rows together: more are not faster."""
_LONG = 2**13
"""Tokens at which the bytes that a filter keeps are taken as growing with the length."""


_MASKS = MASK * SCORES
"""Bytes that masks take at most: attention works on so many scores at a time."""


class Read(NamedTuple):
    """Prompts that were read."""

    state: ModelState
    hidden: Float[Tensor, "B D"]
    """The hidden state of each row's last token, which predicts the next."""
    places: list[int]
    """Which prompt each row of the state is."""


@torch.no_grad()
def prefill(model: LanguageModel, prompts: list[Tensor], max_length: int, decoding: Any, max_memory: int | None) -> Read:
    """Read prompts (L,) into one state, begun for rows of max_length tokens; max_memory: bytes beside weights and states."""
    tokens = chunk_tokens(model, prompts, max_memory)
    parts = []
    for places in together([len(prompt) for prompt in prompts], tokens):
        rows = [prompts[place] for place in places]
        state = model.init_state(len(rows), max_length, decoding)
        parts.append(Read(*_read(model, rows, state, tokens), places))
    if len(parts) == 1:
        return parts[0]
    state = ModelState.cat([part.state for part in parts])
    return Read(state, torch.cat([part.hidden for part in parts]), [place for part in parts for place in part.places])


def _read(model: LanguageModel, rows: list[Tensor], state: ModelState, tokens: int) -> tuple[ModelState, Tensor]:
    """Rows of equal length chunk by chunk; unequal ones, which fit a chunk, at once."""
    longest, step = max(map(len, rows)), max(1, tokens // len(rows))
    if min(map(len, rows)) < longest:
        ids = nn.utils.rnn.pad_sequence(rows, batch_first=True)
        lengths = torch.tensor([len(row) for row in rows], device=ids.device)
        hidden, state = model.backbone.extend(ids, state, lengths)
        return state, hidden[torch.arange(len(rows), device=ids.device), lengths - 1]
    ids = torch.stack(rows)
    for start in range(0, longest, step):
        hidden, state = model.backbone.extend(ids[:, start : start + step], state)
    return state, hidden[:, -1].clone()


def together(lengths: list[int], tokens: int) -> list[list[int]]:
    """Rows that are read at once: those of equal length, and where one chunk holds them, down to half of the longest."""
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    groups = []
    while order:
        longest = lengths[order[0]]
        if 2 * longest <= tokens:
            taken = [i for i in order if 2 * lengths[i] >= longest][: tokens // longest]
        else:
            taken = [i for i in order if lengths[i] == longest]
        order = order[len(taken) :]
        groups.append(taken)
    return groups


def chunk_tokens(model: LanguageModel, prompts: list[Tensor], max_memory: int | None) -> int:
    """Tokens of a chunk, all rows together; at least one a row. `HyenaError` where not even these fit."""
    rows, longest = len(prompts), max(map(len, prompts))
    if max_memory is None:
        return max(rows, _MOST)
    each, mask = token_bytes(model) + filter_bytes(model) // rows, mask_bytes(model, longest)
    # Masks grow with chunk times length up to a number of bytes, and no further.
    least = rows * each + min(rows * mask, _MASKS)
    if max_memory < least:
        raise HyenaError(
            f"reading a token of {rows} rows needs {readable(least)} beyond weights and state, more than "
            f"{OPTION} {readable(max_memory)}: allow that much, or pass fewer rows"
        )
    return max(rows, min(_MOST, max(max_memory // (each + mask), (max_memory - _MASKS) // each)))


def mask_bytes(model: LanguageModel, longest: int) -> int:
    """Bytes that one more token in a chunk takes for the masks of attention over `longest` tokens."""
    every = any(isinstance(block.mixer, Attention) and block.mixer.window is None for block in model.backbone.layers)
    return MASK * longest if every else 0


def filter_bytes(model: LanguageModel) -> int:
    """Bytes that all filters keep for one more token of a chunk in every row: taps and their transforms, which rows share."""
    filters = [m for block in model.backbone.layers for m in block.mixer.modules() if isinstance(m, ModalStream)]
    return sum(f.kept_bytes(_LONG) for f in filters) // _LONG


def token_bytes(model: LanguageModel) -> int:
    """Bytes that reading one more token in a chunk takes, about: copies that live for a moment are counted generously.

    The inputs of the long convolutions wait until all layers have theirs; of everything else one block is at work.
    """
    config, mixers = model.config, [block.mixer for block in model.backbone.layers]
    size = at_least_float32(model.backbone.embedding.weight.dtype).itemsize
    waiting = sum(mixer.convolutions * mixer.width for mixer in mixers if isinstance(mixer, Hyena))
    linear = [m.out_features for mixer in mixers for m in mixer.modules() if isinstance(m, nn.Linear)]
    widest = max([config.width, *linear])
    return size * (waiting + max(8 * widest, 3 * config.hidden) + 6 * config.width) + 24
