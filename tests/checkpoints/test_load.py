"""`load` and `load_mixer`: which format a path has, what comes out, and what they say of a path that is none."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from hyena.checkpoints import FORMATS, load, load_mixer
from hyena.models import Classifier, LanguageModel
from hyena.modules.precision import Float32Module
from tests import tolerances
from tests.checkpoints.golden import case
from tests.helpers import refused
from tests.models.small import language_model

RELEASE, PORT = case("hyenadna-lm-c"), case("hyenadna-hf")


def assert_same(a: LanguageModel | Classifier, b: LanguageModel | Classifier) -> None:
    """Two models with the same configuration and weights."""
    assert a.config == b.config
    assert all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """A directory laid out like LongSafari/hyenadna-*-seqlen."""
    shutil.copy(RELEASE.folder / "weights.ckpt", tmp_path)
    shutil.copy(RELEASE.folder / "release_config.json", tmp_path / "config.json")
    return tmp_path


@pytest.fixture
def port(tmp_path: Path) -> Path:
    """A directory laid out like LongSafari/hyenadna-*-seqlen-hf."""
    shutil.copy(PORT.folder / "hf_model.safetensors", tmp_path / "model.safetensors")
    shutil.copy(PORT.folder / "hf_config.json", tmp_path / "config.json")
    return tmp_path


# --- what is loaded ---------------------------------------------------------------------------------------------------------


def test_a_release_is_recognised(release: Path):
    assert_same(load(release), RELEASE.model())
    assert_same(load(str(release), format="hyenadna"), RELEASE.model())
    assert_same(load(release / "weights.ckpt", "hyenadna"), RELEASE.model())  # config.json beside it


def test_a_port_is_recognised(port: Path):
    assert_same(load(port), PORT.model())
    assert_same(load(port / "model.safetensors", "hyenadna-hf"), PORT.model())


def test_a_port_may_hold_a_pickle(port: Path):
    (port / "model.safetensors").unlink()
    torch.save(PORT.state, port / "pytorch_model.bin")
    assert_same(load(port), PORT.model())


@pytest.mark.parametrize("kind", [dict, str, Path], ids=["dictionary", "name", "path"])
def test_the_configuration_is_a_dictionary_or_a_file(kind: type):
    file = RELEASE.folder / "release_config.json"
    config = json.loads(file.read_text()) if kind is dict else kind(file)
    assert_same(load(RELEASE.folder / "weights.ckpt", "hyenadna", config), RELEASE.model())


def test_a_configuration_given_is_left_alone(release: Path):
    config = json.loads((release / "config.json").read_text())
    before = json.dumps(config)
    load(release, "hyenadna", config)
    assert json.dumps(config) == before


@pytest.mark.parametrize("format", [None, "hyena"])
def test_our_own_directories_are_recognised(tmp_path: Path, format: str | None):
    model = language_model()
    model.save(tmp_path)
    loaded = load(tmp_path, format)
    assert all(torch.equal(x, y) for x, y in zip(loaded.state_dict().values(), model.state_dict().values(), strict=True))


@pytest.mark.parametrize(
    "name", ["hyenadna-lm-a", "hyenadna-hf", "hyenadna-hf-cls", "hyenadna-head", "safari-lm", "safari-lm-attn-rope"]
)
def test_a_published_model_is_saved_as_ours(tmp_path: Path, name: str):
    model = case(name).model()
    model.save(tmp_path)
    loaded, ids = load(tmp_path), case(name).io["input_ids"]
    assert type(loaded) is type(model)
    assert loaded.config.to_dict() == model.config.to_dict()
    with torch.no_grad():
        assert torch.equal(loaded(ids), model(ids))


@pytest.mark.parametrize("name", ["hyenadna-lm-a", "hyenadna-hf", "safari-lm-attn-rope"])
def test_a_loaded_model_evaluates_and_may_be_trained(name: str):
    model = case(name).model()
    assert not any(module.training for module in model.modules())
    assert all(parameter.requires_grad for parameter in model.parameters())
    model.train()(case(name).io["input_ids"]).square().mean().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_weights_published_in_half_precision_are_computed_with_in_float32(tmp_path: Path, dtype: torch.dtype):
    save_file({name: t.to(dtype) for name, t in PORT.state.items()}, tmp_path / "half.safetensors")
    model, ids = load(tmp_path / "half.safetensors", "hyenadna-hf", PORT.config), PORT.io["input_ids"]
    for prefix, module in model.named_modules():
        if isinstance(module, Float32Module):
            assert {t.dtype for t in module.state_dict().values()} == {torch.float32}, prefix
    assert model.lm_head.weight.dtype == dtype
    with torch.no_grad():
        difference = model(ids).float() - PORT.io["logits"]
    assert difference.norm() < 2 * tolerances.BFLOAT16_MODEL * PORT.io["logits"].norm()


def test_a_mixer_comes_with_its_configuration_beside_it(tmp_path: Path):
    c = case("safari-operator-o2")
    shutil.copy(c.folder / "state.safetensors", tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(c.config))
    mixer = load_mixer(tmp_path, "safari-standalone", tmp_path / "config.json")
    assert not mixer.training
    with torch.no_grad():
        assert torch.equal(mixer(c.io["x"]), c.mixer()(c.io["x"]))


# --- what is refused --------------------------------------------------------------------------------------------------------


def test_unknown_formats_name_the_nearest(release: Path):
    with refused("'hyenadan'", "did you mean 'hyenadna'?", *FORMATS):
        load(release, "hyenadan")
    with refused("'safari-standalon'", "did you mean 'safari-standalone'?"):
        load_mixer(release, "safari-standalon", {})


def test_a_missing_path_is_named(tmp_path: Path):
    for format in (None, "hyenadna"):
        with refused(tmp_path / "missing", "does not exist"):
            load(tmp_path / "missing", format)
    with refused(tmp_path / "missing", "does not exist"):
        load_mixer(tmp_path / "missing", "safari", {})


def test_what_does_not_say_what_it_is_needs_a_format(tmp_path: Path, port: Path):
    (tmp_path / "empty").mkdir()
    shutil.copy(port / "model.safetensors", tmp_path / "empty")
    for path in (tmp_path / "empty", tmp_path / "empty" / "model.safetensors"):
        with refused(path, "pass format=", *FORMATS):
            load(path)


@pytest.mark.parametrize("format", ["hyenadna-hf", "safari", "hyenadna"])
def test_a_missing_configuration_is_named(tmp_path: Path, port: Path, format: str):
    (port / "config.json").unlink()
    with refused(port / "config.json", "pass config="):
        load(port, format)


def test_a_file_of_our_own_directory_is_sent_there(tmp_path: Path):
    language_model().save(tmp_path)
    with refused(tmp_path / "model.safetensors", "load that directory"):
        load(tmp_path / "model.safetensors")


def test_our_own_directory_has_its_own_configuration(tmp_path: Path):
    language_model().save(tmp_path)
    with refused(tmp_path, "leave config= out"):
        load(tmp_path, config={})


@pytest.mark.parametrize("given", ["hyenadna", "hyenadna-hf"])
def test_another_format_than_the_files_is_refused(given: str):
    other = {"hyenadna": PORT, "hyenadna-hf": RELEASE}[given]
    with refused("the published configuration"):
        load(other.folder / "state.safetensors", given, other.config)


def test_a_truncated_checkpoint_is_named(release: Path):
    file = release / "weights.ckpt"
    file.write_bytes(file.read_bytes()[:-1000])
    with refused(file, "not a whole PyTorch file"):
        load(release)
