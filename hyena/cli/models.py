"""What several commands do first: load a language model with its tokenizer, onto a device."""

from pathlib import Path

import hyena
from hyena.data import Tokenizer, load_tokenizer
from hyena.errors import HyenaError
from hyena.models import Classifier, LanguageModel
from hyena.training.device import device_for


def language_model(directory: Path, device: str) -> tuple[LanguageModel, Tokenizer]:
    """The model of a directory and the tokenizer that it names (256 symbols and none named: bytes)."""
    model = hyena.load(directory)
    if not isinstance(model, LanguageModel):
        raise HyenaError(f"{directory} holds a {type(model).__name__}: a language model is needed")
    tokenizer = tokenizer_of(model, directory)
    return model.to(device_for(device)), tokenizer


def tokenizer_of(model: LanguageModel | Classifier, directory: Path) -> Tokenizer:
    """The tokenizer that a model from a directory names."""
    spec = model.config.tokenizer
    if spec is None and model.config.vocab_size != 256:
        raise HyenaError(f"{directory} names no tokenizer for its {model.config.vocab_size} symbols: add it to config.json")
    if spec is not None and spec.startswith("file:") and model.tokenizer_file is not None:
        return load_tokenizer(f"file:{model.tokenizer_file.name}", model.tokenizer_file.parent)
    return load_tokenizer(spec or "bytes")
