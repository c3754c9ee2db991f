"""Runs as TOML files, and the demonstration's.

A run is a file with the tables [model], [data], [optimizer] and [training]; every key of the file but `preset` can be
changed on the command line. What a run resolves to is written beside its checkpoints as the same kind of file.
"""

from collections.abc import Mapping
from typing import Any

from hyena.configs import presets
from hyena.configs.data import DataConfig
from hyena.configs.files import from_dict, nearest, newer, to_dict
from hyena.configs.model import ModelConfig
from hyena.configs.training import OptimizerConfig, RunConfig, TrainingConfig
from hyena.errors import HyenaError
from hyena.version import __version__

VERSION_KEY = "hyena"


def run_config(values: Mapping[str, Any], where: str, vocab_size: int | None = None) -> RunConfig:
    """A run from a TOML file's values. [model] may name a `preset`, whose fields the others change, and may leave out
    vocab_size, for which the tokenizer's is then given here.
    """
    values = dict(values)
    written = values.pop(VERSION_KEY, None)
    try:
        if isinstance(values.get("model"), Mapping):
            model = dict(values["model"])
            if "preset" in model:
                model = preset(model.pop("preset"), f"{where}: model").to_dict() | model
            model = {"vocab_size": vocab_size} | model if vocab_size is not None else model
            values["model"] = ModelConfig.from_dict(model, f"{where}: model")
        return from_dict(RunConfig, values, where)
    except HyenaError as error:
        raise HyenaError(f"{error}{newer(written)}") from None


def resolved(config: RunConfig) -> dict[str, Any]:
    """Every option of a run as plain values, with the version that wrote them; without None, for which TOML has no word."""
    values = _without_none(to_dict(config) | {"model": config.model.to_dict()})
    return {VERSION_KEY: __version__, **values}


def _without_none(values: Any) -> Any:
    """Tables without their keys of no value; every option whose value may be None has None for its default."""
    if isinstance(values, dict):
        return {key: _without_none(value) for key, value in values.items() if value is not None}
    return list(values) if isinstance(values, tuple) else values


def preset(name: str, where: str) -> ModelConfig:
    """A preset by its name; `HyenaError` naming the nearest."""
    known = sorted(key for key in vars(presets) if key.startswith("hyena"))
    if name not in known:
        raise HyenaError(f"{where}: there is no preset {name!r}{nearest(str(name), known)}; the presets: {', '.join(known)}")
    return getattr(presets, name)()


def demo(directory: str, file: str) -> RunConfig:
    """The demonstration: a byte-level Hyena of 4 layers of width 128 on tiny Shakespeare, minutes on a laptop."""
    return RunConfig(
        directory=directory,
        model=ModelConfig(
            pattern="HHHH",
            width=128,
            vocab_size=256,
            max_length=256,
            beyond="truncate",
            tokenizer="bytes",
        ),
        data=DataConfig(files=(file,)),
        optimizer=OptimizerConfig(lr=2e-3, floor=0.05),
        training=TrainingConfig(steps=3600, batch_size=4, log_every=20, valid_every=600, save_every=600),
    )
