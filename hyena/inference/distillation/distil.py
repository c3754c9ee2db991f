"""`distill`: a model whose implicit filters are replaced by modal ones: an ordinary model whose every token costs the same."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import NamedTuple, TypeVar

import torch
from jaxtyping import Int
from torch import Tensor

from hyena.configs.filters import ModalFilterConfig
from hyena.configs.model import ModelConfig
from hyena.errors import HyenaError
from hyena.inference.distillation.compare import compare
from hyena.inference.distillation.fit import STEPS
from hyena.inference.distillation.layers import Measures, distil_layer
from hyena.inference.distillation.report import (
    DISTILLED,
    HEAD_ALONE,
    DistillationReport,
    bins,
    layer_report,
    predictions,
)
from hyena.models import LanguageModel
from hyena.models.heads import Model
from hyena.models.modes import evaluating
from hyena.models.store import assign
from hyena.modules.filters import ImplicitFilter
from hyena.modules.hyena import Hyena
from hyena.modules.modal_filter import ModalFilter

LARGEST_ORDER = 128
"""Where the search for a tolerance ends."""

M = TypeVar("M", bound=Model)
Report = Callable[[str, int, int], None]


class Distilled(NamedTuple):
    """A distilled model and what was measured of it."""

    model: Model
    report: DistillationReport


def distill(
    model: Model,
    order: int | None = None,
    head: int = 0,
    tolerance: float | None = None,
    ids: Int[Tensor, "B L"] | None = None,
    source: str = "the ids given",
    steps: int = STEPS,
    report: Report | None = None,
) -> Distilled:
    """Replace the implicit filters of letter H by modal ones of S = `order` complex poles past `head` exact taps.

    tolerance, in place of an order: the smallest order is taken for which every filter of every layer is off by at most this
    fraction of its norm. ids (B, L): windows on which a language model's predictions are compared, L at most max_length where
    the original is bounded; source: said of them in the report. steps: of refinement (see `fit`). report(what, done, total)
    tells how far it is. The original is not changed. HyenaError where there is nothing to distil or no order is enough.
    """
    tell = report or (lambda *_: None)
    filters = _filters(model)
    _check(model, order, head, tolerance, ids)
    smallest: dict[int, int] = {}
    if tolerance is not None:
        for number, (i, filter) in enumerate(filters.items()):
            smallest[i] = _smallest_order(filter, head, tolerance, steps)
            tell("layer searched", number + 1, len(filters))
        order = max(smallest.values())
    assert order is not None
    measures: dict[int, Measures] = {}
    modal: dict[int, ModalFilter] = {}
    total, before = sum(filter.groups for filter in filters.values()), 0
    for i, filter in filters.items():
        count = partial(_count, tell, before, total)
        modal[i], measures[i] = distil_layer(filter, order, head, steps, count)
        before += filter.groups
    new = _assemble(model, modal, order, head)
    return Distilled(new, _report(model, new, measures, smallest, tolerance, ids, source, tell))


def _count(tell: Report, before: int, total: int, done: int, _: int) -> None:
    """Filters of one layer counted among all."""
    tell("filter", before + done, total)


def _filters(model: Model) -> dict[int, ImplicitFilter]:
    """Layer -> its implicit filter; `HyenaError` where there is none."""
    mixers = {i: block.mixer for i, block in enumerate(model.backbone.layers)}
    found = {i: mixer.filter for i, mixer in mixers.items() if isinstance(mixer, Hyena)}
    implicit = {i: filter for i, filter in found.items() if isinstance(filter, ImplicitFilter)}
    if not implicit:
        why = "its Hyena layers have modal filters already" if found else "no layer of its pattern is a Hyena (letter H)"
        raise HyenaError(f"there is nothing to distil in a model of pattern {model.config.pattern!r}: {why}")
    return implicit


def _check(model: Model, order: int | None, head: int, tolerance: float | None, ids: Tensor | None) -> None:
    """Raise `HyenaError` for options that cannot be met, before any work."""
    if (order is None) == (tolerance is None):
        raise HyenaError("give an order or a tolerance, and not both: order=16 is a good start")
    if order is not None and order < 1:
        raise HyenaError(f"order is {order}: use at least 1 pole")
    if head < 0:
        raise HyenaError(f"head is {head}: use 0 for none")
    if tolerance is not None and not 0 < tolerance < 1:
        raise HyenaError(f"tolerance is {tolerance}: use a fraction of a filter's norm, above 0 and below 1")
    if ids is not None and not isinstance(model, LanguageModel):
        raise HyenaError(f"a {model.kind} predicts no tokens: leave the ids out")
    if ids is not None:
        if ids.shape[1] < 2 or not len(ids):
            raise HyenaError(f"ids are {tuple(ids.shape)}: windows of at least 2 tokens are needed to predict one")
        for block in model.backbone.layers:
            block.mixer.check_length(ids.shape[1] - 1)


def _smallest_order(filter: ImplicitFilter, head: int, tolerance: float, steps: int) -> int:
    """The least order found for which every filter is off by at most the tolerance: doubled, then halved in between."""

    def enough(order: int) -> bool:
        measured = distil_layer(filter, order, head, steps)[1]
        return bool((measured.relative(measured.error) <= tolerance).all())

    order = 1
    while not enough(order):
        order *= 2
        if order > LARGEST_ORDER:
            raise HyenaError(
                f"{LARGEST_ORDER} poles are not enough for a tolerance of {tolerance}: take a larger one, a longer head, or "
                "give the order yourself"
            )
    low = order // 2
    while order - low > 1:
        middle = (low + order) // 2
        low, order = (low, middle) if enough(middle) else (middle, order)
    return order


def _configured(config: ModelConfig, order: int, head: int) -> ModelConfig:
    """The configuration with modal filters behind letter H."""
    return config.replace(
        mixers=replace(config.mixers, H=replace(config.mixers.H, modal=ModalFilterConfig(order=order, head=head)))
    )


def _assemble(model: M, modal: dict[int, ModalFilter], order: int, head: int) -> M:
    """A new model with copies of all other tensors, in their dtypes and places."""
    tensors = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
    for i, filter in modal.items():
        prefix = f"backbone.blocks.{i}.mixer.filter."
        tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith(prefix)}
        tensors |= {prefix + name: tensor.to(model.device) for name, tensor in filter.state_dict().items()}
    with torch.device("meta"):
        new = type(model)(_configured(model.config, order, head), **model.head_options())
    assign(new, tensors, "the distilled model")
    new.tokenizer_file = model.tokenizer_file
    return new.eval()


def _head_alone(model: M) -> M:
    """The same model with its modes silenced."""
    filters = {i: block.mixer.filter for i, block in enumerate(model.backbone.layers) if isinstance(block.mixer, Hyena)}
    silent = {name: tensor.detach() for name, tensor in model.state_dict().items()}
    for i in filters:
        name = f"backbone.blocks.{i}.mixer.filter.residues"
        silent[name] = torch.zeros_like(silent[name])
    with torch.device("meta"):
        new = type(model)(model.config, **model.head_options())
    assign(new, silent, "the model without modes")
    return new.eval()


def _report(
    model: Model,
    new: Model,
    measures: dict[int, Measures],
    smallest: dict[int, int],
    tolerance: float | None,
    ids: Tensor | None,
    source: str,
    tell: Report,
) -> DistillationReport:
    """Filters, and where ids are given predictions."""
    modal = new.config.mixers.H.modal
    assert modal is not None
    length, found = model.config.max_length, None
    if ids is not None and isinstance(model, LanguageModel) and isinstance(new, LanguageModel):
        others = {DISTILLED: new, HEAD_ALONE: _head_alone(new)}
        with evaluating(model):
            found = compare(model, others, ids, lambda done, total: tell("window", done, total))
    return DistillationReport(
        order=modal.order,
        head=modal.head,
        tolerance=tolerance,
        max_length=length,
        state_bytes=new.state_bytes(length),
        original_state_bytes=model.state_bytes(length),
        layers=tuple(layer_report(i, m, smallest.get(i)) for i, m in measures.items()),
        predictions=None if found is None else predictions(found, 0),
        past_head=None if found is None else predictions(found, modal.head),
        windows=0 if found is None else found.windows,
        source="" if found is None else source,
        bins={} if found is None else bins(found),
    )
