"""The two heads: tying, pooling, resizing; and the whole model's promises."""

import copy

import pytest
import torch
from torch.testing import assert_close

from hyena.models import Classifier, LanguageModel
from tests import tolerances
from tests.helpers import loudness, python, refused
from tests.models.small import classifier, ids, language_model, small

POOLS = ["mean", "last", "first", "sum"]

# --- language model ---------------------------------------------------------------------------------------------------------


def test_logits_are_the_hidden_states_times_the_embedding():
    model, tokens = language_model(), ids()
    hidden = model.backbone(tokens)
    assert_close(model(tokens), hidden @ model.backbone.embedding.weight.T, **tolerances.FLOAT64)
    assert torch.equal(model.logits(hidden), model(tokens))


def test_a_tied_head_is_the_embedding_itself():
    model = language_model()
    assert not any("lm_head" in name for name in model.state_dict())
    model(ids()).sum().backward()
    unused = 10 * [False]
    assert (model.backbone.embedding.weight.grad.abs().sum(1) == 0).tolist() == unused  # the head reaches all rows


def test_an_untied_head_is_another_matrix():
    model, tokens = language_model(tied=False), ids()
    assert model.lm_head.weight.data_ptr() != model.backbone.embedding.weight.data_ptr()
    assert_close(model(tokens), model.backbone(tokens) @ model.lm_head.weight.T, **tolerances.FLOAT64)
    assert model.parameter_count() == language_model().parameter_count() + 10 * 16


def test_the_head_has_the_padded_rows():
    assert language_model(vocab_multiple=8)(ids()).shape == (2, 20, 16)


@pytest.mark.parametrize("pattern", ["H", "A", "W", "HAHW"])
def test_a_prediction_depends_on_the_past_alone(pattern: str):
    model, tokens = language_model(pattern), ids(2, 40)
    other = tokens.clone()
    other[:, 25:] = (other[:, 25:] + 1) % 10
    y, changed = model(tokens), model(other)
    leak = (y - changed)[:, :25].abs().max()
    assert leak <= 10 * tolerances.LEAK["float64"] * loudness(y)
    assert (y - changed)[:, 25:].abs().amax(-1).min() > 1e-6


def test_sequences_of_a_batch_do_not_meet():
    model, tokens = language_model(), ids(3)
    together = model(tokens)
    for b in range(3):
        assert_close(model(tokens[b : b + 1]), together[b : b + 1], **tolerances.FLOAT64)


@pytest.mark.parametrize("pattern", ["HHH", "HAW"])
def test_half_precision_is_close_to_float32(pattern: str):
    single, tokens = language_model(pattern, torch.float32), ids(2, 60)
    half = copy.deepcopy(single).bfloat16()
    difference = half(tokens).float() - single(tokens)
    assert difference.norm() <= tolerances.BFLOAT16_MODEL * single(tokens).norm()


COMPILED = """
import torch
from hyena.configs.model import ModelConfig
from hyena.models import LanguageModel

model = LanguageModel(ModelConfig("HAW", 32, 10, max_length=64))
ids = torch.randint(0, 10, (2, 50))
compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
y, z = model(ids), compiled(ids)
assert torch.allclose(y, z, atol=1e-6)
y.square().sum().backward()
wanted = [p.grad.clone() for p in model.parameters()]
model.zero_grad()
z.square().sum().backward()
for p, gradient in zip(model.parameters(), wanted):
    assert torch.allclose(p.grad, gradient, rtol=1e-4, atol=1e-5)
model.eval()
with torch.no_grad():
    for _ in range(3):  # the compiled model sees changed weights, though the filters are kept
        model.backbone.blocks[0].mixer.filter.out.weight.data.mul_(2)
        assert torch.allclose(compiled(ids), model(ids), atol=1e-6)
print("equal")
"""


def test_a_compiled_model_gives_the_same():
    assert python(COMPILED) == "equal"


# --- classifier -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pool", POOLS)
def test_pooling_is_over_a_sequences_own_tokens(pool: str):
    model, hidden = classifier(pool=pool, classes=3), torch.randn(3, 20, 16).double()
    lengths = [1, 7, 20]
    pooled = []
    for row, n in zip(hidden, lengths, strict=True):
        own = row[:n]
        pooled.append({"mean": own.mean(0), "last": own[-1], "first": own[0], "sum": own.sum(0)}[pool])
    wanted = torch.stack(pooled) @ model.score.weight.T + model.score.bias
    assert_close(model.logits(hidden, torch.tensor(lengths)), wanted, **tolerances.FLOAT64)
    assert_close(model.logits(hidden), model.logits(hidden, torch.tensor(3 * [20])), **tolerances.FLOAT64)


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("pattern", ["H", "A", "W"])
def test_padding_on_the_right_changes_nothing(pattern: str, pool: str):
    model, lengths = classifier(pattern, pool=pool), torch.tensor([5, 1, 20])
    tokens = ids(3, 20)
    wanted = torch.cat([model(tokens[i : i + 1, :n]) for i, n in enumerate(lengths)])
    for _ in range(3):
        padding = ids(3, 40)
        padded = torch.cat([tokens, padding], dim=1)
        for i, n in enumerate(lengths):
            padded[i, n:20] = padding[i, n:20]
        assert_close(model(padded, lengths), wanted, **tolerances.FLOAT64)


@pytest.mark.parametrize("pool", ["mean", "sum"])
def test_not_even_broken_padding_reaches_the_pool(pool: str):
    model, hidden = classifier(pool=pool), torch.randn(1, 5, 16).double()
    broken = hidden.clone()
    broken[:, 3:] = torch.nan
    assert torch.equal(model.logits(broken, torch.tensor([3])), model.logits(hidden, torch.tensor([3])))


def test_forward_is_backbone_and_logits():
    model, tokens, lengths = classifier(), ids(), torch.tensor([4, 20])
    assert torch.equal(model(tokens, lengths), model.logits(model.backbone(tokens), lengths))
    assert model(tokens).shape == (2, 2)


@pytest.mark.parametrize(
    ("lengths", "parts"),
    [
        ([1, 2, 3], ["[1, 2, 3]", "2 whole numbers", "1 to 20"]),
        ([0, 3], ["[0, 3]", "1 to 20"]),
        ([21, 3], ["[21, 3]", "1 to 20"]),
    ],
    ids=["another batch", "none", "too long"],
)
def test_lengths_that_do_not_fit_are_refused(lengths: list[int], parts: list[str]):
    with refused("lengths", *parts):
        classifier()(ids(2, 20), torch.tensor(lengths))


@pytest.mark.parametrize(
    ("head", "parts"),
    [({"classes": 0}, ["classes is 0", "at least 1"]), ({"pool": "max"}, ["'max'", "mean, last, first or sum"])],
    ids=["no class", "unknown pool"],
)
def test_heads_that_cannot_be_built_are_refused(head: dict[str, object], parts: list[str]):
    with refused(*parts):
        Classifier(small(), **head)


# --- both -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", [LanguageModel, Classifier])
def test_a_resized_model_is_a_new_model(cls: type[LanguageModel] | type[Classifier]):
    model = cls(small("HA")).double().eval()
    tokens = ids(1, 64)
    with torch.no_grad():
        before = model(tokens)
        longer = model.resized(128)
        assert (longer.config.max_length, longer.backbone.config.max_length, model.config.max_length) == (128, 128, 64)
        assert longer(ids(1, 128)).isfinite().all()
        assert not torch.equal(longer(tokens), before)
        for parameter in longer.parameters():
            parameter.zero_()
        assert torch.equal(model(tokens), before)
    with refused("65 tokens", "max_length 64"):
        model(ids(1, 65))


def test_a_resized_attention_is_the_same_function():
    model, tokens = language_model("AW"), ids()
    assert torch.equal(model.resized(128)(tokens), model(tokens))


def test_no_model_can_be_resized_to_nothing():
    with refused("max_length is 0", "at least 1"):
        language_model().resized(0)


@pytest.mark.parametrize("pattern", ["HAW", "H H A"])
def test_gradients_reach_every_parameter(pattern: str):
    model = language_model(pattern, position_rows=20, tied=False).train()
    torch.nn.functional.cross_entropy(model(ids()).flatten(0, 1), ids().flatten()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.count_nonzero() > 0, name


def test_the_device_is_that_of_the_weights():
    assert language_model().device == torch.device("cpu")
    with torch.device("meta"):
        assert LanguageModel(small()).device == torch.device("meta")
