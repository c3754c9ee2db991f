"""The training and the held-out corpus of a configuration."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from hyena.data.corpus import Corpus, load_corpus
from hyena.data.tokenizers import Tokenizer


def corpora(
    config: Any, tokenizer: Tokenizer, directory: Path | None = None, report: Callable[[int, int], None] | None = None
) -> tuple[Corpus, Corpus]:
    """Training and held-out corpus."""
    corpus = load_corpus(config.files, tokenizer)
    if config.valid_files:
        return corpus, load_corpus(config.valid_files, tokenizer)
    return corpus.split(config.valid_fraction)
