"""`DataConfig`: what a run is trained and validated on, and `Policy`: how files are read into tokens."""

from dataclasses import dataclass, fields
from typing import Literal

from hyena.configs.files import validate
from hyena.errors import HyenaError


@dataclass(frozen=True)
class Policy:
    """How files become text or DNA; docs/data.md tells each rule in full."""

    soft_mask: Literal["upper", "mask", "keep"] = "upper"
    """Lower-case letters of DNA and FASTA: upper: upper case; mask: N; keep: as they are (not with the dna tokenizer)."""
    iupac: Literal["error", "n"] = "error"
    """Ambiguity codes of DNA other than N (R, Y, ...): error; n: replaced by N and counted."""
    text_field: str = "text"
    """The key of a .jsonl line that holds its text."""

    def __post_init__(self) -> None:
        """Reject what is no policy."""
        validate(self)
        if not self.text_field:
            raise HyenaError("text_field is empty: name the key of a .jsonl line that holds its text")


@dataclass(frozen=True)
class RecallConfig:
    """Associative recall, a task without files: key value key value ..., where a key keeps its value within a sequence.

    A known key's value is to be told. Ids: keys 0 .. keys - 1, values keys .. keys + values - 1.
    """

    keys: int = 16
    """Different keys."""
    values: int = 16
    """Different values."""
    pairs: int = 64
    """Pairs a sequence."""

    @property
    def vocab_size(self) -> int:
        """Ids there are: keys and values."""
        return self.keys + self.values

    @property
    def length(self) -> int:
        """Ids a sequence: two a pair."""
        return 2 * self.pairs

    def __post_init__(self) -> None:
        """Reject sizes that leave nothing to recall."""
        validate(self)
        for name, value, least in (("keys", self.keys, 1), ("values", self.values, 2), ("pairs", self.pairs, 2)):
            if value < least:
                raise HyenaError(f"recall.{name} is {value}: use a whole number of at least {least}")


@dataclass(frozen=True)
class DataConfig:
    """What is trained on: text or FASTA, plain or compressed (.gz, .xz, .bz2), folders, prepared tokens; or `recall`."""

    files: tuple[str, ...] = ()
    """Files, folders and prepared directories to train on, joined in this order; none with the table [data.recall]."""
    valid_files: tuple[str, ...] = ()
    """The same to validate on; none given: valid_records, else the last valid_fraction of the training files' tokens."""
    valid_fraction: float = 0.1
    """Fraction of the tokens held out from the end where there are no valid_files and no valid_records."""
    valid_records: tuple[str, ...] = ()
    """FASTA records of `files` to validate on in place of training, by name: chr21, say."""
    soft_mask: Literal["upper", "mask", "keep"] = Policy.soft_mask
    """Lower-case letters of DNA and FASTA: upper: upper case; mask: N; keep: as they are (not with the dna tokenizer)."""
    iupac: Literal["error", "n"] = Policy.iupac
    """Ambiguity codes of DNA other than N (R, Y, ...): error; n: replaced by N and counted."""
    text_field: str = Policy.text_field
    """The key of a .jsonl line that holds its text."""
    reverse_complement: bool = False
    """Read each training window from the other strand with probability 1/2; DNA only."""
    recall: RecallConfig | None = None
    """Train on associative recall in place of files."""

    @property
    def policy(self) -> Policy:
        """How the files are read."""
        return Policy(self.soft_mask, self.iupac, self.text_field)

    def __post_init__(self) -> None:
        """Reject combinations without a meaning."""
        validate(self)
        changed = [f.name for f in fields(self) if getattr(self, f.name) != f.default]
        if self.recall is not None:
            if others := [name for name in changed if name != "recall"]:
                raise HyenaError(f"data.recall makes its own data, so data.{others[0]} would do nothing: leave one of them out")
            return
        if not self.files:
            raise HyenaError("no data file given: name at least one in data.files, or a task in data.recall")
        if not 0 < self.valid_fraction < 1:
            raise HyenaError(f"data.valid_fraction is {self.valid_fraction}: use a fraction between 0 and 1, such as 0.1")
        held_out = [name for name in changed if name.startswith("valid_")]
        if len(held_out) > 1:
            raise HyenaError(f"{' and '.join(held_out)} both say what to validate on: keep one of them")
        _ = self.policy
