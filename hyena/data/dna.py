"""The letters of DNA: what a model reads of soft-masked bases, ambiguity codes and RNA, and what is refused.

Everything works on whole blocks of bytes, a few passes at the speed of a copy: no loop over letters.
"""

from typing import NamedTuple

from hyena.configs.data import Policy
from hyena.data.tokenizers import DNATokenizer, Tokenizer
from hyena.errors import HyenaError

AMBIGUOUS = b"RYSWKMBDHV"
_LOWER = bytes(range(ord("a"), ord("z") + 1))
_CODE, _STRANGE = 1, 2
# Letters that stand for amino acids and for no set of bases.
_PROTEIN = b"EFILPQXZ*"
_BASES = b"ACGTUN"


class Changes(NamedTuple):
    """How many letters were changed, by kind."""

    lower: int = 0
    """Lower-case letters, made upper case or N."""
    uracil: int = 0
    """U, read as T."""
    ambiguous: int = 0
    """Ambiguity codes made N."""


def check_policy(policy: Policy, tokenizer: Tokenizer) -> None:
    """HyenaError where the policy has no meaning for the tokenizer."""
    dna = isinstance(tokenizer, DNATokenizer)
    if dna and policy.soft_mask == "keep":
        raise HyenaError(
            "soft_mask is 'keep' and the dna tokenizer has no lower-case letters; "
            "use soft_mask 'upper' or 'mask', or the bytes tokenizer"
        )
    if not dna and policy.iupac == "n" and policy.soft_mask != "mask":
        raise HyenaError(
            f"iupac is 'n' and tokenizer {tokenizer.spec!r} reads ambiguity codes as letters; "
            "leave iupac out, or use the dna tokenizer or soft_mask 'mask'"
        )


def to_acgtn(sequence: bytes, policy: Policy | None = None, first: int = 1) -> tuple[bytes, Changes]:
    """The sequence in upper-case A C G T N of the same length, and what was changed.

    Lower case is read as upper case, or as N where policy.soft_mask is "mask"; U, the T of RNA, as T. HyenaError, with the
    position of the letter (that of sequence[0] is `first`), for an ambiguity code that policy.iupac does not make N, for
    gaps ("-", "*") and for letters that are no nucleotide; a masked ambiguity code is N and no error.
    """
    policy = policy or Policy()
    letters = sequence.translate(_table(policy))
    places = [place for place in (letters.find(_CODE), letters.find(_STRANGE)) if place >= 0]
    if places:
        raise HyenaError(_refusal(sequence, min(places), first))
    lower = len(sequence) - len(sequence.translate(None, _LOWER))
    legible = sequence if lower == 0 else sequence.translate(None, _LOWER) if policy.soft_mask == "mask" else sequence.upper()
    ambiguous = len(legible) - len(legible.translate(None, AMBIGUOUS)) if policy.iupac == "n" else 0
    return letters, Changes(lower, legible.count(b"U"), ambiguous)


def fold_case(sequence: bytes, policy: Policy) -> tuple[bytes, Changes]:
    """Letters that need not be DNA, in upper case unless policy.soft_mask is "keep"."""
    if policy.soft_mask == "keep":
        return sequence, Changes()
    return sequence.upper(), Changes(lower=len(sequence) - len(sequence.translate(None, _LOWER)))


def _table(policy: Policy) -> bytes:
    """The letter of each of the 256 bytes, or a mark."""
    table = bytearray([_STRANGE] * 256)
    for letter in _BASES + AMBIGUOUS:
        read = letter if letter in b"ACGTN" else ord("T") if letter == ord("U") else ord("N") if policy.iupac == "n" else _CODE
        table[letter] = read
        table[letter + 32] = ord("N") if policy.soft_mask == "mask" else read
    return bytes(table)


def _refusal(sequence: bytes, place: int, first: int) -> str:
    """Why the letter at `place` is not read."""
    letter = sequence[place : place + 1]
    name = repr(letter.decode()) if b" " < letter < b"\x7f" else f"byte 0x{letter.hex()}"
    where = f"{name} at position {place + first} (the first is 1)"
    sample = sequence[max(0, place - 5000) : place + 5000].upper()
    odd = len(sample.translate(None, _BASES)) / len(sample)
    if len(sample) >= 20 and odd > 0.3 and set(sample) & set(_PROTEIN):
        return f"{where} is no base, and so many others are none that this looks like protein or text; use the bytes tokenizer"
    if letter.upper() in AMBIGUOUS:
        return f"{where} is an IUPAC ambiguity code; replace such letters by N with --iupac n (the option iupac = 'n')"
    return f"{where} is not a nucleotide; legal are ACGTUN and, with --iupac n, {AMBIGUOUS.decode()}, without gaps"
