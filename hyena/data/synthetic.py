"""Tasks made of random numbers: associative recall.

The task is that of the Hyena paper (arXiv 2302.10866, section 4.1) with every known key as a question, not the last alone, so
that each sequence teaches at many places.
"""

import numpy as np

from hyena.configs.data import RecallConfig
from hyena.data.loader import generator
from hyena.errors import HyenaError

NOTHING_ASKED = -100
_TRAINING, _HELD_OUT = 1, 2


def recall_batch(
    config: RecallConfig, batch_size: int, seed: int, step: int, *, held_out: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """(ids, targets) of shape (batch_size, config.length), int64, a function of the arguments alone.

    ids are key value key value ...; the map from keys to values is drawn for each sequence. targets holds, at each key that
    came before in its sequence, that key's value, and -100, which PyTorch's cross entropy leaves out, everywhere else.
    held_out draws from another stream, which no training step reads. HyenaError for a batch_size that is not positive and for
    a seed or step outside of 64 bits.
    """
    if batch_size < 1:
        raise HyenaError(f"batch_size is {batch_size}; pass at least 1")
    random = generator(seed, step, stream=_HELD_OUT if held_out else _TRAINING)
    keys = random.integers(config.keys, size=(batch_size, config.pairs))
    value_of = random.integers(config.keys, config.vocab_size, size=(batch_size, config.keys))
    values = np.take_along_axis(value_of, keys, 1)
    ids = np.stack([keys, values], 2).reshape(batch_size, config.length)
    # Where each key is met first; a comparison of all pairs would take the square of the length.
    first = np.full((batch_size, config.keys), config.pairs)
    place = np.broadcast_to(np.arange(config.pairs), keys.shape)
    np.minimum.at(first, (np.arange(batch_size)[:, None], keys), place)
    targets = np.full_like(ids, NOTHING_ASKED)
    targets[:, ::2] = np.where(place > np.take_along_axis(first, keys, 1), values, NOTHING_ASKED)
    return ids, targets
