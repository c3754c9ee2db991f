"""A tiny byte-level BPE tokenizer, trained on the spot."""

from pathlib import Path

import pytest


@pytest.fixture
def bpe_file(tmp_path: Path) -> Path:
    """bpe.json: 256 bytes, one special token <end> (id 0) and a few merges."""
    tokenizers = pytest.importorskip("tokenizers")
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=280, special_tokens=["<end>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(["the end of the café, the naïve end"] * 3, trainer)
    path = tmp_path / "bpe.json"
    tokenizer.save(str(path))
    return path
