"""The five letters made of DNA as it is met: soft masks, ambiguity codes, RNA; and protein, which is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyena.configs.data import Policy
from hyena.data import ByteTokenizer, DNATokenizer, to_acgtn
from hyena.data.dna import check_policy, fold_case
from hyena.errors import HyenaError
from tests.helpers import refused

CODES = b"RYSWKMBDHV"


def test_upper_case_is_the_rule():
    assert to_acgtn(b"ACGTNacgtn") == (b"ACGTNACGTN", (5, 0, 0))
    assert to_acgtn(b"GAUUaca") == (b"GATTACA", (3, 2, 0))
    assert to_acgtn(b"gauu") == (b"GATT", (4, 2, 0))
    assert to_acgtn(b"") == (b"", (0, 0, 0))


def test_a_mask_hides_lower_case_letters():
    mask = Policy(soft_mask="mask")
    assert to_acgtn(b"ACGTNacgtnu", mask) == (b"ACGTNNNNNNN", (6, 0, 0))
    assert to_acgtn(b"ArC", mask) == (b"ANC", (1, 0, 0)), "a masked code is N whatever it stood for"
    with refused("'R'", "position 2"):
        to_acgtn(b"ARC", mask)
    with refused("'e'", "not a nucleotide"):
        to_acgtn(b"Ae", mask)


def test_ambiguity_codes_become_n_where_asked():
    assert to_acgtn(CODES + CODES.lower(), Policy(iupac="n")) == (b"N" * 20, (10, 0, 20))
    assert to_acgtn(b"Rr", Policy(soft_mask="mask", iupac="n")) == (b"NN", (1, 0, 1))


@pytest.mark.parametrize("code", [bytes([code]) for code in CODES + CODES.lower()])
def test_ambiguity_codes_are_an_error_that_names_the_option(code: bytes):
    with refused(repr(code.decode()), "position 3 (the first is 1)", "IUPAC", "--iupac n"):
        to_acgtn(b"AC" + code + b"GT")
    with refused("position 1003"):
        to_acgtn(b"AC" + code, first=1001)


@pytest.mark.parametrize("letter", [b"-", b"*", b"E", b"x", b"\n", b"\xe9", b"\0"])
@pytest.mark.parametrize("policy", [Policy(), Policy("mask"), Policy(iupac="n")])
def test_no_nucleotide(letter: bytes, policy: Policy):
    with pytest.raises(HyenaError, match=r"at position 3 .* is not a nucleotide"):
        to_acgtn(b"AC" + letter + b"GTACGTACGT", policy)


@pytest.mark.parametrize("policy", [Policy(), Policy(iupac="n")])
def test_protein_is_called_protein(policy: Policy):
    with refused("protein", "bytes tokenizer"):
        to_acgtn(b"MKVLAAGIVGLLLAQWERTYIPASDFGHKLCVNM", policy)
    with refused("IUPAC ambiguity code" if policy.iupac == "error" else "not a nucleotide"):
        to_acgtn(b"ACGT" * 10 + b"R" + b"E", policy)


@given(
    st.text("ACGTUNacgtunRYSWKMBDHVryswkmbdhvEX-", max_size=60),
    st.sampled_from(["upper", "mask"]),
    st.sampled_from(["error", "n"]),
)
def test_letter_by_letter(text: str, soft_mask: str, iupac: str):
    """The same as a loop over letters that says what each becomes."""
    policy = Policy(soft_mask, iupac)  # type: ignore[arg-type]
    expected, lower, uracil, ambiguous = "", 0, 0, 0
    fault = None
    for place, letter in enumerate(text, start=1):
        code = letter.upper().encode() in [bytes([c]) for c in CODES]
        if letter.upper() not in "ACGTUN" and not code:
            fault = place
        elif letter.islower() and soft_mask == "mask":
            expected, lower = expected + "N", lower + 1
            continue
        elif code and iupac == "error":
            fault = place
        if fault is not None:
            break
        lower += letter.islower()
        uracil += letter.upper() == "U"
        ambiguous += code
        expected += "N" if code else letter.upper().replace("U", "T")
    if fault is None:
        assert to_acgtn(text.encode(), policy) == (expected.encode(), (lower, uracil, ambiguous))
    else:
        with refused(f"position {fault} "):
            to_acgtn(text.encode(), policy)


def test_letters_that_need_not_be_dna():
    assert fold_case(b"MkV*", Policy()) == (b"MKV*", (1, 0, 0))
    assert fold_case(b"MkV*", Policy("keep")) == (b"MkV*", (0, 0, 0))


def test_a_policy_without_a_meaning_for_the_tokenizer():
    with refused("soft_mask", "'keep'", "'upper'", "bytes tokenizer"):
        check_policy(Policy("keep"), DNATokenizer())
    with refused("iupac", "'n'", "'bytes'", "dna tokenizer"):
        check_policy(Policy(iupac="n"), ByteTokenizer())
    check_policy(Policy("keep"), ByteTokenizer())
    check_policy(Policy("mask", "n"), ByteTokenizer())
    check_policy(Policy("mask", "n"), DNATokenizer())
