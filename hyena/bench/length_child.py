"""The process that `length` measures: one model, one length; prints seconds, those of its matrix products, and peak memory."""

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from hyena.bench.memory import peak
from hyena.bench.sized import model_of, random_ids
from hyena.inference import score
from hyena.models import LanguageModel

_SMALL = 1024
"""Tokens of the pass that goes before."""
_ROWS = 4096
"""Rows of a matrix product: what is multiplied and what comes out of it stay in a cache."""


@torch.no_grad()
def measure(order: dict[str, Any]) -> dict[str, Any]:
    """Times of passes over one sequence, of the products alone, and the largest resident sizes."""
    L = order["length"]
    model = model_of(order["letter"], order["layers"], order["width"], L)
    pass_over = _scored(model, order["max_memory"]) if order["bounded"] else _forward(model)
    products = Products(model)
    pass_over(random_ids(min(L, _SMALL)))
    products(min(L, _SMALL))
    before, ids = peak(), random_ids(L)
    seconds: list[float] = []
    of_products: list[float] = []
    largest = before
    while len(seconds) < order["rounds"] and (not seconds or sum(seconds) < order["seconds"]):
        seconds.append(_timed(lambda: pass_over(ids)))
        if len(seconds) == 1:
            largest = peak()
        of_products.append(_timed(lambda: products(L)))
    return {"seconds": seconds, "products": of_products, "peak_bytes": largest, "before_bytes": before}


def _scored(model: LanguageModel, max_memory: int) -> Callable[[Tensor], object]:
    """The log-probability of every token, in bounded memory."""
    return lambda ids: score(model, ids, max_memory=max_memory)


def _forward(model: LanguageModel) -> Callable[[Tensor], object]:
    """The same by a whole forward."""
    return lambda ids: model(ids).log_softmax(-1)[:, :-1].gather(2, ids[:, 1:, None])


class Products:
    """The matrix products of a model's tokens: projections, MLPs and head, on random rows; those of filters do not count."""

    def __init__(self, model: LanguageModel):
        """Each map's weight (E, D), a few rows to multiply and room for what comes out."""
        named = [(name, m.weight) for name, m in model.named_modules() if isinstance(m, nn.Linear)]
        maps = [weight for name, weight in named if ".filter." not in name]
        self._weights = [w.detach() for w in (maps if model.lm_head is not None else [*maps, model.backbone.embedding.weight])]
        self._rows = {w.shape[1]: torch.randn(_ROWS, w.shape[1]) for w in self._weights}
        self._out = {w.shape[0]: torch.empty(_ROWS, w.shape[0]) for w in self._weights}

    def __call__(self, L: int) -> None:
        """Of L rows."""
        for weight in self._weights:
            rows, out = self._rows[weight.shape[1]], self._out[weight.shape[0]]
            for start in range(0, L, _ROWS):
                n = min(_ROWS, L - start)
                torch.mm(rows[:n], weight.T, out=out[:n])


def _timed(work: Callable[[], object]) -> float:
    """Seconds of one call."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> None:
    """Write the figures for the order in the command line, which is JSON, to stdout."""
    order = json.loads(sys.argv[1])
    torch.set_num_threads(order["threads"])
    sys.stdout.write(json.dumps(measure(order)) + "\n")


if __name__ == "__main__":
    main()
