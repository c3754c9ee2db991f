"""What a published format cannot express: found for every field, named with its value and a cure, never lost unseen."""

from dataclasses import fields, is_dataclass, replace
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
import torch

from hyena.checkpoints.express import LOOSE, PUBLISHED, express, one_spelling, resolved
from hyena.configs.filters import ExplicitFilterConfig, ImplicitFilterConfig, ModalFilterConfig, RealModalFilterConfig
from hyena.configs.mixers import (
    AttentionConfig,
    ExplicitConvConfig,
    GatedConvConfig,
    HyenaConfig,
    Mixers,
    RealModalConvConfig,
)
from hyena.configs.model import ModelConfig
from hyena.errors import HyenaError
from hyena.models import Classifier, LanguageModel, store
from tests.helpers import refused, unchecked

A = AttentionConfig(heads=2, rotary_width=0)


def published(shift: float = 0.0, **options: Any) -> HyenaConfig:
    """Hyena with the published codes' values where ours have other defaults."""
    filter = ImplicitFilterConfig(features=5, width=8, frequency=10.0, fast_decay=0.3, shift=shift, init_std=None)
    return HyenaConfig(**{"short_taps": 3, "filter": filter} | options)


PLAIN = ModelConfig(
    pattern="HA",
    width=16,
    vocab_size=10,
    max_length=24,
    init_std=0.02,
    mixers=Mixers(H=published(), A=A),
)
"""What safari's format has words for, all of it."""
DNA = PLAIN.replace(
    pattern="HH",
    vocab_size=12,
    tokenizer="dna",
    mixers=Mixers(H=published(shift=0.05)),
)
"""The same for HyenaDNA's formats."""


STRIPED = PLAIN.replace(
    pattern="RA",
    norm="rms_outside",
    mlp="gated",
    mlp_width=32,
    activation="silu",
    init_std=None,
    mixers=Mixers(R=GatedConvConfig(filter=ModalFilterConfig(order=2, form="cartesian")), A=AttentionConfig(heads=2)),
)
"""The same for StripedHyena's format."""
VORTEX = STRIPED.replace(
    pattern="SMLA",
    out_init="wang",
    mixers=Mixers(
        S=ExplicitConvConfig(filter=ExplicitFilterConfig(taps=7, groups=4)),
        M=ExplicitConvConfig(skip=True, filter=ExplicitFilterConfig(taps=128, groups=4)),
        L=RealModalConvConfig(filter=RealModalFilterConfig(order=3, form="log_poles")),
        A=AttentionConfig(heads=2, qkv_bias=False),
    ),
)
"""The same for vortex's."""
BASES = {"safari": PLAIN, "hyenadna": DNA, "hyenadna-hf": DNA, "stripedhyena": STRIPED, "vortex": VORTEX}


def written(config: ModelConfig, name: str, *drop: str, classifier: dict[str, Any] | None = None) -> ModelConfig:
    """The configuration that comes back."""
    model = LanguageModel(config) if classifier is None else Classifier(config, **classifier)
    return express(model, name, drop)[1]


def test_what_has_words_comes_back():
    for config, name in ((PLAIN, "safari"), (DNA, "hyenadna"), (DNA, "hyenadna-hf"), (DNA.replace(tied=False), "hyenadna-hf")):
        assert written(config, name) == config
    for config, name in ((STRIPED, "stripedhyena"), (VORTEX, "vortex")):
        assert written(config, name).to_dict() == resolved(LanguageModel(config)).to_dict()
    assert written(PLAIN.replace(position_rows=9, dropout=0.5, init_std=0.3), "safari").position_rows == 9


# --- every field ------------------------------------------------------------------------------------------------------------

# Values to try where a type does not tell one that differs and can be built.
OTHER: dict[str, Any] = {
    "pattern": "HW",
    "width": 32,
    "tokenizer": "file:words.json",
    "mlp_width": 24,
    "heads": 4,
    "kv_heads": 1,
    "rotary_width": 4,
    "features": 7,
    "fast_decay": 0.4,
    "slow_decay": 1.0,
    "norm_eps": 1e-6,
    "init_std": 0.3,
    "modal": ModalFilterConfig(),
    "groups": 8,
    "r_min": 0.5,
    "r_max": 0.95,
    "later_activation": "identity",
}


def leaves(config: Any, prefix: str = "") -> list[str]:
    """The dotted names of all fields, those of nested configurations for their own."""
    names: list[str] = []
    for f in fields(config):
        value = getattr(config, f.name)
        names += leaves(value, f"{prefix}{f.name}.") if is_dataclass(value) else [prefix + f.name]
    return names


def changed(config: Any, name: str) -> Any:
    """The configuration with another value in one field."""
    first, _, rest = name.partition(".")
    if rest:
        return replace(config, **{first: changed(getattr(config, first), rest)})
    value, hint = getattr(config, name), get_type_hints(type(config))[name]
    if name in OTHER:
        other = OTHER[name]
    elif get_origin(hint) is Literal:
        other = next(choice for choice in get_args(hint) if choice != value)
    elif isinstance(value, bool):
        other = not value
    elif isinstance(value, int):
        other = value + 1
    else:
        other = value + 0.25
    return replace(config, **{name: other})


NO_WORD = ("mixers.W", "mixers.D", "mixers.A.window")
"""Letters W and D are refused as letters; letter A has no window."""
FIELDS = [name for name in leaves(PLAIN) if not name.startswith(NO_WORD) and not name.endswith("decay_length")]
"""decay_length goes with a decay, which is refused."""


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("format", PUBLISHED)
def test_every_field_comes_back_or_is_refused_by_its_name(format: str, name: str):
    base = BASES[format]
    if format == "hyenadna" and name.startswith("mixers.A"):
        base = base.replace(pattern="HA", mixers=replace(base.mixers, A=A))
    if name == "vocab_size":
        base = base.replace(tokenizer=None)  # 12 symbols alone are DNA
    with unchecked():
        model = LanguageModel(changed(base, name))
        try:
            _, again = express(model, format, [])
        except HyenaError as error:
            message = str(error)
        else:
            # Of mixers that the pattern does not use nothing need come back.
            assert one_spelling(again).to_dict() == one_spelling(resolved(model)).to_dict()
            return
    assert "\n" not in message
    assert message.startswith(f"{format} cannot express ")
    named = message.removeprefix(f"{format} cannot express ").partition(" = ")[0]
    one = {"qkv_bias": "in_bias"}  # vortex has one option for several mixers, so that another one's is named
    shared = format == "vortex" and len({one.get(n, n) for n in (name.rpartition(".")[2], named.rpartition(".")[2])}) == 1
    assert named == name or named.startswith(name + ".") or shared
    assert ("--drop" in message) == (named in LOOSE)


def test_the_fields_are_many():
    assert len(FIELDS) > 35


# --- loose options ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LOOSE)
def test_a_loose_option_changes_nothing_that_the_weights_compute(name: str):
    config = PLAIN.replace(mixers=replace(PLAIN.mixers, A=AttentionConfig(heads=2, rotary_width=4)))
    model = LanguageModel(config).eval()
    other = LanguageModel(changed(config, name)).eval()
    assert other.config != model.config
    store.assign(other, model.state_dict(), "the model")
    ids = torch.randint(0, 10, (2, 20))
    with torch.no_grad():
        torch.testing.assert_close(other(ids), model(ids))


def test_a_loose_option_is_given_up_by_its_name():
    config = PLAIN.replace(beyond="truncate", tokenizer="file:words.json")
    with refused("safari cannot express beyond = 'truncate'", "'error'", "up to max_length", "--drop beyond"):
        written(config, "safari", "tokenizer")
    assert written(config, "safari", "tokenizer", "beyond") == PLAIN
    with refused("safari cannot express tokenizer = 'file:words.json'", "--drop tokenizer"):
        written(config, "safari", "beyond")


def test_what_is_part_of_the_function_cannot_be_given_up():
    with refused("'norm' cannot be dropped", "tokenizer", "beyond"):
        written(PLAIN.replace(norm="rms"), "safari", "norm")
    with refused("'byond'", "did you mean 'beyond'?"):
        written(PLAIN, "safari", "byond")


# --- functions --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "format", "parts"),
    [
        (PLAIN.replace(pattern="HWA"), "safari", ("pattern = 'HWA'", "format hyena")),
        (PLAIN.replace(norm="rms"), "safari", ("norm = 'rms'", "'layer'", "format hyena")),
        (PLAIN.replace(mlp="gated"), "safari", ("mlp = 'gated'", "'plain'", "format hyena")),
        (PLAIN.replace(activation="silu"), "safari", ("activation = 'silu'", "'gelu_tanh'")),
        (PLAIN.replace(tied=False), "safari", ("tied = False", "format hyena")),
        (DNA.replace(tied=False), "hyenadna", ("tied = False", "format hyena or hyenadna-hf")),
        (DNA.replace(mixers=Mixers(H=published(order=3))), "hyenadna-hf", ("mixers.H.order = 3", "or safari or hyenadna")),
        (DNA.replace(mixers=Mixers(H=published())), "hyenadna-hf", ("mixers.H.filter.shift = 0.0", "0.05")),
        (DNA.replace(mixers=Mixers(H=published(gating="outer"))), "hyenadna", ("gating = 'outer'", "hyena or safari")),
        (
            DNA.replace(mixers=Mixers(H=published(0.05, activation="gelu_tanh"))),
            "safari",
            ("activation = 'gelu_tanh'", "'identity'"),
        ),
        (DNA.replace(position_rows=9), "hyenadna-hf", ("position_rows = 9", "hyenadna")),
        (PLAIN.replace(mixers=Mixers(A=replace(A, kv_heads=1))), "safari", ("mixers.A.kv_heads = 1", "format hyena")),
    ],
)
def test_another_function_is_refused_with_the_formats_that_have_it(config: ModelConfig, format: str, parts: tuple[str, ...]):
    with refused(f"{format} cannot express", *parts):
        written(config, format, "tokenizer")


@pytest.mark.parametrize(
    ("format", "head", "parts"),
    [
        ("safari", {"pool": "mean"}, ("a classifier's head", "'a language model'", "format hyena or hyenadna")),
        ("hyenadna", {"pool": "last", "bias": False}, ("head pool = 'last'", "'mean'", "format hyena or hyenadna-hf")),
        ("hyenadna", {"bias": False}, ("head bias = False", "True", "format hyena")),
        ("hyenadna-hf", {"pool": "mean", "bias": True}, ("head pool = 'mean'", "'last'", "format hyena or hyenadna")),
        ("hyenadna-hf", {"pool": "last", "bias": True}, ("head bias = True", "format hyena")),
    ],
)
def test_a_classifier_of_another_kind_is_refused(format: str, head: dict[str, Any], parts: tuple[str, ...]):
    with refused(f"{format} cannot express", *parts):
        written(DNA, format, classifier=head)


def test_a_classifier_of_the_formats_own_kind_comes_back():
    for format in ("hyenadna", "hyenadna-hf"):
        head = PUBLISHED[format].head
        assert head is not None
        assert written(DNA, format, classifier={"classes": 3, **head}) == DNA
        # Whether an absent language-model head would be tied is nothing that a classifier computes.
        written(DNA.replace(tied=False), format, classifier=head)


# --- one spelling -----------------------------------------------------------------------------------------------------------


def test_sizes_that_are_derived_become_numbers():
    config = PLAIN.replace(pattern="H A", mlp_width=64, mixers=Mixers(A=AttentionConfig()))
    ours = resolved(LanguageModel(config))
    assert (ours.pattern, ours.mlp_width) == ("HA", None)
    assert AttentionConfig(heads=1, rotary_width=16) == ours.mixers.A
    grouped = PLAIN.replace(mixers=Mixers(A=AttentionConfig(heads=2, kv_heads=2, rotary_width=0, rotary_base=500.0)))
    assert resolved(LanguageModel(grouped)).mixers.A == A
    assert resolved(LanguageModel(PLAIN)) == PLAIN


def test_what_means_the_same_is_the_same():
    text = PLAIN.replace(vocab_size=256, tokenizer="bytes")
    assert resolved(LanguageModel(text)).tokenizer is None  # 256 symbols and no tokenizer: bytes
    for format, base in (("stripedhyena", STRIPED), ("vortex", VORTEX)):
        padded = base.replace(vocab_size=256, vocab_multiple=64)
        assert written(padded, format).rows == padded.rows == 256
        padded = base.replace(vocab_size=256, vocab_multiple=96, tokenizer="bytes")
        again = written(padded, format)
        assert (again.vocab_size, again.rows, again.tokenizer) == (256, 288, "bytes")
    assert resolved(LanguageModel(PLAIN.replace(beyond="truncate"))).beyond == "truncate"
    assert resolved(LanguageModel(PLAIN.replace(pattern="AA", beyond="truncate"))).beyond == "error"  # attention has no end
