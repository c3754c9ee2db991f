"""A directory that either library writes is read by both, and the logits are the same to the last bit."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModel, AutoModelForCausalLM, AutoModelForSequenceClassification

import hyena
from hyena.integrations.transformers import HyenaForCausalLM, HyenaForSequenceClassification, HyenaModel, wrap
from hyena.models import Classifier, LanguageModel, store
from hyena.models.published import Published
from tests import tolerances
from tests.checkpoints.golden import case
from tests.helpers import refused
from tests.integrations.transformers.small import MODELS, dressed, files, small
from tests.models.small import classifier, ids

HALVES = [torch.bfloat16, torch.float16]


def same(a: torch.nn.Module, b: torch.nn.Module, tokens: Tensor) -> None:
    """Equal tensors by name, in dtype and every bit, and equal logits. `lm_head.weight` may stand for the embedding's."""
    ours, theirs = ({n: t for n, t in m.state_dict().items() if n != "lm_head.weight"} for m in (a, b))
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        assert tensor.dtype == theirs[name].dtype, name
        assert torch.equal(tensor, theirs[name]), name
    x, y = logits(a, tokens), logits(b, tokens)
    assert x.dtype == y.dtype
    assert torch.equal(x, y)
    assert x.isfinite().all()


@torch.no_grad()
def logits(model: torch.nn.Module, tokens: Tensor) -> Tensor:
    """Of a model of either library."""
    out = model(tokens)
    return out if isinstance(out, Tensor) else out.logits


@pytest.mark.parametrize("name", MODELS)
def test_every_letter_there_and_back(tmp_path: Path, name: str):
    model = small(name)
    model.save(tmp_path / "ours")
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "ours")
    assert isinstance(theirs, HyenaForCausalLM)
    assert not theirs.training
    assert not [*theirs.named_non_persistent_buffers()], "transformers leaves what is not in a file without content"
    same(theirs, hyena.load(tmp_path / "ours"), ids())
    theirs.save_pretrained(tmp_path / "theirs")
    assert not {"lm_head.weight"} & set(load_file(tmp_path / "theirs" / store.WEIGHTS)) or not model.config.tied
    again = hyena.load(tmp_path / "theirs")
    assert again.config.to_dict() == model.config.to_dict()
    same(again, model, ids())
    same(AutoModelForCausalLM.from_pretrained(tmp_path / "theirs"), model, ids())


@pytest.mark.parametrize("name", ["sh1-lm", "sh2-lm"])
def test_converted_models(tmp_path: Path, name: str):
    model = case(name).model()
    model.save(tmp_path / "ours")
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "ours")
    same(theirs, model, case(name).io["input_ids"])
    theirs.save_pretrained(tmp_path / "theirs")
    same(hyena.load(tmp_path / "theirs"), model, case(name).io["input_ids"])


@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize("name", MODELS)
def test_half_precision_is_that_of_hyena(tmp_path: Path, name: str, dtype: torch.dtype):
    """Filters, grids and frequencies stay in float32, whether the file is cast when it is read or was cast before."""
    model = small(name)
    model.save(tmp_path / "wide")
    half = model.to(dtype)
    same(AutoModelForCausalLM.from_pretrained(tmp_path / "wide", dtype=dtype), half, ids())
    half.save(tmp_path / "half")
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "half", dtype="auto")
    same(theirs, half, ids())
    theirs.save_pretrained(tmp_path / "again")
    same(hyena.load(tmp_path / "again"), half, ids())


@pytest.mark.parametrize("name", ["H", "other forms"])
def test_double_precision(tmp_path: Path, name: str):
    model = small(name, torch.float64)
    model.save(tmp_path)
    same(AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float64), model, ids())


def test_a_new_model_is_drawn_as_hyena_draws_it():
    config = wrap(small("other forms")).config
    torch.manual_seed(7)
    theirs = HyenaForCausalLM(config)
    torch.manual_seed(7)
    same(theirs.eval(), LanguageModel(config.model_config).eval(), ids())
    half = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    dtypes = {name: t.dtype for name, t in LanguageModel(config.model_config).bfloat16().state_dict().items()}
    assert {name: t.dtype for name, t in half.state_dict().items() if name != "lm_head.weight"} == dtypes


def test_in_shards_and_over_an_earlier_save(tmp_path: Path):
    """What an earlier save left must not be taken for a part of the new one."""
    first, second = dressed("HA"), dressed("RS", tied=False)
    first.native().published = Published("stripedhyena", {})
    store.save(first.native(), tmp_path, shard_bytes=4000)
    assert len(files(tmp_path)) > 4
    second.save_pretrained(tmp_path)
    assert {name for name in files(tmp_path) if name.startswith("model")} == {store.WEIGHTS}
    same(hyena.load(tmp_path), second, ids())
    first.save_pretrained(tmp_path, max_shard_size=4000)
    assert store.WEIGHTS not in files(tmp_path)
    assert len(files(tmp_path)) > 4
    same(hyena.load(tmp_path), first, ids())
    same(AutoModelForCausalLM.from_pretrained(tmp_path), first, ids())
    second.native().save(tmp_path)
    read = AutoModelForCausalLM.from_pretrained(tmp_path)
    read.save_pretrained(tmp_path)  # over the files that its tensors come from
    same(AutoModelForCausalLM.from_pretrained(tmp_path), second, ids())
    same(read, second, ids())


@pytest.mark.parametrize("head", [{}, {"classes": 5, "pool": "last", "bias": False}], ids=str)
def test_classifiers(tmp_path: Path, head: dict[str, object]):
    model = classifier(dtype=torch.float32, **head)
    model.save(tmp_path / "ours")
    theirs = AutoModelForSequenceClassification.from_pretrained(tmp_path / "ours")
    assert isinstance(theirs, HyenaForSequenceClassification)
    same(theirs, model, ids())
    theirs.save_pretrained(tmp_path / "theirs")
    again = hyena.load(tmp_path / "theirs")
    assert isinstance(again, Classifier)
    assert again.head_options() == model.head_options()
    same(again, model, ids())
    same(theirs.native(), model, ids())


def test_a_classifier_on_a_language_model(tmp_path: Path):
    """The head is drawn anew, all else is read; what it saves is a classifier for hyena too."""
    model = small("untied, rounded up")
    model.save(tmp_path / "lm")
    theirs = AutoModelForSequenceClassification.from_pretrained(tmp_path / "lm", num_labels=3)
    assert theirs.config.num_labels == theirs.score.out_features == 3
    assert torch.equal(theirs.backbone.embedding.weight, model.backbone.embedding.weight)
    std = model.config.initial_std
    assert 0.5 * std < theirs.score.weight.std() < 2 * std
    assert not theirs.score.bias.any()
    theirs.save_pretrained(tmp_path / "classifier")
    same(hyena.load(tmp_path / "classifier"), theirs, ids())


def test_the_backbone_alone(tmp_path: Path):
    model = small("untied, rounded up")
    model.save(tmp_path)
    theirs = AutoModel.from_pretrained(tmp_path)
    assert isinstance(theirs, HyenaModel)
    tokens = ids()
    with torch.no_grad():
        assert torch.equal(theirs(tokens).last_hidden_state, model.backbone(tokens))


def test_wrapped_models_share_their_weights():
    model = small("H")
    theirs = wrap(model)
    assert theirs.backbone is theirs.native().backbone is model.backbone
    assert theirs.lm_head.weight is model.backbone.embedding.weight
    assert theirs.native().lm_head is None
    same(theirs, model, ids())
    assert not theirs.native().training
    assert theirs.train().native().training


def test_what_does_not_fit_is_refused(tmp_path: Path):
    model = small("H")
    model.save(tmp_path / "a")
    dressed("H").save_pretrained(tmp_path / "b")
    tensors = load_file(tmp_path / "b" / store.WEIGHTS)
    gone = "backbone.blocks.0.mixer.filter.t"
    save_file({n: t for n, t in tensors.items() if n != gone}, tmp_path / "b" / store.WEIGHTS)
    with refused("does not fit its configuration", gone):
        AutoModelForCausalLM.from_pretrained(tmp_path / "b")
    save_file(tensors | {"backbone.more": torch.ones(1)}, tmp_path / "b" / store.WEIGHTS)
    with refused("does not fit its configuration", "unknown ['backbone.more']"):
        AutoModelForCausalLM.from_pretrained(tmp_path / "b")
    (tmp_path / "a" / store.WEIGHTS).write_bytes((tmp_path / "b" / store.WEIGHTS).read_bytes())
    with refused("two different saves"):
        AutoModelForCausalLM.from_pretrained(tmp_path / "a")


def test_a_tokenizer_travels_with_the_model(tmp_path: Path):
    model = small("H")
    model.config = model.backbone.config = model.config.replace(tokenizer="dna", vocab_size=10)
    model.save(tmp_path / "dna")
    AutoModelForCausalLM.from_pretrained(tmp_path / "dna").save_pretrained(tmp_path / "theirs")
    assert {"tokenizer.json", "tokenizer_config.json"} <= files(tmp_path / "theirs")
    (tmp_path / "own.json").write_text(json.dumps({"model": "stands for a tokenizer"}))
    model.config = model.backbone.config = model.config.replace(tokenizer="file:own.json")
    model.tokenizer_file = tmp_path / "own.json"
    model.save(tmp_path / "file")
    AutoModelForCausalLM.from_pretrained(tmp_path / "file").save_pretrained(tmp_path / "copied")
    assert (tmp_path / "copied" / "own.json").read_text() == (tmp_path / "own.json").read_text()
    assert hyena.load(tmp_path / "copied").config.to_dict() == model.config.to_dict()


def test_other_rows_in_the_embedding(tmp_path: Path):
    model, tokens = dressed("H"), ids()
    before = logits(model, tokens)
    model.resize_token_embeddings(13)
    assert model.config.model_config.rows == model.lm_head.out_features == 13
    assert model.lm_head.weight is model.backbone.embedding.weight
    torch.testing.assert_close(logits(model, tokens)[..., :10], before, **tolerances.FLOAT32)
    model.save_pretrained(tmp_path)
    same(hyena.load(tmp_path), model, tokens + 3)
