"""What stripedhyena (Evo 1) and vortex (Evo 2) do in another way than ours, each undone by one function.

An inverse stands behind each, for the exporters. `quirks.QUIRKS` lists them all; sources are named as file: symbol.
"""

import math
from collections.abc import Iterable
from typing import Literal

import torch
from torch import Tensor

from hyena.checkpoints.account import Account
from hyena.errors import HyenaError

FORWARD_TAPS = 128
"""From this many taps on, vortex convolves by FFT and stores its taps forward (engine.py: parallel_fir)."""
CHARACTERS = "CharLevelTokenizer"


# --- rows and taps ----------------------------------------------------------------------------------------------------------


def short_taps(weight: Tensor) -> Tensor:
    """short_filter_weight (C, 1, K) -> our taps (C, K): conv1d correlates, its last tap meets the present token."""
    return weight.squeeze(1).flip(-1)


def published_short_taps(taps: Tensor) -> Tensor:
    """The inverse of `short_taps`."""
    return taps.flip(-1).unsqueeze(1)


def inner_taps(h: Tensor) -> Tensor:
    """filter.h (G, 1, K) -> our taps (G, K): conv1d's below 128 taps (SE), forward in time from 128 on (MR)."""
    taps = h.squeeze(1)
    return taps if taps.shape[1] >= FORWARD_TAPS else taps.flip(-1)


def published_inner_taps(taps: Tensor) -> Tensor:
    """The inverse of `inner_taps`."""
    return (taps if taps.shape[1] >= FORWARD_TAPS else taps.flip(-1)).unsqueeze(1)


def _by_stream(rows: Tensor, heads: int) -> Tensor:
    """Rows (head, three, channel) -> (three, head, channel)."""
    return rows.unflatten(0, (heads, 3, -1)).transpose(0, 1).flatten(0, 2)


def _by_head(rows: Tensor, heads: int) -> Tensor:
    """Rows (three, head, channel) -> (head, three, channel)."""
    return rows.unflatten(0, (3, heads, -1)).transpose(0, 1).flatten(0, 2)


def interleaved_rows(rows: Tensor) -> Tensor:
    """Rows x2, x1, v, x2, x1, v, ... -> all x2, all x1, all v (vortex utils.py: interleave)."""
    return _by_stream(rows, len(rows) // 3)


def published_interleaved_rows(rows: Tensor) -> Tensor:
    """The inverse of `interleaved_rows`."""
    return _by_head(rows, len(rows) // 3)


def rows_per_head(rows: Tensor, heads: int) -> Tensor:
    """Rows x2, x1, v of a head, then of the next -> all x2, all x1, all v (stripedhyena utils.py: column_split)."""
    return _by_stream(rows, heads)


def published_rows_per_head(rows: Tensor, heads: int) -> Tensor:
    """The inverse of `rows_per_head`."""
    return _by_head(rows, heads)


def query_rows_per_head(rows: Tensor, heads: int) -> Tensor:
    """Wqkv rows (head, three, channel) -> all q, all k, all v (vortex model.py: custom_load_state_dict, at every load)."""
    return _by_stream(rows, heads)


def published_query_rows_per_head(rows: Tensor, heads: int) -> Tensor:
    """The inverse of `query_rows_per_head`."""
    return _by_head(rows, heads)


# --- filters and frequencies ------------------------------------------------------------------------------------------------


def pole_pairs(poles: Tensor) -> Tensor:
    """poles and residues (D, S, 1, 2) -> (D, S, 2), real and imaginary parts of plain complex numbers (ParallelHyenaFilter)."""
    return poles.squeeze(2)


def published_pole_pairs(poles: Tensor) -> Tensor:
    """The inverse of `pole_pairs`."""
    return poles.unsqueeze(2)


def flat_log_poles(log_poles: Tensor) -> Tensor:
    """log_poles (D, S, 1) -> (D, S); the last axis is for times (HyenaCascade.compute_filter)."""
    return log_poles.squeeze(2)


def published_log_poles(log_poles: Tensor) -> Tensor:
    """The inverse of `flat_log_poles`."""
    return log_poles.unsqueeze(2)


def frequencies(stored: Tensor, base: float) -> Tensor:
    """inv_freq as it is used: loaded in float32, made anew from the base where the file holds half precision.

    positional_embeddings.py: LinearlyScaledRotaryEmbedding does so. Half precision that is no rounding of what the base gives
    is an error, because then the file and its configuration are two models.
    """
    if stored.dtype in (torch.float32, torch.float64):
        return stored
    count = stored.shape[0]
    exact = (1.0 / base ** (torch.arange(0, 2 * count, 2, dtype=torch.float32) / (2 * count))).float()
    if not torch.allclose(stored.float(), exact, rtol=torch.finfo(stored.dtype).eps, atol=0):
        raise HyenaError(f"is {stored.dtype} and no rounding of what rotary_emb_base {base:g} gives: set the base that it has")
    return exact


# --- keys -------------------------------------------------------------------------------------------------------------------


def plain_key(key: str) -> str:
    """'backbone.' taken away: Evo's and the hub's files have it (evo/models.py: load_checkpoint)."""
    return key.removeprefix("backbone.")


def tied_unembed(tensors: Account[Tensor], embedding: Tensor) -> None:
    """unembed.weight of a tied model is the embedding again; some files leave it out, vortex ignores it."""
    if "unembed.weight" not in tensors:
        return
    unembed = tensors.take("unembed.weight")
    if unembed.dtype != embedding.dtype or not torch.equal(unembed, embedding):
        raise HyenaError(f"{tensors.source}: unembed.weight differs from the embedding, yet tie_embeddings says they are one")


def kept_keys(keys: Iterable[str]) -> list[str]:
    """Keys that a model does not compute with and that are kept word for word.

    `_extra_state`: what Transformer Engine remembers of its fp8 scales; `mixer.mixer.filter.t`: a time grid that savanna saves
    and vortex makes anew. Both are in the Evo 2 releases (vortex prints them as extra keys).
    """
    return [key for key in keys if key.endswith(("._extra_state", ".mixer.mixer.filter.t")) and key.startswith("blocks.")]


# --- options ----------------------------------------------------------------------------------------------------------------


def norm_kind(flash: bool) -> Literal["rms", "rms_outside"]:
    """layers.py: RMSNorm adds eps outside of the root, flash_attn's kernel (use_flash_rmsnorm) within it."""
    return "rms" if flash else "rms_outside"


def symbols(rows: int, tokenizer: str | None) -> int:
    """CharLevelTokenizer knows bytes alone (tokenizer.py): of the 512 rows of Evo's heads 256 stand for one, the others pad."""
    return min(rows, 256) if tokenizer == CHARACTERS else rows


def inner_width(width: int, given: int | None, multiple: int) -> int:
    """inner_mlp_size, or by layers.py: ParallelGatedMLP 8/3 of the width rounded up to a multiple where it is null."""
    return given if given is not None else math.ceil(int(2 * width * 4 / 3) / multiple) * multiple


def later_activation(evo2_style: bool) -> Literal["identity"] | None:
    """evo2_style_activations: the MLPs after the first layer's have none (layers.py: ParallelGatedMLP)."""
    return "identity" if evo2_style else None


def rotary_scale(interpolated: bool, factor: float) -> float:
    """Positions are divided by rotary_emb_scaling_factor where use_interpolated_rotary_pos_emb is true, and only there."""
    return float(factor) if interpolated else 1.0


def kv_heads(heads: int, groups: int) -> int | None:
    """proj_groups heads share a key/value head (AttentionBlock); none: each has its own."""
    if groups < 1 or heads % groups:
        raise HyenaError(f"proj_groups is {groups}: a divisor of num_attention_heads {heads} is needed")
    return None if groups == 1 else heads // groups


def layer_letters(layers: int, places: dict[str, list[int]]) -> str:
    """Lists of layer indices by letter -> a pattern. Indices past the last layer mean nothing (SH-7B lists a layer 32)."""
    pattern = ["?"] * layers
    for letter, indices in places.items():
        for i in indices:
            if 0 <= i < layers:
                if pattern[i] != "?":
                    raise HyenaError(f"layer {i} is in two lists of layers")
                pattern[i] = letter
    if "?" in pattern:
        raise HyenaError(f"layer {pattern.index('?')} is in no list of layers")
    return "".join(pattern)
