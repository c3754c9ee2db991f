"""Our tokenizers as those of transformers: the same ids for every byte and base, in a tokenizer.json that reads without hyena.

Special tokens have no spelling: "[PAD]" in a text is five bytes, and no DNA. Nothing is added to a text and nothing tidied
away. What is no DNA letter is an error here too, though one of the package tokenizers (it speaks of a missing [UNK]).
"""

from pathlib import Path
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from hyena.data.tokenizers import ByteTokenizer, DNATokenizer
from hyena.errors import HyenaError
from hyena.integrations.transformers.config import HyenaConfig
from hyena.models import store

_SPELLED = {"split_special_tokens": True, "clean_up_tokenization_spaces": False, "padding_side": "left"}
"""Of every tokenizer here: special tokens are not looked for in texts; padding before the tokens, as generation needs it."""


def make_tokenizer(spec: str, directory: str | Path | None = None) -> PreTrainedTokenizerFast:
    """The tokenizer of a model: "bytes", "dna" or "file:NAME", NAME in `directory`.

    Padding of bytes is id 256, which no model of bytes has a row for: it must stand under an attention mask.
    """
    if spec == ByteTokenizer.spec:
        return PreTrainedTokenizerFast(tokenizer_object=_bytes(), pad_token="[PAD]", **_SPELLED)
    if spec == DNATokenizer.spec:
        names = {f"{name}_token": f"[{name.upper()}]" for name in ("cls", "sep", "bos", "mask", "pad", "unk")}
        return PreTrainedTokenizerFast(tokenizer_object=_dna(), eos_token="[SEP]", **names, **_SPELLED)
    kind, _, name = spec.partition(":")
    file = Path(directory or ".") / name
    if kind != "file" or not file.is_file():
        raise HyenaError(f"tokenizer {spec!r} is not here: use 'bytes', 'dna' or 'file:NAME' with the directory of that file")
    return PreTrainedTokenizerFast(tokenizer_file=str(file), clean_up_tokenization_spaces=False, padding_side="left")


class HyenaTokenizer(PreTrainedTokenizerFast):
    """What `AutoTokenizer` finds for our configuration: a directory that hyena wrote names its tokenizer, and that is made."""

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, *arguments: Any, **options: Any) -> PreTrainedTokenizerFast:
        """The directory's tokenizer.json where there is one, else what its configuration names."""
        directory = Path(pretrained_model_name_or_path)
        if not store.is_native(directory) or (directory / "tokenizer.json").is_file():
            return PreTrainedTokenizerFast.from_pretrained(pretrained_model_name_or_path, *arguments, **options)
        config = HyenaConfig.from_pretrained(directory).model_config
        spec = config.tokenizer or ("bytes" if config.vocab_size == 256 else None)
        if spec is None:
            raise HyenaError(f"{directory} names no tokenizer for its {config.vocab_size} symbols: give the model ids")
        return make_tokenizer(spec, directory)


def _letters() -> dict[int, str]:
    """The character for each byte in byte-level vocabularies: itself where it can be seen, else one from U+0100 on."""
    seen = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    hidden = [byte for byte in range(256) if byte not in seen]
    return {byte: chr(byte) for byte in seen} | {byte: chr(0x100 + i) for i, byte in enumerate(hidden)}


def _bytes() -> Tokenizer:
    """Every byte of the text's UTF-8 is its own id."""
    made = Tokenizer(models.BPE(vocab={letter: byte for byte, letter in _letters().items()}, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    made.decoder = decoders.ByteLevel()
    return made


def _dna() -> Tokenizer:
    """Every letter is a token; lower case is read as upper case."""
    vocabulary = {name: id for id, name in enumerate(DNATokenizer.names)}
    made = Tokenizer(models.WordLevel(vocab=vocabulary, unk_token="none"))
    made.normalizer = normalizers.Sequence([normalizers.Replace(letter.lower(), letter) for letter in "ACGTN"])
    made.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    made.decoder = decoders.Fuse()
    return made
