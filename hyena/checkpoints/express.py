"""What a published format can say of our configuration: the options that it has no word for are found by reading back.

An exporter writes the options that a format has; the importer reads them; whatever then differs from the model's
configuration is something that the format cannot express. So no field, not even one that is added later, is lost unseen.

Two kinds of options differ. Most are part of the *function*: with another value the same weights compute something else, and a
format without them cannot hold the model. `LOOSE` ones are records and policies: the same weights compute the same outputs on
up to `max_length` ids in evaluation mode and float32, whatever they say. Those may be given up, by name.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from hyena.checkpoints import hyenadna, safari
from hyena.checkpoints.account import Account
from hyena.checkpoints.safari_config import model_config, model_options
from hyena.checkpoints.striped_config import striped_config, striped_options, vortex_config, vortex_options
from hyena.configs.files import nearest
from hyena.configs.mixers import ExplicitConvConfig
from hyena.configs.model import ModelConfig
from hyena.errors import HyenaError
from hyena.models import Classifier, LanguageModel
from hyena.modules import Attention

Model = LanguageModel | Classifier
Head = dict[str, Any]


@dataclass(frozen=True)
class Format:
    """How a published format is written; the inverse of each function is the importer's."""

    options: Callable[[ModelConfig, Head | None], dict[str, Any]]
    """Configuration and head -> the published configuration."""
    config: Callable[[dict[str, Any]], ModelConfig]
    """The published configuration -> ours."""
    tensors: Callable[[Account[Tensor], ModelConfig], dict[str, Tensor]] | None
    """Our tensors -> the published ones; none: `striped.pairs` does it, one at a time."""
    head: Head | None
    """What its classifier is; none: it has none."""
    file: str
    """The weights' file name."""
    letters: str
    """The letters of a pattern that it has."""
    key: str | None = None
    """The key of the state dict in a pickle; none: the pickle is the state dict."""


PUBLISHED = {
    "safari": Format(
        lambda config, head: model_options(config), model_config, safari.published_language_model, None, "model.ckpt", "HA"
    ),
    "hyenadna": Format(
        hyenadna.original_options,
        hyenadna.original_config,
        hyenadna.published_original,
        hyenadna.ORIGINAL_HEAD,
        "weights.ckpt",
        "HA",
        "state_dict",
    ),
    "hyenadna-hf": Format(
        hyenadna.port_options, hyenadna.port_config, hyenadna.published_port, hyenadna.PORT_HEAD, "model.safetensors", "H"
    ),
    "stripedhyena": Format(lambda config, head: striped_options(config), striped_config, None, None, "model.safetensors", "RA"),
    "vortex": Format(lambda config, head: vortex_options(config), vortex_config, None, None, "model.pt", "SMLA"),
}

LOOSE = {
    "tokenizer": "ids are the same",
    "beyond": "sequences up to max_length are the same; past it a published model cuts its output, and ours says error",
    "dropout": "evaluation is the same",
    "embed_dropout": "evaluation is the same",
    "init_std": "the weights are drawn already",
    "out_init": "the weights are drawn already",
    "float32_residual": "float32 is the same",
    "mixers.H.dropout": "evaluation is the same",
    "mixers.A.dropout": "evaluation is the same",
    "mixers.A.rotary_base": "the frequencies are stored",
    "mixers.H.filter.train_features": "the features are stored",
    "mixers.H.filter.decay_target": "the window's decay is stored",
    "mixers.H.filter.fast_decay": "the window's decay is stored",
    "mixers.H.filter.slow_decay": "the window's decay is stored",
}
"""Options that may be given up, each with what stays the same without it."""


def resolved(model: Model) -> ModelConfig:
    """The model's configuration with one spelling for each function: derived sizes as numbers, ranges of draws left out."""
    config, A = model.config, model.config.mixers.A
    for block in model.backbone.layers:
        if isinstance(block.mixer, Attention) and block.mixer.window is None:
            mixer = block.mixer
            turned = 0 if mixer.rotary is None else 2 * mixer.rotary.inv_freq.shape[0]
            grouped = None if mixer.kv_heads == mixer.heads else mixer.kv_heads
            A = replace(A, heads=mixer.heads, kv_heads=grouped, rotary_width=turned)
            A = A if turned else replace(A, rotary_base=type(A).rotary_base)
    mixers = config.mixers
    H = replace(mixers.H, filter=replace(mixers.H.filter, init_std=None))
    modal = type(mixers.R.filter)
    R = replace(mixers.R, filter=replace(mixers.R.filter, r_min=modal.r_min, r_max=modal.r_max))
    S, M, D = (_grouped(config, letter) for letter in "SMD")
    return config.replace(
        init_std=config.initial_std,
        pattern=config.layers,
        mlp_width=None if config.hidden == 4 * config.width and config.mlp == "plain" else config.hidden,
        later_activation=None if config.later_activation == config.activation else config.later_activation,
        tokenizer=one_spelling(config).tokenizer,
        beyond=config.beyond if "H" in config.layers else "error",
        mixers=replace(mixers, H=H, A=A, R=R, S=S, M=M, D=D),
    )


def _grouped(config: ModelConfig, letter: str) -> ExplicitConvConfig:
    """A letter's configuration with the number of its filters as a number, where the pattern uses it."""
    mixer: ExplicitConvConfig = getattr(config.mixers, letter)
    if letter not in config.layers or mixer.filter.groups is not None:
        return mixer
    return replace(mixer, filter=replace(mixer.filter, groups=config.width))


def express(model: Model, name: str, drop: Collection[str]) -> tuple[dict[str, Any], ModelConfig]:
    """The published configuration of a model in a format, and ours as the format gives it back.

    drop: names out of `LOOSE` that may differ. Raises `HyenaError` naming the first option that the format cannot express,
    its value and what can be done.
    """
    for option in drop:
        if option not in LOOSE:
            raise HyenaError(f"{option!r} cannot be dropped{nearest(option, LOOSE)}: only {', '.join(LOOSE)} can")
    if (found := _as_published(model, name)) is not None:
        return found
    options, again, differences = _written(model, name)
    for option, value, theirs in differences:
        if option not in drop:
            raise HyenaError(
                f"{name} cannot express {option} = {value!r} (there it would be {theirs!r}): {_cure(model, option, theirs)}"
            )
    return options, again


def _as_published(model: Model, name: str) -> tuple[dict[str, Any], ModelConfig] | None:
    """The configuration that the model was published with, where that is still what it is."""
    source = model.published
    if source is None or source.format != name:
        return None
    again = PUBLISHED[name].config(source.config)
    known = {"tokenizer"} if source.config.get("vocab_file") else set()
    found = _differences(resolved(model), None, again, PUBLISHED[name])
    return (source.config, again) if all(option in known for option, *_ in found) else None


def _written(model: Model, name: str) -> tuple[dict[str, Any], ModelConfig, list[tuple[str, Any, Any]]]:
    """A model's options in a format, ours as the format gives them back, and where the two differ."""
    config, format = resolved(model), PUBLISHED[name]
    head = model.head_options() if isinstance(model, Classifier) else None
    theirs = "".join(letter if letter in format.letters else "?" for letter in config.layers)
    if theirs != config.layers:
        return {}, config, [("pattern", config.layers, theirs)]
    options = format.options(config, head)
    try:
        again = format.config(options)
    except HyenaError as error:
        raise HyenaError(f"{name} cannot express the model: {error}") from None
    return options, again, _differences(config, head, again, format)


def _differences(config: ModelConfig, head: Head | None, again: ModelConfig, format: Format) -> list[tuple[str, Any, Any]]:
    """(option, ours, theirs) for all that the format does not give back, in the order of the configuration."""
    if head is not None and format.head is None:
        return [("a classifier's head", head, "a language model")]
    found = [(f"head {key}", head[key], value) for key, value in (format.head or {}).items() if head and head[key] != value]
    before, after = (_flat(one_spelling(each).to_dict()) for each in (config, again))
    # The head of a classifier stands alone: whether an unused language-model head would be tied means nothing.
    skipped = {"tied"} if head is not None else set()
    found += [(k, before.get(k), after.get(k)) for k in before if k not in skipped and before[k] != after.get(k)]
    return found


def one_spelling(config: ModelConfig) -> ModelConfig:
    """Rows of the head that one multiple or another gives are the same rows, and bytes are what 256 symbols mean anyway."""
    return config.replace(
        vocab_multiple=1 if config.rows == config.vocab_size else config.rows,
        tokenizer=None if (config.tokenizer, config.vocab_size) == ("bytes", 256) else config.tokenizer,
    )


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables as dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def _cure(model: Model, option: str, theirs: Any) -> str:
    """What to do about an option that a format has no word for."""
    if option in LOOSE:
        return f"{LOOSE[option]}, so give it up with drop (--drop {option}), or set it to {theirs!r} and save again"
    able = ["hyena", *(name for name in PUBLISHED if _can(model, name))]
    return f"the function would be another one; use format {' or '.join(able)}"


def _can(model: Model, name: str) -> bool:
    """Whether a format has a word for all that is part of the model's function."""
    try:
        return all(option in LOOSE for option, *_ in _written(model, name)[2])
    except HyenaError:
        return False
