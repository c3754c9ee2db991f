"""`export` and `convert`: published -> ours -> published and ours -> published -> ours, bit for bit."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from hyena.checkpoints import FORMATS, convert, export, exporter, load
from hyena.checkpoints.files import read_tensors, weights_file
from hyena.checkpoints.loader import STRIPED as STRIPED_FORMATS
from hyena.checkpoints.safari import plain_names
from hyena.configs.mixers import AttentionConfig, HyenaConfig, ImplicitFilterConfig, Mixers
from hyena.configs.model import ModelConfig
from hyena.errors import HyenaError
from hyena.models import Classifier, LanguageModel
from hyena.modules.precision import Float32Module
from tests.checkpoints.golden import CASES, Case, case
from tests.checkpoints.test_express import STRIPED, VORTEX
from tests.helpers import refused
from tests.models.small import loud

MODELS = [name for name in CASES if not case(name).is_operator and not name.startswith("sh")]  # those: test_striped.py


def assert_same(a: LanguageModel | Classifier, b: LanguageModel | Classifier) -> None:
    """Two models of one kind with the same configuration and the same tensors."""
    assert type(a) is type(b)
    assert a.head_options() == b.head_options()
    assert a.config.to_dict() == b.config.to_dict()
    assert_tensors(a.state_dict(), b.state_dict())


def assert_tensors(a: dict[str, Tensor], b: dict[str, Tensor]) -> None:
    """Equal names, dtypes and bits."""
    assert a.keys() == b.keys()
    for name, tensor in a.items():
        assert tensor.dtype == b[name].dtype, name
        assert torch.equal(tensor, b[name]), name


# --- published -> ours -> published -------------------------------------------------------------------------------------------


def published(c: Case) -> dict[str, Tensor]:
    """A case's tensors as a file of its format has them: the transformers port stores a shared frequency once."""
    if c.format != "hyenadna-hf":
        return c.state
    return {name: tensor for name, tensor in c.state.items() if not name.endswith((".3.freq", ".5.freq"))}


@pytest.mark.parametrize("name", MODELS)
def test_a_published_model_is_written_as_it_was(tmp_path: Path, name: str):
    c = case(name)
    done = convert(c.folder / "state.safetensors", tmp_path / "again", to=c.format, format=c.format, config=c.config)
    written = read_tensors(weights_file(tmp_path / "again"))
    assert_tensors(plain_names(written, "file"), published(c))
    assert_same(load(tmp_path / "again", c.format), c.model())
    assert (done.format, done.parameters) == (c.format, c.model().parameter_count())
    assert done.tokens > 0


def test_a_ports_file_is_the_one_that_transformers_writes(tmp_path: Path):
    c = case("hyenadna-hf")
    convert(c.folder / "hf_model.safetensors", tmp_path / "again", "hyenadna-hf", "hyenadna-hf", c.folder / "hf_config.json")
    assert_tensors(load_file(tmp_path / "again" / "model.safetensors"), load_file(c.folder / "hf_model.safetensors"))
    written, wanted = (json.loads(path.read_text()) for path in (tmp_path / "again/config.json", c.folder / "hf_config.json"))
    assert written == {key: value for key, value in wanted.items() if key != "transformers_version"}


def test_a_released_checkpoint_is_written_as_huggingface_py_reads_it(tmp_path: Path):
    c = case("hyenadna-lm-c")
    convert(c.folder / "weights.ckpt", tmp_path / "again", "hyenadna", "hyenadna", c.folder / "release_config.json")
    content = torch.load(tmp_path / "again" / "weights.ckpt", weights_only=True)
    assert content.keys() == {"state_dict"}
    assert_tensors(content["state_dict"], {f"model.{name}": tensor for name, tensor in c.state.items()})
    written, wanted = (
        json.loads(path.read_text()) for path in (tmp_path / "again/config.json", c.folder / "release_config.json")
    )
    assert wanted.keys() <= written.keys()
    assert not written["checkpoint_mixer"]  # which is why no key has `.layer` in it
    assert_same(load(tmp_path / "again"), load(c.folder / "weights.ckpt", "hyenadna", c.folder / "release_config.json"))


def test_aliases_share_their_memory_in_a_pickle(tmp_path: Path):
    export(case("safari-lm").model(), tmp_path / "model", "safari")
    tensors = torch.load(tmp_path / "model" / "model.ckpt", weights_only=True)
    assert tensors["lm_head.weight"].data_ptr() == tensors["backbone.embeddings.word_embeddings.weight"].data_ptr()
    mlp = "backbone.layers.0.mixer.filter_fn.implicit_filter"
    assert len({tensors[f"{mlp}.{i}.freq"].data_ptr() for i in (1, 3, 5)}) == 1


@pytest.mark.parametrize("shift", [0.0, 0.05])
def test_the_shift_is_written_so_that_no_reader_can_take_another(tmp_path: Path, shift: float):
    c = case("hyenadna-lm-a")
    config = c.config | {"layer": c.config["layer"] | {"shift": shift}}
    convert(c.folder / "state.safetensors", tmp_path / "a", "hyenadna", "hyenadna", config)
    for format in ("hyenadna", "safari"):
        assert load(tmp_path / "a", format).config.mixers.H.filter.shift == shift


# --- ours -> published -> ours ------------------------------------------------------------------------------------------------


def config(order: int = 2, pattern: str = "HAH", **options: Any) -> ModelConfig:
    """A configuration that safari's format has words for."""
    H = HyenaConfig(
        order=order, short_taps=4, filter=ImplicitFilterConfig(features=5, width=8, train_features=True, init_std=None)
    )
    defaults: dict[str, Any] = {"width": 16, "vocab_size": 10, "max_length": 24, "init_std": 0.02}
    mixers = Mixers(H=H, A=AttentionConfig(heads=2, rotary_width=4))
    return ModelConfig(pattern=pattern, **defaults | {"mixers": mixers} | options)


def dna(order: int = 2, pattern: str = "HH", **options: Any) -> ModelConfig:
    """A configuration that HyenaDNA's formats have words for."""
    H = HyenaConfig(
        order=order, short_taps=3, filter=ImplicitFilterConfig(features=5, width=8, fast_decay=0.3, shift=0.05, init_std=None)
    )
    return config(order, pattern, **{"vocab_size": 12, "tokenizer": "dna", "mixers": Mixers(H=H)} | options)


BARE = Mixers(
    H=HyenaConfig(
        order=3,
        activation="silu",
        gating="outer",
        order_scale=True,
        skip=False,
        dropout=0.25,
        filter=ImplicitFilterConfig(
            features=7, width=8, inner_layers=1, window="none", channel_norm=True, shift=0.5, init_std=None
        ),
    ),
    A=AttentionConfig(heads=4, rotary_width=0, qkv_bias=False, out_bias=False, dropout=0.5),
)
OURS: dict[str, tuple[ModelConfig, str]] = {
    "order 2": (config(), "safari"),
    "order 3": (config(3), "safari"),
    "order 4, half the MLP": (config(4, "H", mlp_width=8), "safari"),
    "attention alone": (config(pattern="AA"), "safari"),
    "dropout": (config(dropout=0.25, embed_dropout=0.125), "safari"),
    "positions and rows": (config(position_rows=20, vocab_multiple=8, float32_residual=False, init_std=0.1), "safari"),
    "every option": (config(mixers=BARE), "safari"),
    "HyenaDNA": (dna(), "hyenadna"),
    "HyenaDNA, order 3": (dna(3, vocab_multiple=8), "hyenadna"),
    "HyenaDNA, attention": (config(vocab_size=12, tokenizer="dna", position_rows=24), "hyenadna"),
    "port": (dna(vocab_multiple=8, embed_dropout=0.1), "hyenadna-hf"),
    "port with a head of its own": (dna(tied=False), "hyenadna-hf"),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("kind", OURS)
def test_a_model_of_ours_comes_back(tmp_path: Path, kind: str, dtype: torch.dtype):
    options, format = OURS[kind]
    model = loud(LanguageModel(options)).to(dtype)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    done = export(model, tmp_path / "model", format)
    assert_same(load(tmp_path / "model", format), model)
    assert model.training  # and the model is as it was
    assert_tensors(model.state_dict(), before)
    assert done.tensors == len(before)
    assert set(done.dtypes) == {str(tensor.dtype).removeprefix("torch.") for tensor in before.values()}


@pytest.mark.parametrize(
    ("format", "head"), [("hyenadna", {"pool": "mean", "bias": True}), ("hyenadna-hf", {"pool": "last", "bias": False})]
)
def test_a_classifier_of_ours_comes_back(tmp_path: Path, format: str, head: dict[str, Any]):
    model = loud(Classifier(dna(), classes=3, **head))
    export(model, tmp_path / "model", format)
    assert_same(load(tmp_path / "model"), model)
    labels = json.loads((tmp_path / "model/config.json").read_text()).get("id2label")
    assert labels == (None if format == "hyenadna" else {"0": "LABEL_0", "1": "LABEL_1", "2": "LABEL_2"})


def test_order_3_says_its_layout(tmp_path: Path):
    export(LanguageModel(dna(3)), tmp_path / "model", "hyenadna")
    assert json.loads((tmp_path / "model/config.json").read_text())["layer"]["channel_layout"] == "order-first"


@pytest.mark.parametrize("name", ["order_scale", "skip", "window"])
def test_what_the_published_code_saves_and_never_reads_is_there(tmp_path: Path, name: str):
    export(LanguageModel(config(mixers=BARE)), tmp_path / "model", "safari")
    tensors = read_tensors(tmp_path / "model" / "model.ckpt")
    key = {"order_scale": "ord_proj_w", "skip": "filter_fn.bias", "window": "filter_fn.modulation.deltas"}[name]
    shape = {"order_scale": (3, 1, 1), "skip": (32,), "window": (1, 1, 32)}[name]
    assert tensors[f"backbone.layers.0.mixer.{key}"].shape == shape


def test_ours_is_written_as_ours(tmp_path: Path):
    (tmp_path / "words.json").write_text("{}")
    model = LanguageModel(config(pattern="H W", tokenizer="file:words.json", beyond="truncate", norm="rms", mlp="gated"))
    model.tokenizer_file = tmp_path / "words.json"
    done = export(model, tmp_path / "model")
    again = load(tmp_path / "model")
    assert_same(again, model)
    assert again.tokenizer_file == tmp_path / "model" / "words.json"
    assert done.format == "hyena"


# --- between formats ----------------------------------------------------------------------------------------------------------


def test_a_journey_through_every_format(tmp_path: Path):
    model = loud(LanguageModel(dna(vocab_multiple=8)))
    export(model, tmp_path / "hyena")
    convert(tmp_path / "hyena", tmp_path / "hyenadna", "hyenadna")
    convert(tmp_path / "hyenadna", tmp_path / "hf", "hyenadna-hf")
    convert(tmp_path / "hf", tmp_path / "safari", "safari", drop=["tokenizer"])
    convert(tmp_path / "safari", tmp_path / "again", "hyenadna", format="safari", drop=["tokenizer"])
    convert(tmp_path / "again", tmp_path / "home")
    assert_same(load(tmp_path / "home"), model)


def test_a_directory_may_be_converted_in_its_place(tmp_path: Path):
    model = loud(LanguageModel(dna()))
    export(model, tmp_path / "model")
    convert(tmp_path / "model", tmp_path / "model", "hyenadna", overwrite=True)
    assert {path.name for path in (tmp_path / "model").iterdir()} == {"weights.ckpt", "config.json"}
    assert_same(load(tmp_path / "model"), model)


# --- precision ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("to", ["hyena", *FORMATS])
@pytest.mark.parametrize("dtype", exporter.DTYPES)
def test_a_precision_is_that_of_the_weights_and_never_of_filters(tmp_path: Path, to: str, dtype: str):
    export(LanguageModel({"stripedhyena": STRIPED, "vortex": VORTEX}.get(to, dna())), tmp_path / "model")
    done = convert(tmp_path / "model", tmp_path / "cast", to, dtype=dtype, drop=["tokenizer"] if to == "safari" else [])
    again = load(tmp_path / "cast", to)
    assert again.backbone.embedding.weight.dtype == exporter.DTYPES[dtype]
    for module in again.modules():
        if isinstance(module, Float32Module):
            assert {tensor.dtype for tensor in module.state_dict().values()} == {torch.float32}
    assert done.dtypes == (("float32",) if dtype == "float32" else (dtype, "float32"))
    if to == "hyenadna-hf":
        assert json.loads((tmp_path / "cast/config.json").read_text())["torch_dtype"] == dtype


def test_a_weight_that_becomes_infinite_is_named(tmp_path: Path):
    model = LanguageModel(dna())
    with torch.no_grad():
        model.backbone.norm.weight[3] = -1e5
    export(model, tmp_path / "model")
    with refused("backbone.norm.weight", "100000", "float16", "bfloat16"):
        convert(tmp_path / "model", tmp_path / "half", dtype="float16")
    assert not (tmp_path / "half").exists()
    convert(tmp_path / "model", tmp_path / "half", dtype="bfloat16")


def test_weights_that_are_no_numbers_are_written_as_they_are(tmp_path: Path):
    model = LanguageModel(dna())
    with torch.no_grad():
        model.backbone.norm.weight[0] = torch.nan
        model.backbone.norm.bias[0] = torch.inf
    export(model, tmp_path / "model", "hyenadna")
    again = load(tmp_path / "model").backbone.norm
    assert again.weight.isnan().tolist() == [True] + 15 * [False]
    assert again.bias[0] == torch.inf


# --- nothing after an error ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", [name for name in FORMATS if name not in STRIPED_FORMATS])
def test_what_cannot_be_expressed_is_refused_before_anything_is_written(tmp_path: Path, format: str):
    with refused(f"{format} cannot express norm = 'rms'", "'layer'"):
        export(LanguageModel(dna(norm="rms")), tmp_path / "a" / "model", format, drop=["tokenizer"])
    assert list(tmp_path.iterdir()) == []


def broken(monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """What is written is not what was to be written."""
    write, options = exporter.write_tensors, exporter.express

    def other_tensors(tensors: dict[str, Tensor], *rest: Any) -> None:
        name = next(iter(tensors))
        changed = {"a tensor": {name: tensors[name] + 1e-3}, "a dtype": {name: tensors[name].double()}}.get(how, {})
        write({k: v for k, v in tensors.items() if how != "a missing tensor" or k != name} | changed, *rest)

    def other_options(*arguments: Any) -> tuple[dict[str, Any], ModelConfig]:
        written, ours = options(*arguments)
        return written | {"resid_dropout": 0.5} if how == "the configuration" else written, ours

    monkeypatch.setattr(exporter, "write_tensors", other_tensors)
    monkeypatch.setattr(exporter, "express", other_options)


@pytest.mark.parametrize("how", ["a tensor", "a dtype", "a missing tensor", "the configuration"])
def test_what_does_not_read_back_is_taken_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str):
    broken(monkeypatch, how)
    with refused(tmp_path / "model", "was not written", "not the same model", "report"):
        export(LanguageModel(dna(tied=True)), tmp_path / "model", "hyenadna")
    assert list(tmp_path.iterdir()) == []


def test_logits_are_compared_where_the_model_is_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    model = loud(LanguageModel(dna()))
    model.backbone.blocks[0].mixer.act = torch.tanh  # nothing that any file holds
    with refused("not the same model", "logits differ by"):
        export(model, tmp_path / "model", "hyenadna")
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(exporter, "COMPARED_PARAMETERS", model.parameter_count() - 1)
    assert export(model, tmp_path / "model", "hyenadna").tokens == 0


@pytest.mark.parametrize("to", ["hyena", *FORMATS])
def test_ctrl_c_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, to: str):
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(exporter, "_verify", interrupted)
    config = {"stripedhyena": STRIPED, "vortex": VORTEX}.get(to, dna(tokenizer=None, vocab_size=10))
    with pytest.raises(KeyboardInterrupt):
        export(LanguageModel(config), tmp_path / "a" / "model", to)
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_not_touched_by_a_refusal(tmp_path: Path):
    export(LanguageModel(dna()), tmp_path / "model")
    before = {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()}
    with refused(tmp_path / "model", "already exists", "--overwrite"):
        export(LanguageModel(dna()), tmp_path / "model")
    with refused(tmp_path / "model", "already exists"):
        convert(tmp_path / "nowhere", tmp_path / "model")  # before the source is read
    with pytest.raises(HyenaError):
        export(LanguageModel(dna(norm="rms")), tmp_path / "model", "hyenadna", overwrite=True)
    assert before == {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()}
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_unknown_names_are_refused(tmp_path: Path):
    with refused("'hyenadan'", "did you mean 'hyenadna'?", "hyena, safari"):
        export(LanguageModel(dna()), tmp_path / "model", "hyenadan")
    with refused("'hyenadan'", "did you mean 'hyenadna'?"):
        convert(tmp_path / "nowhere", tmp_path / "model", "hyenadan")
    with refused("'bfloat'", "did you mean 'bfloat16'?"):
        convert(tmp_path / "nowhere", tmp_path / "model", dtype="bfloat")
    with refused("drop", "['beyond']", "'hyena'", "leave it out"):
        export(LanguageModel(dna()), tmp_path / "model", drop=["beyond"])
    with refused(tmp_path / "nowhere", "does not exist"):
        convert(tmp_path / "nowhere", tmp_path / "model")
    assert list(tmp_path.iterdir()) == []
