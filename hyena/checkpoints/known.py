"""A known input: fixed ids and the logits that a model gave for them when it was written, for `verify` to compute again."""

from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor

from hyena.configs.files import read_json
from hyena.models import Classifier, LanguageModel, store
from hyena.models.tensorfile import save_file

TOKENS = 64


def known_ids(model: LanguageModel | Classifier) -> Int[Tensor, "B L"]:
    """Up to 64 ids (1, L), as many as the model reads."""
    length = min([TOKENS, model.config.max_length, *model.backbone.limits().values()])
    return (torch.arange(length) * 37 + 11)[None] % model.config.vocab_size


def record(model: LanguageModel | Classifier, directory: Path) -> None:
    """Add ids and logits to a directory that `model.save` has written; the model is on its device and as it is."""
    ids, training = known_ids(model), model.training
    with torch.no_grad():
        logits = model.eval()(ids.to(model.device)).cpu()
    model.train(training)
    save_id = read_json(directory / store.CONFIG)["save_id"]
    save_file({"input_ids": ids, "logits": logits}, directory / store.KNOWN, {"save_id": save_id})
