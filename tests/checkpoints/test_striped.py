"""StripedHyena's and vortex's files: round trips byte for byte, trained models, and one line for what is broken."""

import io
import json
import os
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from hyena.checkpoints import PrecisionWarning, convert, export, load
from hyena.checkpoints.files import read_tensors, weights_file
from hyena.checkpoints.loader import FORMATS
from hyena.configs.filters import ExplicitFilterConfig, ModalFilterConfig, RealModalFilterConfig
from hyena.configs.mixers import ExplicitConvConfig, GatedConvConfig, Mixers, RealModalConvConfig
from hyena.models import LanguageModel
from tests import tolerances
from tests.checkpoints.golden import CASES, case
from tests.checkpoints.test_express import STRIPED, VORTEX
from tests.helpers import python, refused, unchecked
from tests.models.small import loud

SH1, SH2 = case("sh1-lm-evo"), case("sh2-lm")
STRIPED_CASES = [name for name in CASES if name.startswith("sh")]


def directory(path: Path, name: str, state: dict[str, Any] | None = None, **options: Any) -> Path:
    """A release of a case: a PyTorch file and its configuration."""
    path.mkdir()
    torch.save(case(name).state if state is None else state, path / "model.pt")
    (path / "config.json").write_text(json.dumps(case(name).config | options))
    return path


def same_file(a: Path, b: Path) -> None:
    """Equal keys in their order, dtypes, shapes and bytes, and one configuration."""
    x, y = read_tensors(weights_file(a)), read_tensors(weights_file(b))
    assert list(x) == list(y)
    for key in x:
        assert x[key].dtype == y[key].dtype, key
        assert x[key].shape == y[key].shape, key
        assert torch.equal(x[key].reshape(-1).view(torch.uint8), y[key].reshape(-1).view(torch.uint8)), key
    assert getattr(x, "kinds", {}) == getattr(y, "kinds", {}) or weights_file(b).suffix == ".safetensors"
    assert json.loads((a / "config.json").read_text()) == json.loads((b / "config.json").read_text())


def as_released(name: str) -> dict[str, Any]:
    """A case in the precisions and with the extra keys of the releases."""
    state: dict[str, Any] = {}
    for key, tensor in case(name).state.items():
        state[key] = tensor.clone() if key.endswith(("poles", "residues")) else tensor.bfloat16()
    if name.startswith("sh2"):
        state["unembed.weight"] = state["embedding_layer.weight"].clone()
        state["blocks.0.projections._extra_state"] = io.BytesIO(b"scales of fp8")
        state["blocks.1.projections._extra_state"] = None
        state["blocks.3.mixer.dense._extra_state"] = torch.arange(9, dtype=torch.uint8)
        state["blocks.2.mixer.mixer.filter.t"] = torch.arange(7.0).bfloat16()
        return dict(sorted(state.items()))
    return {f"backbone.{key}": tensor for key, tensor in state.items()}


# --- round trips --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", STRIPED_CASES)
@pytest.mark.parametrize("kind", ["as recorded", "as released"])
def test_there_and_back_is_the_same_file(tmp_path: Path, name: str, kind: str):
    source = directory(tmp_path / "source", name, as_released(name) if kind == "as released" else None)
    format = case(name).format
    convert(source, tmp_path / "ours")
    model = load(tmp_path / "ours")
    assert model.published is not None
    convert(tmp_path / "ours", tmp_path / "again", to=format)
    same_file(source, tmp_path / "again")
    model.save(tmp_path / "saved")  # and by way of `save`, and without a directory between
    export(load(tmp_path / "saved"), tmp_path / "third", format)
    same_file(source, tmp_path / "third")
    convert(source, tmp_path / "fourth", to=format)
    same_file(source, tmp_path / "fourth")


def test_what_is_no_tensor_is_there_again(tmp_path: Path):
    source = directory(tmp_path / "source", "sh2-lm", as_released("sh2-lm"))
    convert(source, tmp_path / "ours")
    convert(tmp_path / "ours", tmp_path / "again", to="vortex")
    with torch.serialization.safe_globals([io.BytesIO]):
        content = torch.load(tmp_path / "again" / "model.pt", weights_only=True)
    assert content["blocks.0.projections._extra_state"].getvalue() == b"scales of fp8"
    assert content["blocks.1.projections._extra_state"] is None
    assert content["unembed.weight"].data_ptr() == content["embedding_layer.weight"].data_ptr()


def test_weights_that_were_trained_go_back_in_the_precision_that_holds_them(tmp_path: Path):
    model = load(directory(tmp_path / "source", "sh2-lm", as_released("sh2-lm")))
    with torch.no_grad():
        model.get_parameter("backbone.blocks.1.mixer.filter.taps").mul_(1.001)
    export(model, tmp_path / "again", "vortex")
    tensors = read_tensors(tmp_path / "again" / "model.pt")
    assert tensors["blocks.1.filter.h"].dtype == torch.float32
    assert tensors["blocks.0.filter.h"].dtype == torch.bfloat16


@pytest.mark.parametrize("name", ["sh1-lm", "sh2-lm"])
def test_safetensors_shards_and_parts_are_one_checkpoint(tmp_path: Path, name: str):
    c = case(name)
    model = load(directory(tmp_path / "whole", name))
    (tmp_path / "shards").mkdir()
    keys = list(c.state)
    where = {key: f"model-0000{1 + i % 2}-of-00002.safetensors" for i, key in enumerate(keys)}
    for file in set(where.values()):
        save_file({key: c.state[key] for key in keys if where[key] == file}, tmp_path / "shards" / file)
    (tmp_path / "shards" / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": where}))
    (tmp_path / "shards" / "config.json").write_text(json.dumps(c.config))
    other = load(tmp_path / "shards")
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), other.state_dict().values(), strict=True))
    (tmp_path / "shards" / "model-00002-of-00002.safetensors").unlink()
    with refused("model-00002-of-00002.safetensors", "does not exist"):
        load(tmp_path / "shards")


def test_a_configuration_may_be_flat_yaml(tmp_path: Path):
    path = directory(tmp_path / "source", "sh2-lm")
    (path / "config.json").unlink()
    lines = [f"{key}: {json.dumps(value)}  # as published" for key, value in SH2.config.items()]
    (path / "evo2.yml").write_text("# Evo 2\n\n" + "\n".join(lines) + "\n")
    with torch.no_grad():
        assert torch.equal(load(path)(SH2.io["input_ids"]), SH2.model()(SH2.io["input_ids"]))


# --- trained here -------------------------------------------------------------------------------------------------------------


TRAINED = {
    "stripedhyena": STRIPED.replace(mixers=Mixers(R=GatedConvConfig(filter=ModalFilterConfig(order=3)), A=STRIPED.mixers.A)),
    "vortex": VORTEX.replace(
        mixers=Mixers(
            S=ExplicitConvConfig(),
            M=ExplicitConvConfig(skip=True, filter=ExplicitFilterConfig(taps=128, groups=4, decay="weak", decay_length=64)),
            L=RealModalConvConfig(filter=RealModalFilterConfig(order=3)),
            A=VORTEX.mixers.A,
        )
    ),
}


@pytest.mark.parametrize("format", TRAINED)
def test_a_trained_model_is_written_as_the_function_that_it_is(tmp_path: Path, format: str):
    model = loud(LanguageModel(TRAINED[format])).eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with unchecked():
        done = export(model, tmp_path / "out", format)
        again = load(tmp_path / "out", format)
    ids = torch.randint(0, 10, (2, 24))
    with torch.no_grad():
        torch.testing.assert_close(again(ids), model(ids), **tolerances.GOLDEN_STRIPED)
    assert done.tokens > 0
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    export(again, tmp_path / "twice", format)
    same_file(tmp_path / "out", tmp_path / "twice")


def test_an_exact_head_of_a_filter_is_refused(tmp_path: Path):
    mixers = Mixers(R=GatedConvConfig(filter=ModalFilterConfig(order=3, head=2)), A=STRIPED.mixers.A)
    with refused("stripedhyena cannot express mixers.R.filter.", "format hyena"):
        export(LanguageModel(STRIPED.replace(mixers=mixers)), tmp_path / "out", "stripedhyena")
    assert list(tmp_path.iterdir()) == []


# --- precision ----------------------------------------------------------------------------------------------------------------


def test_fp8_is_said_once_and_refused_where_that_is_asked_for(tmp_path: Path):
    path = directory(tmp_path / "evo2_40b", "sh2-lm", use_fp8_input_projections=True, model_name="shc-evo2-40b")
    for convert_first in (False, True):
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            if convert_first:
                convert(path, tmp_path / "ours")
            else:
                load(path)
        assert [w.category for w in said] == [PrecisionWarning]
        assert all(part in str(said[0].message) for part in ("evo2_40b", "use_fp8_input_projections"))
    with refused("evo2_40b", "use_fp8_input_projections", "strict precision"):
        load(path, strict_precision=True)
    with refused("ours", "use_fp8_input_projections"):
        load(tmp_path / "ours", strict_precision=True)
    with refused("strict precision"):
        convert(path, tmp_path / "no", strict_precision=True)
    assert not (tmp_path / "no").exists()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        load(tmp_path / "ours")
    assert len(said) == 1


def test_frequencies_in_half_precision_are_made_anew_or_refused(tmp_path: Path):
    state = {k: t.bfloat16() if k.endswith("inv_freq") else t for k, t in SH2.state.items()}
    model = load(directory(tmp_path / "a", "sh2-lm", state))
    key = "backbone.blocks.3.mixer.rotary.inv_freq"
    torch.testing.assert_close(model.state_dict()[key], SH2.model().state_dict()[key], rtol=1e-6, atol=0)
    with refused("inv_freq", "bfloat16", "rotary_emb_base 1e+11"):
        load(directory(tmp_path / "b", "sh2-lm", state, rotary_emb_base=1e11))
    # In float32 the stored ones are the function, whatever the base says (issue 73 of vortex).
    other = load(directory(tmp_path / "c", "sh2-lm", rotary_emb_base=1e11))
    assert torch.equal(other.state_dict()[key], SH2.model().state_dict()[key])


# --- one line for what is broken ----------------------------------------------------------------------------------------------


def state_without(key: str) -> dict[str, Tensor]:
    return {k: t for k, t in SH2.state.items() if k != key}


BROKEN: dict[str, tuple[dict[str, Any], dict[str, Any], tuple[str, ...]]] = {
    "a missing key": (state_without("blocks.1.filter.h"), {}, ("lacks blocks.1.filter.h",)),
    "a surplus key": (SH2.state | {"blocks.1.filter.gamma": torch.ones(2)}, {}, ("blocks.1.filter.gamma", "no meaning")),
    "another shape": (
        SH2.state | {"blocks.1.filter.h": torch.ones(8, 1, 127)},
        {},
        ("blocks.1.filter.h has shape (8, 1, 127)",),
    ),
    "another width": (
        SH2.state | {"blocks.4.mlp.l3.weight": torch.ones(32, 63)},
        {},
        ("blocks.4.mlp.l3.weight has shape (32, 63)", "(32, 64)"),
    ),
    "another head": (SH2.state | {"unembed.weight": torch.ones(512, 32)}, {}, ("unembed.weight", "tie_embeddings")),
    "an unknown option": (SH2.state, {"hcx_filter_length": 3}, ("hcx_filter_length", "no meaning")),
    "another filter": (SH2.state, {"long_fir_threshold": 9}, ("long_fir_threshold is 9",)),
    "flipped gates": (SH2.state, {"hyena_flip_x1x2": True}, ("hyena_flip_x1x2 is True",)),
    "grouped modal filters": (SH2.state, {"hcl_filter_groups": 8}, ("hcl_filter_groups is 8",)),
    "no final norm": (SH2.state, {"final_norm": False}, ("final_norm is False",)),
    "another activation": (SH2.state, {"mlp_activation": "relu"}, ("mlp_activation is 'relu'",)),
    "an activation that is no name": (SH2.state, {"mlp_activation": [1]}, ("mlp_activation is [1]",)),
    "a layer in two lists": (SH2.state, {"hcs_layer_idxs": [0, 3, 4]}, ("layer 3 is in two lists",)),
    "a layer in no list": (SH2.state, {"hcs_layer_idxs": [0]}, ("layer 4 is in no list",)),
    "layers that are no list": (SH2.state, {"hcs_layer_idxs": "0,4"}, ("hcs_layer_idxs is '0,4'", "a list of layers")),
    "groups that do not divide": (SH2.state, {"proj_groups": 3}, ("proj_groups is 3",)),
    "no short filter": (SH2.state, {"short_filter_length": 0}, ("short_filter_length is 0",)),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_what_does_not_fit_is_named(tmp_path: Path, kind: str):
    state, options, parts = BROKEN[kind]
    path = directory(tmp_path / "source", "sh2-lm", state, **options)
    with refused(*parts):
        load(path)
    with refused(*parts):
        convert(path, tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["source"]


def test_a_missing_option_is_named(tmp_path: Path):
    path = directory(tmp_path / "source", "sh2-lm")
    (path / "config.json").write_text(json.dumps({k: v for k, v in SH2.config.items() if k != "state_size"}))
    with refused("lacks state_size"):
        load(path)


def test_a_missing_part_is_named(tmp_path: Path):
    path = directory(tmp_path / "source", "sh2-lm")
    content = (path / "model.pt").read_bytes()
    (path / "model.pt").unlink()
    for i in range(4):
        (path / f"model.pt.part{i}").write_bytes(content[i * len(content) // 4 : (i + 1) * len(content) // 4])
    load(path)
    (path / "model.pt.part3").rename(path / "kept")
    with refused("model.pt", "not a whole PyTorch file"):
        load(path)
    (path / "kept").rename(path / "model.pt.part3")
    (path / "model.pt.part1").unlink()
    with refused("model.pt.part1 does not exist"):
        convert(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_file_cut_short_is_named(tmp_path: Path):
    path = directory(tmp_path / "source", "sh1-lm")
    file = path / "model.pt"
    os.truncate(file, file.stat().st_size // 2)
    with refused(file, "not a whole PyTorch file"):
        convert(path, tmp_path / "out")
    file.unlink()
    save_file(case("sh1-lm").state, path / "model.safetensors")
    os.truncate(path / "model.safetensors", 100_000)
    with refused("model.safetensors", "not a whole safetensors file"):
        convert(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


class Runs:
    """Runs code where it is unpickled the ordinary way."""

    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.mark}",)


@pytest.mark.parametrize("key", ["blocks.0.projections._extra_state", "norm.scale"])
def test_code_in_a_checkpoint_is_not_run(tmp_path: Path, key: str):
    path = directory(tmp_path / "source", "sh2-lm", SH2.state | {key: Runs(tmp_path / "mark")})
    with refused("model.pt"):
        load(path)
    assert not (tmp_path / "mark").exists()


def test_an_unknown_version_of_what_is_kept_is_named(tmp_path: Path):
    convert(directory(tmp_path / "source", "sh2-lm"), tmp_path / "ours")
    file = tmp_path / "ours" / "published.json"
    file.write_text(file.read_text().replace('"published_version": 1', '"published_version": 2'))
    with refused(file, "version 2", "update hyena"):
        load(tmp_path / "ours")


def test_files_of_two_saves_are_not_one_model(tmp_path: Path):
    convert(directory(tmp_path / "a", "sh2-lm"), tmp_path / "ours")
    convert(directory(tmp_path / "b", "sh2-lm-1m"), tmp_path / "others")
    (tmp_path / "others" / "published.json").replace(tmp_path / "ours" / "published.json")
    with refused("published.json", "two different saves"):
        load(tmp_path / "ours")


def test_savanna_is_refused_with_the_way_to_go(tmp_path: Path):
    with refused(tmp_path, "savanna", "convert_checkpoint_to_vortex.py"):
        load(tmp_path, "savanna")
    assert "savanna" not in FORMATS


# --- memory -------------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in KiB on Linux")
@pytest.mark.parametrize("suffix", ["safetensors", "pt"])
def test_a_conversion_holds_a_model_once(tmp_path: Path, suffix: str):
    """100 MB of weights in less than 150: the model, its largest tensor, what reading imports. 1 GB: reports/convert.md."""
    said = python(f"""
import json, resource, sys
sys.path.insert(0, "benchmarks")
from pathlib import Path
import torch
import hyena.checkpoints
from convert import synthetic
home = Path({str(tmp_path)!r})
size = synthetic("stripedhyena", {suffix!r}, home / "a", 110)
""")
    assert said == ""
    peak = python(f"""
import resource
import hyena.checkpoints, torch
from torch._subclasses.fake_tensor import FakeTensorMode
torch.nn.functional.gelu(torch.nn.functional.linear(torch.ones(64, 64), torch.ones(64, 64)))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
hyena.checkpoints.convert("{tmp_path}/a", "{tmp_path}/b")
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / 1e6)
""")
    size = weights_file(tmp_path / "a").stat().st_size / 1e6
    assert size > 100
    assert float(peak) < 1.5 * size, (peak, size)
