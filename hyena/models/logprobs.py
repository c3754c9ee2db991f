"""Log-probabilities of given tokens, rows at a time: logits (L, V) of a long sequence never stand whole."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hyena.models.heads import LanguageModel
from hyena.models.layerwise import normed
from hyena.ops.cuts import pieces

_CHUNK = 2**22
"""Numbers of the logits at a time."""


class Predicted(NamedTuple):
    """What a model says of tokens, in float32, or float64 where the model is."""

    log_probabilities: Tensor
    """(R,): log p of each target, over all V rows of the head."""
    right: Tensor
    """(R,): whether the target is the likeliest."""


@torch.no_grad()
def predicted(model: LanguageModel, rows: Float[Tensor, "R D"], targets: Int[Tensor, "R"], stream: bool = False) -> Predicted:
    """What `model` says of targets (R,), each from its hidden state, rows (R, D).

    stream: the rows are those of the residual stream, still before the final norm.
    """
    dtype = torch.promote_types(rows.dtype, torch.float32)
    found = torch.empty(len(rows), dtype=dtype, device=rows.device)
    right = torch.empty(len(rows), dtype=torch.bool, device=rows.device)
    for some in pieces(len(rows), max(16, min(4096, _CHUNK // model.config.rows))):
        hidden = normed(model.backbone.norm, rows[some]) if stream else rows[some]
        logits, wanted = model.logits(hidden[None])[0].to(dtype), targets[some].long()
        found[some] = logits.gather(1, wanted[:, None])[:, 0] - logits.logsumexp(1)
        right[some] = logits.argmax(1) == wanted
    return Predicted(found, right)
