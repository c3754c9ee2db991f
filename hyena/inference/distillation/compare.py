"""What a model's distillation does to its predictions, at every position of given windows, beside the head alone."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from hyena.models import LanguageModel

_ROOM = 2**22
"""Numbers of logits at a time."""


@dataclass(frozen=True, eq=False)
class Positions:
    """Means over windows at each of their L - 1 predicting positions, float64: position t has read t + 1 tokens."""

    loss: np.ndarray
    """(L - 1,) nats per token of the original."""
    losses: dict[str, np.ndarray]
    """Name of another model -> the same of it."""
    divergences: dict[str, np.ndarray]
    """Name of another model -> KL(original || it) in nats, over all rows of the head."""
    windows: int


@torch.no_grad()
def compare(
    model: LanguageModel,
    others: dict[str, LanguageModel],
    ids: Int[Tensor, "B L"],
    report: Callable[[int, int], None] | None = None,
) -> Positions:
    """Run the model and the others on windows ids (B, L), L >= 2. report(done, total) counts windows.

    Hidden states of a few windows stand at a time; logits of a few thousand positions.
    """
    B, L = ids.shape
    loss = np.zeros(L - 1)
    losses, divergences = ({name: np.zeros(L - 1) for name in others} for _ in range(2))
    some = max(1, _ROOM // (L * max(model.config.rows, model.config.width)))
    for start in range(0, B, some):
        batch = ids[start : start + some].to(model.device)
        states = {name: other.backbone(batch[:, :-1]) for name, other in {"": model, **others}.items()}
        piece = max(1, _ROOM // (len(batch) * model.config.rows))
        for at in range(0, L - 1, piece):
            here = slice(at, min(at + piece, L - 1))
            targets = batch[:, 1:][:, here, None].long()
            p = _log_probabilities(model, states[""][:, here])
            loss[here] -= p.gather(2, targets)[..., 0].sum(0).cpu().numpy()
            for name, other in others.items():
                q = _log_probabilities(other, states[name][:, here])
                losses[name][here] -= q.gather(2, targets)[..., 0].sum(0).cpu().numpy()
                divergences[name][here] += (p.exp() * (p - q)).sum(2).sum(0).cpu().numpy()
        if report is not None:
            report(min(start + some, B), B)
    return Positions(loss / B, {n: v / B for n, v in losses.items()}, {n: v / B for n, v in divergences.items()}, B)


def _log_probabilities(model: LanguageModel, hidden: Tensor) -> Tensor:
    """(B, n, V) in float64."""
    return model.logits(hidden).double().log_softmax(-1)
