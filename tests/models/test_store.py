"""The native format: what is saved comes back bit for bit, or one line says what is wrong."""

import json
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from hyena.models import Classifier, LanguageModel, load, store
from tests.helpers import refused, right_or_refused
from tests.models.small import classifier, ids, language_model

SHARD = 4000
"""Bytes a shard: some six of them for a small model."""


def assert_same(a: LanguageModel | Classifier, b: LanguageModel | Classifier) -> None:
    """Two models of the same class, configuration, names, dtypes and bits."""
    assert type(a) is type(b)
    assert a.config.to_dict() == b.config.to_dict()
    assert a.head_options() == b.head_options()
    ours, theirs = a.state_dict(), b.state_dict()
    assert list(ours) == list(theirs)
    for name in ours:
        assert ours[name].dtype == theirs[name].dtype, name
        assert torch.equal(ours[name], theirs[name]), name


def rewrite(file: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a JSON file."""
    values = json.loads(file.read_text())
    change(values)
    file.write_text(json.dumps(values))


# --- round trips ------------------------------------------------------------------------------------------------------------

MODELS = {
    "float32": lambda: language_model(dtype=torch.float32),
    "float64": lambda: language_model(),
    "bfloat16": lambda: language_model(dtype=torch.bfloat16),
    "float16": lambda: language_model(dtype=torch.float16),
    "untied": lambda: language_model(tied=False),
    "all options": lambda: language_model(
        "HWH A", beyond="truncate", tokenizer="dna", vocab_multiple=8, norm="rms", norm_eps=1e-3, mlp="gated", mlp_width=40,
        activation="silu", float32_residual=False, position_rows=64, dropout=0.25, embed_dropout=0.125, init_std=0.5,
    ),
    "classifier": lambda: classifier(),
    "classifier's options": lambda: classifier(classes=5, pool="last", bias=False),
    "resized": lambda: language_model().resized(100),
}  # fmt: skip


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("shard_bytes", [store.SHARD_BYTES, SHARD, 1], ids=["one file", "shards", "a shard a tensor"])
def test_a_saved_model_comes_back_bit_for_bit(tmp_path: Path, kind: str, shard_bytes: int):
    model = MODELS[kind]()
    store.save(model, tmp_path, shard_bytes)
    loaded = load(tmp_path)
    assert_same(loaded, model)
    assert not loaded.training
    tokens = ids()
    with torch.no_grad():
        assert torch.equal(loaded(tokens), model(tokens))


def test_half_precision_models_keep_their_float32_parts(tmp_path: Path):
    model = language_model(dtype=torch.bfloat16)
    model.save(tmp_path)
    dtypes = {name: tensor.dtype for name, tensor in load(tmp_path).state_dict().items()}
    assert {dtypes[name] for name in dtypes if ".filter." in name or ".rotary." in name} == {torch.float32}
    assert {dtypes[name] for name in dtypes if ".filter." not in name and ".rotary." not in name} == {torch.bfloat16}


def test_a_loaded_model_trains_and_is_saved_again(tmp_path: Path):
    language_model(dtype=torch.float32).save(tmp_path)
    model = load(tmp_path).train()
    assert all(parameter.requires_grad for parameter in model.parameters())
    before = load(tmp_path).state_dict()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    model(ids()).square().mean().backward()
    optimiser.step()
    assert all(torch.equal(before[name], tensor) for name, tensor in load(tmp_path).state_dict().items())  # not the file
    model.save(tmp_path)
    assert_same(load(tmp_path), model)
    assert any(not torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_a_tied_head_is_saved_once_and_tied_when_loaded(tmp_path: Path):
    model = language_model()
    model.save(tmp_path)
    assert "lm_head.weight" not in load_file(tmp_path / store.WEIGHTS)
    loaded, tokens = load(tmp_path), ids()
    with torch.no_grad():
        loaded.backbone.embedding.weight.zero_()
        assert not loaded(tokens).any()


def test_tensors_that_are_views_are_saved(tmp_path: Path):
    model = language_model()
    weight = model.backbone.blocks[0].mlp.up_proj.weight
    weight.data = weight.data.T.contiguous().T
    assert not weight.is_contiguous()
    model.save(tmp_path)
    assert_same(load(tmp_path), model)


def test_the_files_of_a_small_model(tmp_path: Path):
    language_model().save(tmp_path)
    assert sorted(os.listdir(tmp_path)) == [store.CONFIG, store.WEIGHTS]
    assert store.is_native(tmp_path)


def test_the_same_model_gives_the_same_files(tmp_path: Path):
    model = language_model()
    for name in "ab":
        model.save(tmp_path / "deep" / name)
    for file in (store.CONFIG, store.WEIGHTS):
        assert (tmp_path / "deep/a" / file).read_bytes() == (tmp_path / "deep/b" / file).read_bytes()


def test_shards_are_no_larger_than_told_unless_one_tensor_is(tmp_path: Path):
    store.save(language_model(), tmp_path, SHARD)
    index = json.loads((tmp_path / store.INDEX).read_text())["weight_map"]
    files = sorted(path.name for path in tmp_path.glob("*.safetensors"))
    assert len(files) > 3
    assert sorted(set(index.values())) == files
    for file in files:
        tensors = load_file(tmp_path / file)
        assert {name for name in index if index[name] == file} == set(tensors)
        assert sum(t.nbytes for t in tensors.values()) <= SHARD or len(tensors) == 1


# --- the same directory again -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [store.SHARD_BYTES, SHARD, 1], ids=["one file", "shards", "many shards"])
@pytest.mark.parametrize("second", [store.SHARD_BYTES, SHARD, 1], ids=["one file", "shards", "many shards"])
def test_a_later_save_replaces_an_earlier_one(tmp_path: Path, first: int, second: int):
    store.save(language_model("HHHH"), tmp_path, first)
    model = classifier("A")
    store.save(model, tmp_path, second)
    assert_same(load(tmp_path), model)
    clean = tmp_path / "clean"
    store.save(model, clean, second)
    assert sorted(p.name for p in tmp_path.iterdir() if p.is_file()) == sorted(p.name for p in clean.iterdir())


def test_other_files_are_left_alone(tmp_path: Path):
    others = ["notes.txt", "training.json", "optimizer.safetensors", "model-average.safetensors", "model.safetensors.old"]
    for name in others:
        (tmp_path / name).write_text("mine")
    language_model().save(tmp_path)
    assert [name for name in others if not (tmp_path / name).is_file()] == []


# --- interrupted saves ------------------------------------------------------------------------------------------------------


class StopError(Exception):
    """Stands for whatever may stop a program."""


def failing(function: Callable[..., Any], after: int, error: BaseException) -> Callable[..., Any]:
    """A function that works `after` times and then raises."""
    calls = iter(range(10**6))

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if next(calls) >= after:
            raise error
        return function(*args, **kwargs)

    return wrapped


def interrupted(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, after: int) -> None:
    """Let a function that `save` calls fail after some calls."""
    monkeypatch.setattr(owner, name, failing(getattr(owner, name), after, StopError()))


@pytest.mark.parametrize("after", [0, 1, 3])
def test_an_interruption_while_writing_leaves_the_old_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int):
    old = language_model()
    store.save(old, tmp_path, SHARD)
    files = sorted(os.listdir(tmp_path))
    interrupted(monkeypatch, store, "save_file", after)
    with pytest.raises(StopError):
        store.save(language_model(), tmp_path, SHARD)
    monkeypatch.undo()
    assert sorted(os.listdir(tmp_path)) == files  # and no half-written file beside them
    assert_same(load(tmp_path), old)


@pytest.mark.parametrize(
    "sizes", [(store.SHARD_BYTES, store.SHARD_BYTES), (SHARD, SHARD), (store.SHARD_BYTES, SHARD), (SHARD, store.SHARD_BYTES)]
)
@pytest.mark.parametrize("after", [0, 1, 2, 3, 5, 7])
def test_an_interruption_while_moving_is_never_a_mixture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int, sizes: tuple[int, int]
):
    old, new = language_model(), language_model()
    store.save(old, tmp_path, sizes[0])
    interrupted(monkeypatch, store.os, "replace", after)
    with suppress(StopError):
        store.save(new, tmp_path, sizes[1])
    monkeypatch.undo()
    assert not list(tmp_path.glob("*.part")) + list(tmp_path.glob(".*.part"))
    with right_or_refused("different saves"):
        loaded = load(tmp_path)
        same_as_new = torch.equal(loaded.backbone.embedding.weight, new.backbone.embedding.weight)
        assert_same(loaded, new if same_as_new else old)


def test_a_first_save_that_is_interrupted_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    interrupted(monkeypatch, store, "save_file", 2)
    with pytest.raises(StopError):
        store.save(language_model(), tmp_path, SHARD)
    assert os.listdir(tmp_path) == []


def test_a_full_disk_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    full = OSError(28, "No space left on device")
    monkeypatch.setattr(store, "save_file", failing(store.save_file, 0, full))
    with refused(tmp_path, "No space left on device", "another directory"):
        language_model().save(tmp_path)
    monkeypatch.setattr(store, "save_file", failing(store.save_file, 0, full))
    with refused(tmp_path, "No space left on device"):
        language_model().save(tmp_path / "new" / "model")
    assert not (tmp_path / "new").exists()


def test_a_file_in_the_directorys_place_is_one_line(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with refused(tmp_path / "file", "cannot save"):
        language_model().save(tmp_path / "file")


# --- damage -----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A directory with a model."""
    language_model().save(tmp_path)
    return tmp_path


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    """A directory with a model in shards."""
    store.save(language_model(), tmp_path, SHARD)
    return tmp_path


@pytest.mark.parametrize("kept", [0, 4, 100, 5000, -1], ids="{} bytes".format)
def test_a_file_cut_short_is_named(saved: Path, kept: int):
    file = saved / store.WEIGHTS
    file.write_bytes(file.read_bytes()[:kept])
    with refused(file, "not a whole safetensors file", "again"):
        load(saved)


def test_a_file_with_more_than_it_says_is_named(saved: Path):
    file = saved / store.WEIGHTS
    file.write_bytes(file.read_bytes() + b"\0")
    with refused(file, "not a whole safetensors file"):
        load(saved)


def test_a_file_of_something_else_is_named(saved: Path):
    (saved / store.WEIGHTS).write_bytes(b"\x80\x02" + 5000 * b"pickle")
    with refused(saved / store.WEIGHTS, "not a whole safetensors file"):
        load(saved)


def test_a_missing_file_is_named(saved: Path):
    (saved / store.WEIGHTS).unlink()
    with refused(saved / store.WEIGHTS, "does not exist"):
        load(saved)
    (saved / store.CONFIG).unlink()
    with refused(saved / store.CONFIG, "does not exist"):
        load(saved)
    assert not store.is_native(saved)


def test_a_missing_shard_is_named(sharded: Path):
    gone = sorted(sharded.glob("*.safetensors"))[1]
    gone.unlink()
    with refused(gone, "does not exist"):
        load(sharded)


def test_a_shard_that_the_index_forgets_is_missed(sharded: Path):
    last = max(path.name for path in sharded.glob("*.safetensors"))
    rewrite(sharded / store.INDEX, lambda v: v.update(weight_map={k: f for k, f in v["weight_map"].items() if f != last}))
    with refused(sharded, "missing", "backbone.norm.weight"):
        load(sharded)


@pytest.mark.parametrize("file", [store.CONFIG, store.WEIGHTS])
def test_files_of_two_saves_are_told_apart(tmp_path: Path, file: str):
    for name in "ab":
        language_model().save(tmp_path / name)
    shutil.copy(tmp_path / "a" / file, tmp_path / "b" / file)
    with refused(tmp_path / "b" / store.WEIGHTS, "two different saves"):
        load(tmp_path / "b")


def test_a_shard_of_another_save_is_told_apart(tmp_path: Path):
    for name in "ab":
        store.save(language_model(), tmp_path / name, SHARD)
    shard = sorted((tmp_path / "a").glob("*.safetensors"))[2]
    shutil.copy(shard, tmp_path / "b")
    with refused(tmp_path / "b" / shard.name, "two different saves"):
        load(tmp_path / "b")


CHANGED = {
    "misspelt option": (lambda v: v["model"].update(widht=16), ["'widht'", "did you mean 'width'?"]),
    "misspelt option of a mixer": (lambda v: v["model"]["mixers"]["H"].update(ordre=2), ["mixers: H", "'ordre'", "'order'"]),
    "misspelt option of a filter": (
        lambda v: v["model"]["mixers"]["H"]["filter"].update(shfit=0.0), ["mixers: H: filter", "'shfit'", "'shift'"],
    ),
    "option of another type": (lambda v: v["model"].update(tied="yes"), ["tied", "'yes'", "true or false"]),
    "no width": (lambda v: v["model"].pop("width"), ["lacks", "'width'"]),
    "unknown letter": (lambda v: v["model"].update(pattern="HXW"), ["'X'", "layer 1", "H (Hyena"]),
    "newer version": (lambda v: v.update(format_version=2), ["version 2", "reads 1", "update"]),
    "no version": (lambda v: v.pop("format_version"), ["version None", "reads 1"]),
    "another format": (lambda v: v.update(format="gpt"), ["not a hyena configuration", "format="]),
    "unknown kind": (lambda v: v.update(kind="encoder"), ["'encoder'", "language-model, classifier"]),
    "no kind": (lambda v: v.pop("kind"), ["kind ''", "language-model, classifier"]),
    "no model": (lambda v: v.pop("model"), ["model lacks the key 'pattern'"]),
    "unknown head": (lambda v: v.update(head={"classes": 3}), ["head", "classes", "language-model"]),
    "another width": (lambda v: v["model"].update(width=8), ["backbone.", "has shape", "(16,", "the configuration says"]),
    "another depth": (lambda v: v["model"].update(pattern="HAWH"), ["missing backbone.blocks.3", "more"]),
    "fewer layers": (lambda v: v["model"].update(pattern="HA"), ["unknown backbone.blocks.2", "missing nothing"]),
    "another head": (lambda v: v["model"].update(tied=False), ["missing lm_head.weight", "unknown nothing"]),
}  # fmt: skip


@pytest.mark.parametrize("case", CHANGED)
def test_a_changed_configuration_is_one_line(saved: Path, case: str):
    change, parts = CHANGED[case]
    rewrite(saved / store.CONFIG, change)
    with refused(saved, *parts):
        load(saved)


def test_broken_json_names_its_line(saved: Path):
    (saved / store.CONFIG).write_text('{"format": "hyena",\n "kind" }')
    with refused(saved / store.CONFIG, "not valid JSON", "line 2"):
        load(saved)


def test_an_unknown_option_of_a_classifier(tmp_path: Path):
    classifier().save(tmp_path)
    rewrite(tmp_path / store.CONFIG, lambda v: v["head"].update(pols="mean"))
    with refused(tmp_path, "head", "pols", "classifier"):
        load(tmp_path)


def test_tensors_under_other_names_are_named(saved: Path):
    tensors, metadata = store.read_safetensors(saved / store.WEIGHTS)
    tensors["backbone.embeding.weight"] = tensors.pop("backbone.embedding.weight")
    save_file(tensors, saved / store.WEIGHTS, metadata)
    with refused(saved, "missing backbone.embedding.weight", "unknown backbone.embeding.weight"):
        load(saved)


# --- the tokenizer's file ---------------------------------------------------------------------------------------------------


@pytest.fixture
def with_file(tmp_path: Path) -> LanguageModel:
    """A model whose tokenizer is a file."""
    model = language_model(tokenizer="file:bpe.json")
    model.tokenizer_file = tmp_path / "elsewhere" / "bpe.json"
    model.tokenizer_file.parent.mkdir()
    model.tokenizer_file.write_text('{"model": 1}')
    return model


def test_the_tokenizers_file_travels_with_the_model(tmp_path: Path, with_file: LanguageModel):
    with_file.save(tmp_path / "a")
    shutil.rmtree(tmp_path / "elsewhere")
    model = load(tmp_path / "a")
    assert model.tokenizer_file == tmp_path / "a" / "bpe.json"
    model.save(tmp_path / "a")  # onto itself
    model.save(tmp_path / "b")
    shutil.rmtree(tmp_path / "a")
    assert load(tmp_path / "b").tokenizer_file.read_text() == '{"model": 1}'


def test_a_tokenizers_file_of_another_name_is_found_again(tmp_path: Path, with_file: LanguageModel):
    renamed = with_file.tokenizer_file.rename(tmp_path / "other.json")
    with_file.tokenizer_file = renamed
    with_file.save(tmp_path / "a")
    assert load(tmp_path / "a").tokenizer_file.read_text() == '{"model": 1}'


def test_a_tokenizer_named_by_its_path_travels(tmp_path: Path, with_file: LanguageModel):
    model = language_model(tokenizer=f"file:{with_file.tokenizer_file}")
    model.save(tmp_path / "a")
    assert load(tmp_path / "a").tokenizer_file == tmp_path / "a" / "bpe.json"
    assert (tmp_path / "a" / "bpe.json").is_file()


def test_a_model_is_not_saved_without_its_tokenizer(tmp_path: Path, with_file: LanguageModel):
    with_file.tokenizer_file.unlink()
    with refused(with_file.tokenizer_file, "does not exist", "tokenizer_file"):
        with_file.save(tmp_path / "a")
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("spec", [None, "bytes", "dna"])
def test_other_tokenizers_need_no_file(tmp_path: Path, spec: str | None):
    language_model(tokenizer=spec).save(tmp_path)
    model = load(tmp_path)
    assert model.config.tokenizer == spec
    assert model.tokenizer_file is None


@pytest.mark.parametrize("shard_bytes", [store.SHARD_BYTES, SHARD], ids=["one file", "shards"])
def test_the_files_of_a_model_are_known(tmp_path: Path, shard_bytes: int):
    (tmp_path / "notes.txt").write_text("")
    store.save(language_model(), tmp_path, shard_bytes)
    own = [path.name for path in store.files(tmp_path) if path.exists()]
    assert own[0] == store.CONFIG  # removed first, so that no half of a model can be loaded
    assert sorted([*own, "notes.txt"]) == sorted(os.listdir(tmp_path))


def test_a_removed_model_leaves_nothing_of_it(tmp_path: Path):
    (tmp_path / "metrics.jsonl").write_text("")
    store.save(language_model(), tmp_path, SHARD)
    store.remove(tmp_path)
    assert os.listdir(tmp_path) == ["metrics.jsonl"]
    store.remove(tmp_path)
