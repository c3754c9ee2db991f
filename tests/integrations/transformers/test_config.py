"""`HyenaConfig` holds a configuration of ours whole, and says nothing beside it."""

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig

from hyena.configs import presets
from hyena.configs.model import ModelConfig
from hyena.integrations.transformers import HyenaConfig, HyenaForSequenceClassification, wrap
from hyena.models import store
from tests.helpers import refused
from tests.integrations.transformers.small import MODELS, small
from tests.models.small import classifier


@pytest.mark.parametrize("name", MODELS)
def test_nothing_is_lost_in_memory_or_on_disk(tmp_path: Path, name: str):
    model = small(name)
    config = HyenaConfig.of(model)
    assert config.model_config.to_dict() == model.config.to_dict()
    config.save_pretrained(tmp_path)
    again = AutoConfig.from_pretrained(tmp_path)
    assert isinstance(again, HyenaConfig)
    assert again.model_config.to_dict() == model.config.to_dict()
    assert again.kind == "language-model"


@pytest.mark.parametrize("preset", [presets.hyenadna_tiny_1k, presets.evo1_131k, presets.evo2_7b])
def test_presets(tmp_path: Path, preset: object):
    ours = preset()
    HyenaConfig.of(ours).save_pretrained(tmp_path)
    assert AutoConfig.from_pretrained(tmp_path).model_config.to_dict() == ours.to_dict()


def test_what_transformers_asks_for_is_derived_and_not_written(tmp_path: Path):
    ours = ModelConfig(pattern="HA H", width=16, vocab_size=10, vocab_multiple=8, max_length=50, tied=False)
    config = HyenaConfig.of(ours)
    assert (config.vocab_size, config.hidden_size, config.num_hidden_layers) == (16, 16, 3)
    assert (config.max_position_embeddings, config.tie_word_embeddings) == (50, False)
    config.save_pretrained(tmp_path)
    written = json.loads((tmp_path / "config.json").read_text())
    derived = {"vocab_size", "hidden_size", "num_hidden_layers", "max_position_embeddings", "tie_word_embeddings", "save_id"}
    assert not derived & set(written)
    assert written["model_type"] == written["format"] == "hyena"
    config.vocab_size = 20
    assert (config.model_config.vocab_size, config.model_config.rows) == (20, 20)


def test_a_directory_that_hyena_wrote_is_read(tmp_path: Path):
    model = small("other forms", torch.bfloat16)
    model.save(tmp_path)
    config = AutoConfig.from_pretrained(tmp_path)
    assert config.model_config.to_dict() == model.config.to_dict()
    assert config.dtype == torch.bfloat16
    assert "save_id" not in config.to_dict()


def test_labels_of_a_classifier(tmp_path: Path):
    model = classifier(classes=5, pool="last", bias=False)
    model.save(tmp_path)
    config = AutoConfig.from_pretrained(tmp_path)
    assert (config.kind, config.num_labels, config.head["pool"]) == ("classifier", 5, "last")
    assert AutoConfig.from_pretrained(tmp_path, num_labels=3).num_labels == 3
    dressed = wrap(model)
    assert isinstance(dressed, HyenaForSequenceClassification)
    assert dressed.head_options() == model.head_options()


def test_what_does_not_fit_is_refused(tmp_path: Path):
    small("H").save(tmp_path)
    file = tmp_path / store.CONFIG
    good = json.loads(file.read_text())

    def rewrite(**changes: object) -> None:
        file.write_text(json.dumps(good | changes))

    rewrite(format_version=99)
    with refused("config.json", "format version 99", "update hyena"):
        AutoConfig.from_pretrained(tmp_path)
    rewrite(model=good["model"] | {"widht": 3})
    with refused("config.json: model has no key 'widht'", "did you mean 'width'"):
        AutoConfig.from_pretrained(tmp_path)
    rewrite(model=good["model"] | {"later": 3}, hyena_version="99.0.0")
    with refused("no key 'later'", "written by hyena 99.0.0"):
        AutoConfig.from_pretrained(tmp_path)
    with refused("HyenaConfig has no model"):
        _ = HyenaConfig().vocab_size
