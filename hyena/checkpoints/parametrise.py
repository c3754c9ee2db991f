"""A trained model in the parametrisation that is published: the same function, with the numbers that inference needs."""

import copy
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from hyena.configs.mixers import ExplicitConvConfig, GatedConvConfig, RealModalConvConfig
from hyena.models import Classifier, LanguageModel
from hyena.models.store import assign


def parametrised(model: LanguageModel | Classifier) -> LanguageModel | Classifier:
    """Poles as complex numbers (R), log poles (L) and taps with their decay in them (S, M); the model itself where it is so."""
    config = model.config
    changed: dict[str, Any] = {}
    for letter in set(config.layers) & set("RLSM"):
        mixer: Any = config.mixer(letter)
        published = published_form(mixer)
        if published != mixer:
            changed[letter] = published
    if not changed:
        return model
    new_config = config.replace(mixers=replace(config.mixers, **changed))
    state = dict(model.state_dict())
    for i, letter in enumerate(config.layers):
        if letter in changed:
            prefix = f"backbone.blocks.{i}.mixer.filter."
            old = {name: state.pop(name) for name in list(state) if name.startswith(prefix)}
            made = published_tensors(model.backbone.layers[i].mixer, letter)
            assert old
            state |= {prefix + name: tensor for name, tensor in made.items()}
    with torch.device("meta"):
        new = type(model)(new_config, **model.head_options())  # type: ignore[arg-type]
    assign(new, state, "the model")
    new.tokenizer_file, new.published = model.tokenizer_file, copy.copy(model.published)
    return new.train(model.training)


def published_form(
    mixer: GatedConvConfig | RealModalConvConfig | ExplicitConvConfig,
) -> GatedConvConfig | RealModalConvConfig | ExplicitConvConfig:
    """A mixer's configuration with its filter in the published form; an exact head stays, which no format can express."""
    if isinstance(mixer, ExplicitConvConfig):
        return replace(mixer, filter=replace(mixer.filter, decay="none", decay_length=None))
    if isinstance(mixer, RealModalConvConfig):
        return replace(mixer, filter=replace(mixer.filter, form="log_poles"))
    return mixer if mixer.filter.head else replace(mixer, filter=replace(mixer.filter, form="cartesian"))


@torch.no_grad()
def published_tensors(mixer: Any, letter: str) -> dict[str, Tensor]:
    """The tensors of a mixer's filter in the published form."""
    f = mixer.filter
    if letter == "R":
        decay, angle = f.exponents().unbind(-1)  # log |lam| and the angle
        poles = torch.stack([decay.exp() * angle.cos(), decay.exp() * angle.sin()], -1)
        return {"poles": poles.to(f.residues.dtype), "residues": f.residues}
    if letter == "L":
        return {"log_poles": f.exponents()[..., 0].to(f.residues.dtype), "residues": f.residues}
    return {"taps": f.section(0, f.taps.shape[1]).to(f.taps.dtype)}
