"""From a configuration to a run that can take its next step: everything that can be refused is refused here."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from hyena.checkpoints import load
from hyena.configs.training import RunConfig
from hyena.data import Tokenizer, corpora, load_tokenizer
from hyena.errors import HyenaError
from hyena.models import LanguageModel, store
from hyena.training import record, saves
from hyena.training.average import Average
from hyena.training.device import device_for
from hyena.training.optim import describe, optimizer_for
from hyena.training.recall import RecallSource
from hyena.training.source import CorpusSource, Source
from hyena.training.state import State

Note = Callable[[str], None]
Reading = Callable[[int, int], None]
_NEW_TOKENS = f".{record.TOKENS}.new"


def set_up(config: RunConfig, resume: bool, overwrite: bool, note: Note, reading: Reading) -> tuple[State, Source, float]:
    """(state, source of batches, seconds taken so far) of a new run, or of one to go on with; its directory is then begun.

    Raises `HyenaError` for bad input; what was in the directory is then as it was.
    """
    directory = Path(config.directory)
    going_on = record.check(directory, config, resume, overwrite)
    tokenizer = None if config.data.recall is not None else load_tokenizer(config.spec)
    state = _fresh(config, tokenizer, None if going_on else config.training.initial)
    if going_on:
        # The tokens are the run's own, whatever has become of the files or how they are called from here.
        began = record.recorded(directory)
        if (began.data.files, began.data.valid_files) != (config.data.files, config.data.valid_files):
            note(f"data.files are others than when {directory} began: it goes on with the tokens that it kept")
        config = replace(config, data=began.data)
        source = _source(config, tokenizer, directory / record.TOKENS, reading)
        record.check_data(directory, source.digests)
        seconds = _go_on(state, directory, note)
    else:
        source, seconds = _begin(config, tokenizer, reading), 0.0
        if resume:
            note(f"{directory} holds no run yet: starting it")
    for line in (*source.notes, *describe(state.optimizer)):
        note(line)
    return state, source, seconds


def _begin(config: RunConfig, tokenizer: Tokenizer | None, reading: Reading) -> Source:
    """Read the data beside what the directory holds; only when all of it is good does it take an earlier run's place."""
    directory = Path(config.directory)
    new, there = directory / _NEW_TOKENS, directory.exists()
    shutil.rmtree(new, ignore_errors=True)
    try:
        digests = _source(config, tokenizer, new, reading, verify=True).digests
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        if not there and directory.exists():
            directory.rmdir()
        raise
    record.begin(directory, config, new if new.exists() else None, digests)
    return _source(config, tokenizer, directory / record.TOKENS, reading)


def _go_on(state: State, directory: Path, note: Note) -> float:
    """Restore the newest checkpoint; without one the run starts again from its first step."""
    saves.clean(directory)
    shutil.rmtree(directory / _NEW_TOKENS, ignore_errors=True)
    if steps := saves.saved(directory):
        state.restore(directory, steps[-1])
    note(f"resuming {directory} at step {state.step}")
    if changed := record.changed_environment(directory):
        note(changed)
    return record.cut(directory, state.step)


def _source(config: RunConfig, tokenizer: Tokenizer | None, tokens: Path, reading: Reading, verify: bool = False) -> Source:
    """The batches of a run; its tokens are kept in a directory of their own and read there once they are there."""
    if tokenizer is None:
        return RecallSource(config)
    training, held_out = corpora(config.data, tokenizer, tokens, reading, verify=verify)
    return CorpusSource(training, held_out, tokenizer, config)


def _fresh(config: RunConfig, tokenizer: Tokenizer | None, initial: str | None) -> State:
    """The model with its initial weights, on its device, and its optimiser."""
    vocab_size = config.model.vocab_size if tokenizer is None else tokenizer.vocab_size
    if vocab_size != config.model.vocab_size:
        raise HyenaError(
            f"tokenizer {config.spec!r} has {vocab_size} symbols and the model vocab_size {config.model.vocab_size}: "
            f"leave vocab_size out or make it {vocab_size}"
        )
    torch.manual_seed(config.training.seed)
    model = LanguageModel(config.model if tokenizer is None else config.model.replace(tokenizer=config.spec))
    for name, limit in model.backbone.limits().items():
        if config.length > limit:
            cure = f"shorten it or raise {name}" + (", or set beyond to 'truncate'" if name == "max_length" else "")
            raise HyenaError(f"training.length is {config.length} and the model's {name} {limit}: {cure}")
    if initial is not None:
        _start_from(model, initial)
    model.to(device_for(config.training.device))
    model.backbone.recompute = config.training.gradient_checkpointing
    if tokenizer is not None and config.spec.startswith("file:"):
        model.tokenizer_file = Path(config.spec.removeprefix("file:"))
    decay = config.optimizer.ema
    return State(model, optimizer_for(model, config.optimizer), Average(model, decay) if decay else None)


def _start_from(model: LanguageModel, path: str) -> None:
    """Give the model another one's weights; every name and shape must fit."""
    other = load(path)
    if not isinstance(other, LanguageModel):
        raise HyenaError(f"training.initial {path} holds a {type(other).__name__}: a language model is needed")
    weights = other.state_dict()
    store.check_fit(model, weights, f"training.initial {path}")
    model.load_state_dict(weights)
