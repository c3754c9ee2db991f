"""Text to ids and back: bytes, DNA letters, or a `tokenizer.json` file.

A tokenizer is whatever has the six members of `Tokenizer`. `encode` adds no special token, pads nothing and cuts
nothing. Text goes in and out whole: for ids that arrive one at a time see `hyena.data.streaming`. Nothing is trained.
"""

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from hyena.data.files import read_bytes
from hyena.errors import HyenaError

Ids = Sequence[int] | np.ndarray


@runtime_checkable
class Tokenizer(Protocol):
    """What training, generation and checkpoints ask of a tokenizer.

    spec: the name `load_tokenizer` makes it from: "bytes", "dna" or "file:NAME".
    vocab_size: ids are 0 .. vocab_size - 1.
    legal_ids: the ids that generation may emit; None for all of them.
    """

    spec: str
    vocab_size: int
    legal_ids: tuple[int, ...] | None

    def encode(self, text: str | bytes) -> np.ndarray:
        """Ids of the text, int64 of shape (L,); HyenaError for text it has no ids for."""
        ...

    def decode(self, ids: Ids) -> str:
        """The text of ids (L,); HyenaError for an id outside the vocabulary."""
        ...

    def byte_length(self, ids: Ids) -> int:
        """How many bytes of text the ids (L,) stand for: the denominator of bits per byte."""
        ...


class ByteTokenizer:
    """Every byte is its own id, 0 .. 255; str is taken as UTF-8."""

    spec: str = "bytes"
    vocab_size: int = 256
    legal_ids: tuple[int, ...] | None = None

    def encode(self, text: str | bytes) -> np.ndarray:
        """The bytes of the text, int64 of shape (L,)."""
        return np.frombuffer(_as_bytes(text), np.uint8).astype(np.int64)

    def decode(self, ids: Ids) -> str:
        """The text of ids (L,); bytes that are not UTF-8 become U+FFFD."""
        return self.to_bytes(ids).decode("utf-8", errors="replace")

    def to_bytes(self, ids: Ids) -> bytes:
        """Ids (L,) as the L bytes they are, UTF-8 or not."""
        return _checked(ids, self).astype(np.uint8).tobytes()

    def byte_length(self, ids: Ids) -> int:
        """L: one byte per id."""
        return len(_checked(ids, self))


_LETTERS = "ACGTN"
_FIRST_LETTER = 7
_ILLEGAL = 255
# The id of each of the 256 bytes, for bytes.translate: a genome is encoded at the speed of a copy.
_DNA_IDS = bytes(
    _FIRST_LETTER + _LETTERS.index(chr(byte).upper()) if chr(byte) in "ACGTNacgtn" else _ILLEGAL for byte in range(256)
)


class DNATokenizer:
    """HyenaDNA's vocabulary: seven special ids, then A C G T N.

    Lower case, which marks repeats in many genomes, is read as upper case; the published tokenizer turned it into
    [UNK] without a word. Special tokens have no spelling that `encode` reads: "[SEP]" in a text is an error, not id 1.
    """

    cls_id, sep_id, bos_id, mask_id, pad_id, reserved_id, unk_id = range(_FIRST_LETTER)
    names: tuple[str, ...] = ("[CLS]", "[SEP]", "[BOS]", "[MASK]", "[PAD]", "[RESERVED]", "[UNK]", *_LETTERS)

    spec: str = "dna"
    vocab_size: int = len(names)
    legal_ids: tuple[int, ...] | None = (7, 8, 9, 10)
    # A and T, C and G change places; every other id is its own complement. complement[ids][::-1] is the other strand.
    complement: np.ndarray = np.array([*range(_FIRST_LETTER), 10, 9, 8, 7, 11])

    def encode(self, text: str | bytes) -> np.ndarray:
        """Ids of the letters, int64 of shape (L,); HyenaError for anything but A C G T N a c g t n."""
        # "?", no DNA letter, stands in for whatever is not ASCII; position and message still come from the text.
        letters = text.encode("ascii", errors="replace") if isinstance(text, str) else text
        ids = letters.translate(_DNA_IDS)
        position = ids.find(_ILLEGAL)
        if position >= 0:
            raise HyenaError(
                f"{text[position : position + 1]!r} at position {position} (the first is 0) is not a DNA letter; "
                "legal are A, C, G, T and N in either case"
            )
        return np.frombuffer(ids, np.uint8).astype(np.int64)

    def letter_ids(self, letters: bytes) -> np.ndarray:
        """`encode` for letters known to be legal: uint8 of shape (L,), an eighth of the memory."""
        return np.frombuffer(letters.translate(_DNA_IDS), np.uint8)

    def decode(self, ids: Ids) -> str:
        """The letters of ids (L,); special ids are written as their names in brackets."""
        return "".join(self.names[i] for i in _checked(ids, self).tolist())

    def byte_length(self, ids: Ids) -> int:
        """The number of letters; special ids stand for no text."""
        return int(np.count_nonzero(_checked(ids, self) >= _FIRST_LETTER))


_ENDS_OF_TEXT = ("<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>", "[EOS]")


class FileTokenizer:
    """A tokenizer in a `tokenizer.json` of the Hugging Face `tokenizers` package, which the extra `text` installs.

    `name` is looked for in `directory` first, then as it is; `path` is the file found. Truncation and padding that the
    file asks for are switched off: a corpus is never cut. What the file's own rules lose (characters without an id,
    spaces that a decoder tidies away) stays lost. HyenaError for a missing or damaged file.
    """

    def __init__(self, name: str, directory: Path | None = None) -> None:
        """Read the file; it may be gzip or xz like any data file."""
        try:
            import tokenizers
        except ImportError as error:
            raise HyenaError(f"tokenizer file {name} needs the package tokenizers; run pip install 'hyena[text]'") from error

        inside = Path(directory, name) if directory is not None else Path(name)
        self.path = Path(name) if Path(name).exists() and not inside.exists() else inside
        content = read_bytes(self.path)
        try:
            self._tokenizer = tokenizers.Tokenizer.from_buffer(content)
        except ValueError as error:
            raise HyenaError(f"{self.path} is not a tokenizer.json ({error}); save it again with tokenizers") from error
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()

        ids = sorted(set(self._tokenizer.get_vocab(with_added_tokens=True).values()))
        if not ids:
            raise HyenaError(f"{self.path} holds an empty vocabulary; train the tokenizer first")
        self.spec: str = f"file:{name}"
        self.vocab_size: int = ids[-1] + 1
        self.content: bytes = content
        known = ((name, self._tokenizer.token_to_id(name)) for name in _ENDS_OF_TEXT)
        # What stands between two documents of a corpus: (name, id), or None where the vocabulary has no such token.
        self.end_of_text: tuple[str, int] | None = next(((name, id) for name, id in known if id is not None), None)
        # Numbers the vocabulary leaves out would decode to nothing.
        self.legal_ids: tuple[int, ...] | None = None if len(ids) == self.vocab_size else tuple(ids)

    def encode(self, text: str | bytes) -> np.ndarray:
        """Ids of the text, int64 of shape (L,), without special tokens; HyenaError for bytes that are not UTF-8."""
        try:
            string = _as_bytes(text).decode("utf-8")
        except UnicodeDecodeError as error:
            raise HyenaError(
                f"byte {error.object[error.start]:#04x} at position {error.start} is not UTF-8; "
                "convert the text or use the bytes tokenizer"
            ) from error
        return np.array(self._tokenizer.encode(string, add_special_tokens=False).ids, np.int64)

    def decode(self, ids: Ids) -> str:
        """The text of ids (L,), special tokens included."""
        return self._tokenizer.decode(_checked(ids, self).tolist(), skip_special_tokens=False)

    def byte_length(self, ids: Ids) -> int:
        """Bytes of the decoded text in UTF-8; a character cut at either end counts as the three bytes of U+FFFD.

        The end-of-text token stands for no text.
        """
        array = _checked(ids, self)
        if self.end_of_text is not None:
            array = array[array != self.end_of_text[1]]
        return len(self.decode(array).encode("utf-8"))


def load_tokenizer(spec: str, directory: Path | None = None) -> Tokenizer:
    """The tokenizer of "bytes", "dna" or "file:NAME"; NAME is looked for in `directory` first, then as it is."""
    if spec == ByteTokenizer.spec:
        return ByteTokenizer()
    if spec == DNATokenizer.spec:
        return DNATokenizer()
    kind, _, name = spec.partition(":")
    if kind == "file" and name:
        return FileTokenizer(name, directory)
    near = [f"file:{spec}"] if spec.endswith(".json") else get_close_matches(spec.lower(), ["bytes", "dna"], n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise HyenaError(f"unknown tokenizer {spec!r}; use 'bytes', 'dna' or 'file:NAME' (a tokenizer.json){hint}")


def _as_bytes(text: str | bytes) -> bytes:
    """The text in UTF-8; HyenaError for a str with half a surrogate pair, which a broken terminal can produce."""
    if isinstance(text, bytes):
        return text
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        bad = text[error.start : error.start + 1]
        raise HyenaError(f"{bad!r} at position {error.start} is not a character; pass the text as UTF-8") from error


def _checked(ids: Ids, tokenizer: Tokenizer) -> np.ndarray:
    """Ids as an int64 array of shape (L,); HyenaError unless they are whole numbers below the vocabulary size."""
    array = np.asarray(ids)
    if array.ndim != 1:
        raise HyenaError(f"ids have shape {array.shape}; pass one sequence of shape (L,)")
    if array.size and not np.issubdtype(array.dtype, np.integer):
        raise HyenaError(f"ids are of type {array.dtype}; pass whole numbers")
    outside = (array < 0) | (array >= tokenizer.vocab_size)
    if outside.any():
        position = int(outside.argmax())
        raise HyenaError(
            f"id {array[position]} at position {position} is outside tokenizer {tokenizer.spec!r}; "
            f"its ids are 0 .. {tokenizer.vocab_size - 1}"
        )
    return array.astype(np.int64)
