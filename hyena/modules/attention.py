"""Causal softmax attention: grouped key/value heads, rotary positions, optionally within a window (arXiv 1706.03762).

A window is computed block by block, each against itself and the block before it, so its memory grows with L and not L^2.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from hyena.configs.mixers import AttentionConfig
from hyena.errors import HyenaError
from hyena.modules.mixer import Streamed
from hyena.modules.rotary import Rotary
from hyena.ops.decoding import Decoding
from hyena.ops.history import UNBOUNDED, History, room
from hyena.ops.tree import State


def heads_for(width: int) -> int:
    """The fewest heads of at most 64 channels that divide the width."""
    return next(heads for heads in range(1, width + 1) if width % heads == 0 and width // heads <= 64)


SCORES = 2**26
"""Scores of a mask held at once: longer chunks are worked in blocks of queries."""
MASK = 5
"""Bytes of a mask for one query and key: a truth value, and a number for the kernel."""


@dataclass
class AttentionState(State):
    """Keys and values in reach, the keys turned by their positions."""

    keys: History
    values: History
    """(B, H, t, P)."""
    position: Tensor
    """(B,): tokens read of each row."""


class Attention(Streamed, nn.Module):
    """The mixer. `qkv_proj` holds the rows of all queries, then of all keys, then of all values."""

    def __init__(self, config: AttentionConfig, width: int):
        """width: D."""
        super().__init__()
        self.config, self.width, self.window = config, width, config.window
        self.heads = heads_for(width) if config.heads is None else config.heads
        self.kv_heads = self.heads if config.kv_heads is None else config.kv_heads
        if self.heads < 1 or width % self.heads:
            raise HyenaError(f"{self.heads} heads do not divide width {width}: use a divisor")
        if self.kv_heads < 1 or self.heads % self.kv_heads:
            raise HyenaError(f"kv_heads {self.kv_heads} does not divide heads {self.heads}: use a divisor")
        self.head_width = width // self.heads
        rotary = self.head_width - self.head_width % 2 if config.rotary_width is None else config.rotary_width
        if rotary > self.head_width:
            raise HyenaError(f"rotary_width {rotary} exceeds the head's {self.head_width} channels: use at most that")
        self.rotary = Rotary(rotary, config.rotary_base, config.rotary_scale) if rotary else None
        rows = (self.heads + 2 * self.kv_heads) * self.head_width
        self.qkv_proj = nn.Linear(width, rows, bias=config.qkv_bias)
        self.out_proj = nn.Linear(width, width, bias=config.out_bias)

    def forward(self, x: Float[Tensor, "B L D"]) -> Float[Tensor, "B L D"]:
        """x (B, L, D), any L."""
        q, k, v = self._heads(x)
        dropout = self.config.dropout if self.training else 0.0
        if self.window is not None and torch.compiler.is_exporting():
            y = windowed_op(q, k, v, self.window)
        elif self.window is None or self.window >= x.shape[1]:
            y = _attend(q, k, v, dropout, is_causal=True)
        else:
            y = windowed(q, k, v, self.window, dropout)
        return self.out_proj(rearrange(y, "B H L P -> B L (H P)"))

    def _heads(self, x: Tensor, begin: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values (B, H, L, P) of x (B, L, D), whose tokens are those from begin[b] on."""
        qkv = rearrange(self.qkv_proj(x), "B L (H P) -> B H L P", P=self.head_width)
        qk, v = qkv.split([self.heads + self.kv_heads, self.kv_heads], dim=1)
        if self.rotary is not None:
            qk = self.rotary(qk, begin)
        q, k = qk.split([self.heads, self.kv_heads], dim=1)
        return q, k, v

    @property
    def _reach(self) -> int:
        """Tokens before the present one that are seen."""
        return UNBOUNDED if self.window is None else self.window - 1

    def init_state(self, batch_size: int, max_length: int | None = None, decoding: Decoding = "auto") -> AttentionState:
        """Nothing read. decoding is for long convolutions: nothing here depends on it."""
        places = 0 if max_length is None else room(max_length, self._reach)
        shape = (batch_size, self.kv_heads, places, self.head_width)
        keys, values = (History.begin(self.qkv_proj.weight.new_zeros(shape), self._reach) for _ in range(2))
        return AttentionState(keys, values, torch.zeros(batch_size, dtype=torch.int64, device=self.qkv_proj.weight.device))

    def peek(self, x: Float[Tensor, "B L D"], state: AttentionState) -> tuple[Float[Tensor, "B L D"], tuple[Tensor, Tensor]]:
        """See `Mixer.peek`."""
        q, k, v = self._heads(x, state.position)
        kept, n = state.keys.kept, x.shape[1]
        y = self._after(q, state.keys.followed_by(k), state.values.followed_by(v), state.position.clamp(max=kept))
        return self.out_proj(rearrange(y, "B H L P -> B L (H P)", L=n)), (k, v)

    def _after(self, q: Tensor, k: Tensor, v: Tensor, known: Tensor) -> Tensor:
        """Attention of the last n tokens q (B, H, n, P) over k, v (B, H, T, P); of the T - n before them row b has known[b]."""
        n, T = q.shape[2], k.shape[2]
        kept = T - n
        even = int(known.min()) == kept
        if even and (self.window is None or self.window >= T) and (n == 1 or not kept):
            return _attend(q, k, v, 0.0, is_causal=n > 1)
        step = max(1, min(n, SCORES // T))
        if self.window is not None:
            step = max(1, min(step, self.window))
        parts = []
        for s in range(0, n, step):
            stop = min(s + step, n)
            low = 0 if self.window is None else max(0, kept + s - self.window + 1)
            times, keys = torch.arange(kept + s, kept + stop, device=q.device), torch.arange(low, kept + stop, device=q.device)
            seen = keys <= times[:, None]
            if self.window is not None:
                seen &= keys > times[:, None] - self.window
            if not even:
                seen = seen & (keys >= kept - known[:, None, None])
            mask = seen.view(-1, 1, *seen.shape[-2:])
            parts.append(_attend(q[:, :, s:stop], k[:, :, low : kept + stop], v[:, :, low : kept + stop], 0.0, mask))
        return torch.cat(parts, 2)

    def commit(self, state: AttentionState, new: tuple[Tensor, Tensor], lengths: Tensor | None = None) -> None:
        """Keep the keys and values in reach."""
        k, v = new
        state.keys.append([k], lengths)
        state.values.append([v], lengths)
        state.position = state.position + (k.shape[2] if lengths is None else lengths)

    def flops(self, L: int) -> int:
        """Projections, and scores and sums over all keys within the window (the causal half is counted whole)."""
        keys = L if self.window is None or self.window >= L else 2 * self.window
        weights = self.qkv_proj.weight.numel() + self.out_proj.weight.numel()
        return 2 * L * weights + 4 * L * keys * self.width

    def state_bytes(self, L: int, decoding: Decoding = "auto") -> int:
        """Keys and values of the tokens in reach, with some room, and the position."""
        return 2 * self.kv_heads * self.head_width * room(L, self._reach) * self.qkv_proj.weight.element_size() + 8

    def bounded(self) -> bool:
        """Any length is read."""
        return False

    def check_length(self, L: int) -> None:
        """Any length is read."""

    def resized(self, length: int) -> None:
        """Nothing here is tied to max_length."""


def _attend(q: Tensor, k: Tensor, v: Tensor, dropout: float, mask: Tensor | None = None, is_causal: bool = False) -> Tensor:
    """softmax(q k^T / sqrt(P)) v for q (..., H, L, P) and fewer key/value heads; a group of queries shares one."""
    grouped = q.shape[-3] != k.shape[-3]
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout, is_causal=is_causal, enable_gqa=grouped)


def windowed(q: Tensor, k: Tensor, v: Tensor, window: int, dropout: float = 0.0) -> Tensor:
    """Attention of q (B, H, L, P) over the last `window` tokens, itself included; window < L.

    In blocks of `window` tokens: a query at place i of its block sees places i + 1 .. i + window of the two blocks' keys.
    """
    B, _, L, _ = q.shape
    blocks = -(-L // window)
    padding = blocks * window - L

    def cut(x: Tensor, before: int) -> Tensor:
        """(B, H, L, P) in overlapping blocks of `before` + window tokens, batch and block in one axis."""
        padded = F.pad(x, (0, 0, before, padding))
        cuts = padded.unfold(2, before + window, window)  # (B, H, blocks, P, before + window)
        return rearrange(cuts, "B H n P w -> (B n) H w P")

    places = torch.arange(2 * window, device=q.device) - torch.arange(window, device=q.device)[:, None]
    seen = ((places >= 1) & (places <= window)).repeat(B, blocks, 1, 1)
    seen[:, 0, :, :window] = False  # before the first block there is nothing
    mask = rearrange(seen, "B n q k -> (B n) 1 q k")
    y = _attend(cut(q, 0), cut(k, window), cut(v, window), dropout, mask)
    return rearrange(y, "(B n) H w P -> B H (n w) P", B=B)[:, :, :L]


@torch.library.custom_op("hyena::windowed", mutates_args=())
def windowed_op(q: Tensor, k: Tensor, v: Tensor, window: int) -> Tensor:
    """The same, any L, as one node of an exported graph, whose length is open: how many blocks there are depends on it."""
    inside = window >= q.shape[2]
    y = _attend(q, k, v, 0.0, is_causal=True) if inside else windowed(q, k, v, window)
    return y.contiguous()


@windowed_op.register_fake
def _(q: Tensor, k: Tensor, v: Tensor, window: int) -> Tensor:
    return q.new_empty(q.shape)
