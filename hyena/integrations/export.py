"""`exported`: the forward of a model as a program of `torch.export`, for any batch and any length that the model reads.

A program holds the weights and no Python of ours but the operators `torch.ops.hyena.*`: whoever loads one imports `hyena.ops`
first. It computes its filters anew in every call, where a model in evaluation keeps them. Its weights are the model's own and
have no gradient.
"""

import torch
from torch import nn
from torch.export import Dim, ExportedProgram

from hyena.errors import HyenaError
from hyena.models import Classifier, LanguageModel
from hyena.models.modes import evaluating
from hyena.modules import Hyena
from hyena.modules.filters import ImplicitFilter

_TRACED = 16
"""Tokens of the rows that an open length is traced with; any number would do."""


def exported(model: LanguageModel | Classifier, *, batch: int | None = None, length: int | None = None) -> ExportedProgram:
    """The program of `model(ids)`, in evaluation: `exported(model).module()(ids)`; `torch.export.save` writes it.

    batch, length: a program for these alone; none given: for any batch, and any length up to `longest`.

    Raises `HyenaError` for a batch or a length that there cannot be.
    """
    most = longest(model)
    if batch is not None and batch < 1:
        raise HyenaError(f"batch is {batch}: use at least 1, or none for any")
    if length is not None and length < 1:
        raise HyenaError(f"length is {length}: use at least 1, or none for any")
    if length is not None and most is not None and length > most:
        raise HyenaError(
            f"length is {length} and a program of this model reads {most} tokens at most: use a model with "
            "another max_length (`resized`) or beyond='truncate'"
        )
    length = 1 if most == 1 else length
    rows = 2 if batch is None else batch
    tokens = min(_TRACED, most or _TRACED) if length is None else length
    dynamic: dict[int, Dim] = {}
    if batch is None:
        dynamic[0] = Dim("batch", min=1)
    if length is None:
        dynamic[1] = Dim("length", min=1, max=most)
    ids = torch.zeros(rows, tokens, dtype=torch.int64, device=model.device)
    with evaluating(model), torch.no_grad():
        program = torch.export.export(model, (ids,), dynamic_shapes=(dynamic or None,))
    weights = program.state_dict
    for name, weight in weights.items():  # what was traced is no way back to them all
        if isinstance(weight, nn.Parameter):
            weights[name] = nn.Parameter(weight.detach(), requires_grad=False)
    return program


def longest(model: LanguageModel | Classifier) -> int | None:
    """Tokens that a program reads at most; None: any number. Up to max_length where filters go on past it by their formula."""
    filters = [block.mixer.filter for block in model.backbone.layers if isinstance(block.mixer, Hyena)]
    grids = [f.max_length for f in filters if isinstance(f, ImplicitFilter) and f.beyond == "extend"]
    return min([*model.backbone.limits().values(), *grids], default=None)
