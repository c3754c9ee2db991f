"""A text to train on, a byte-pair tokenizer, and runs that do not draw their curve unless the test is about it."""

from pathlib import Path

import pytest

from hyena.training import loop
from tests.training.runs import TEXT


@pytest.fixture
def text(tmp_path: Path) -> Path:
    """A file of 900 letters."""
    path = tmp_path / "text.txt"
    path.write_text(TEXT)
    return path


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the loss curve out, which takes longer than a tiny run."""
    monkeypatch.setattr(loop, "draw_curve", lambda _: None)


@pytest.fixture
def bpe_file(tmp_path: Path) -> Path:
    """bpe.json: byte pairs trained on the text, 280 symbols."""
    tokenizers = pytest.importorskip("tokenizers")
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=280, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator([TEXT], trainer)
    path = tmp_path / "bpe.json"
    tokenizer.save(str(path))
    return path
