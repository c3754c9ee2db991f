"""Published files: tensors out of them, and nothing of what else they hold is run."""

import argparse
import dataclasses
import enum
import functools
import os
import pickle
import sys
import zipfile
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from hyena.checkpoints.files import check_free, new_directory, published_config, read_tensors, weights_file, write_tensors
from hyena.errors import HyenaError
from tests.helpers import refused

WEIGHTS = {"a.weight": torch.arange(6.0).view(2, 3), "a.bias": torch.ones(2).bfloat16()}


def assert_weights(tensors: dict[str, Tensor]) -> None:
    """They are WEIGHTS, bit for bit."""
    assert list(tensors) == list(WEIGHTS)
    for name, tensor in WEIGHTS.items():
        assert tensors[name].dtype == tensor.dtype
        assert torch.equal(tensors[name], tensor)


# --- which file, which configuration ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["model.safetensors", "weights.ckpt", "pytorch_model.bin", "model.ckpt"])
def test_the_one_published_file_of_a_directory(tmp_path: Path, name: str):
    (tmp_path / name).write_text("")
    (tmp_path / "config.json").write_text("")
    assert weights_file(tmp_path) == weights_file(tmp_path / name) == tmp_path / name


def test_no_file_or_two_are_named(tmp_path: Path):
    with refused(tmp_path, "holds none of", "weights.ckpt", "name the file"):
        weights_file(tmp_path)
    for name in ("weights.ckpt", "model.safetensors"):
        (tmp_path / name).write_text("")
    with refused(tmp_path, "model.safetensors, weights.ckpt", "name the file"):
        weights_file(tmp_path)
    with refused(tmp_path / "other", "does not exist"):
        weights_file(tmp_path / "other")


def test_the_configuration_given_or_beside_the_weights(tmp_path: Path):
    weights = tmp_path / "weights.ckpt"
    weights.write_text("")
    with refused(weights, tmp_path / "config.json", "pass config="):
        published_config(weights, None)
    (tmp_path / "config.json").write_text('{"d_model": 1}')
    (tmp_path / "other.json").write_text('{"d_model": 2}')
    assert published_config(tmp_path, None) == published_config(weights, None) == {"d_model": 1}
    assert (
        published_config(weights, tmp_path / "other.json")
        == published_config(weights, str(tmp_path / "other.json"))
        == {"d_model": 2}
    )
    assert published_config(weights, {"d_model": 3}) == {"d_model": 3}
    with refused(tmp_path / "missing.json", "does not exist"):
        published_config(weights, tmp_path / "missing.json")


# --- tensors ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["pt", "ckpt", "bin", "pth"])
@pytest.mark.parametrize(
    "content", [WEIGHTS, OrderedDict(WEIGHTS), {"state_dict": WEIGHTS}, {"state_dict": OrderedDict(WEIGHTS), "epoch": 3}]
)
def test_tensors_of_a_pickle_and_of_its_state_dict(tmp_path: Path, content: dict[str, Any], suffix: str):
    torch.save(content, tmp_path / f"a.{suffix}")
    assert_weights(read_tensors(tmp_path / f"a.{suffix}"))


def test_tensors_of_safetensors(tmp_path: Path):
    save_file(WEIGHTS, tmp_path / "a.safetensors")
    assert_weights({name: read_tensors(tmp_path / "a.safetensors")[name] for name in WEIGHTS})


def test_parameters_are_tensors(tmp_path: Path):
    torch.save({name: nn.Parameter(tensor) for name, tensor in WEIGHTS.items()}, tmp_path / "a.pt")
    assert_weights(read_tensors(tmp_path / "a.pt"))


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ([1, 2], "no state_dict"),
        ({}, "no state_dict"),
        ({"a": 3}, "'a' is a int"),
        ({"model": dict(WEIGHTS)}, "'model' is a dict"),
    ],
    ids=["a list", "nothing", "a number", "another key"],
)
def test_what_is_no_state_dict_is_refused(tmp_path: Path, content: Any, part: str):
    torch.save(content, tmp_path / "a.pt")
    with refused(tmp_path / "a.pt", part, "not a checkpoint of weights"):
        read_tensors(tmp_path / "a.pt")


# --- damage -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kept", [0, 10, 300, -200, -1])
def test_a_pickle_cut_short_is_named(tmp_path: Path, kept: int):
    file = tmp_path / "a.ckpt"
    torch.save(WEIGHTS, file)
    file.write_bytes(file.read_bytes()[:kept])
    with refused(file, "not a whole PyTorch file", "again"):
        read_tensors(file)


def test_a_safetensors_file_cut_short_is_named(tmp_path: Path):
    file = tmp_path / "a.safetensors"
    save_file(WEIGHTS, file)
    file.write_bytes(file.read_bytes()[:-1])
    with refused(file, "not a whole safetensors file", "again"):
        read_tensors(file)


@pytest.mark.parametrize("content", [b"no zip at all", pickle.dumps(3)], ids=["text", "a plain pickle"])
def test_another_file_is_named(tmp_path: Path, content: bytes):
    (tmp_path / "a.pt").write_bytes(content)
    with refused(tmp_path / "a.pt", "not a whole PyTorch file"):
        read_tensors(tmp_path / "a.pt")


def test_another_archive_is_named(tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "a.pt", "w") as archive:
        archive.writestr("data.txt", "text")
    with refused(tmp_path / "a.pt", "not a whole PyTorch file"):
        read_tensors(tmp_path / "a.pt")


# --- foreign objects --------------------------------------------------------------------------------------------------------

RAN: list[str] = []
"""What ran that should not have."""


def foreign_module() -> ModuleType:
    """A module that is gone when the file is read, as a training script's is."""
    module = ModuleType("training_script")

    class Plain:
        def __init__(self):
            self.value = 1

    class WithState:
        def __getstate__(self) -> dict[str, int]:
            return {"value": 1}

        def __setstate__(self, state: dict[str, int]) -> None:
            RAN.append("__setstate__")

    class Slots:
        __slots__ = ("value",)

        def __init__(self):
            self.value = 1

    class Colour(enum.Enum):
        RED = 1

    @dataclasses.dataclass
    class Options:
        rate: float = 0.1
        more: dict[str, Any] = dataclasses.field(default_factory=dict)

    class Attributes(dict):
        pass

    class Layers(list):
        pass

    def function() -> None:
        RAN.append("function")

    things = (Plain, WithState, Slots, Colour, Options, Attributes, Layers, function)
    for thing in things:
        thing.__module__, thing.__qualname__ = module.__name__, thing.__name__
        setattr(module, thing.__name__, thing)
    return module


@pytest.fixture
def script() -> Iterator[ModuleType]:
    """The module, importable until the test takes it away."""
    module = foreign_module()
    sys.modules[module.__name__] = module
    RAN.clear()
    yield module
    sys.modules.pop(module.__name__, None)
    assert RAN == []


FOREIGN: dict[str, Callable[[ModuleType], Any]] = {
    "Namespace": lambda m: argparse.Namespace(lr=1e-3, layers=[1, 2]),
    "Path": lambda m: Path("data"),
    "OrderedDict": lambda m: OrderedDict(a=1),
    "Counter": lambda m: Counter("aab"),
    "partial": lambda m: functools.partial(int, "3"),
    "an object": lambda m: m.Plain(),
    "an object with a state": lambda m: m.WithState(),
    "an object with slots": lambda m: m.Slots(),
    "an enumeration": lambda m: m.Colour.RED,
    "a dataclass": lambda m: m.Options(more={"nested": m.Plain()}),
    "a class": lambda m: m.Plain,
    "a function": lambda m: m.function,
    "a module": lambda m: nn.Linear(2, 2),
    "an optimiser's state": lambda m: torch.optim.AdamW([torch.ones(1, requires_grad=True)]).state_dict(),
    "all in one": lambda m: {
        "hparams": [m.Plain(), {"c": m.Colour.RED}],
        "paths": (Path("a"), Path("b")),
        "ns": argparse.Namespace(),
    },
}


def save(directory: Path, hyper_parameters: Any) -> Path:
    """A checkpoint as Lightning writes it."""
    file = directory / "last.ckpt"
    torch.save({"epoch": 3, "state_dict": OrderedDict(WEIGHTS), "hyper_parameters": hyper_parameters}, file)
    return file


@pytest.mark.parametrize("kind", FOREIGN)
def test_foreign_objects_beside_the_weights_do_not_matter(tmp_path: Path, script: ModuleType, kind: str):
    file = save(tmp_path, FOREIGN[kind](script))
    del sys.modules[script.__name__]
    assert_weights(read_tensors(file))


@pytest.mark.parametrize("kind", ["Attributes", "Layers", "defaultdict", "deque"])
def test_foreign_containers_load_or_are_refused_without_bad_advice(tmp_path: Path, script: ModuleType, kind: str):
    containers = {
        "Attributes": lambda: script.Attributes(a=1),
        "Layers": lambda: script.Layers([1, 2]),
        "defaultdict": lambda: defaultdict(dict, {"a": {}}),
        "deque": lambda: deque([1]),
    }
    file = save(tmp_path, containers[kind]())
    del sys.modules[script.__name__]
    try:
        tensors = read_tensors(file)
    except HyenaError as error:
        message = str(error)
    else:
        assert_weights(tensors)
        return
    assert "save its state_dict alone" in message
    assert "weights_only" not in message  # PyTorch advises to switch it off, which would run the code


class Malicious:
    """Runs a function when it is unpickled the ordinary way."""

    def __init__(self, function: Callable[..., Any], *arguments: Any):
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


def attacks(mark: Path) -> dict[str, Malicious]:
    """Each creates a file where it is run."""
    return {
        "os.system": Malicious(os.system, f"touch {mark}"),
        "eval": Malicious(eval, f"open({str(mark)!r}, 'w').close()"),
        "exec": Malicious(exec, f"open({str(mark)!r}, 'w').close()"),
        "a method": Malicious(Path.touch, mark),
        "getattr": Malicious(getattr, Malicious(os.system, f"touch {mark}"), "real"),
        "an import": Malicious(__import__, "antigravity_" + mark.name),
    }


ATTACKS = list(attacks(Path("mark")))


@pytest.mark.parametrize("kind", ATTACKS)
def test_code_in_a_pickle_is_not_run(tmp_path: Path, kind: str):
    mark = tmp_path / "mark"
    with suppress(HyenaError):  # PyTorch refuses some names outright
        assert_weights(read_tensors(save(tmp_path, attacks(mark)[kind])))
    assert not mark.exists()


@pytest.mark.parametrize("kind", ["os.system", "eval", "a method"])
def test_the_attacks_would_work(tmp_path: Path, kind: str):
    mark = tmp_path / "mark"
    torch.load(save(tmp_path, attacks(mark)[kind]), weights_only=False)
    assert mark.exists()


PLACES: dict[str, Callable[[Malicious], Any]] = {
    "the whole file": lambda attack: attack,
    "a tensor": lambda attack: {"a": attack},
    "the state dict": lambda attack: {"state_dict": attack},
}


@pytest.mark.parametrize("kind", ["os.system", "eval"])
@pytest.mark.parametrize("place", PLACES)
def test_code_in_place_of_weights_is_refused_and_not_run(tmp_path: Path, kind: str, place: str):
    mark, file = tmp_path / "mark", tmp_path / "a.pt"
    torch.save(PLACES[place](attacks(mark)[kind]), file)
    with refused(file):
        read_tensors(file)
    assert not mark.exists()


@pytest.mark.parametrize("kind", ["os.system", "eval"])
def test_not_even_of_the_old_format(tmp_path: Path, kind: str):
    mark, file = tmp_path / "mark", tmp_path / "a.pt"
    torch.save({"state_dict": WEIGHTS, "more": attacks(mark)[kind]}, file, _use_new_zipfile_serialization=False)
    with refused(file):
        read_tensors(file)
    assert not mark.exists()


def test_the_next_file_is_not_trusted_for_the_last_ones_sake(tmp_path: Path, script: ModuleType):
    before = set(torch.serialization.get_safe_globals())
    read_tensors(save(tmp_path, script.Plain()))
    assert set(torch.serialization.get_safe_globals()) == before


# --- writing ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.ckpt", "a.safetensors"])
def test_what_is_written_is_read(tmp_path: Path, name: str):
    write_tensors(WEIGHTS, tmp_path / name)
    assert_weights({key: read_tensors(tmp_path / name)[key] for key in WEIGHTS})
    (tmp_path / "other").touch()
    assert (tmp_path / name).stat().st_mode == (tmp_path / "other").stat().st_mode


def test_a_pickle_is_a_plain_dictionary_of_tensors(tmp_path: Path):
    file = tmp_path / "a.ckpt"
    write_tensors({name: nn.Parameter(tensor) for name, tensor in WEIGHTS.items()}, file, "state_dict")
    assert torch.serialization.get_unsafe_globals_in_checkpoint(file) == []
    content = torch.load(file, weights_only=True)
    assert list(content) == ["state_dict"]
    assert {type(value) for value in content["state_dict"].values()} == {Tensor}
    assert_weights(content["state_dict"])


def test_aliases_are_stored_once_in_a_pickle_and_views_alone(tmp_path: Path):
    large = torch.randn(100_000)
    write_tensors({"a": large, "b": large}, tmp_path / "aliases.ckpt")
    write_tensors({"a": large[:10]}, tmp_path / "view.ckpt")
    assert (tmp_path / "aliases.ckpt").stat().st_size < 1.1 * large.nbytes
    assert (tmp_path / "view.ckpt").stat().st_size < 0.1 * large.nbytes
    content = torch.load(tmp_path / "aliases.ckpt")
    assert content["a"].data_ptr() == content["b"].data_ptr()
    write_tensors({"a": large, "b": large}, tmp_path / "aliases.safetensors")  # which refuses shared memory
    assert torch.equal(read_tensors(tmp_path / "aliases.safetensors")["b"], large)


# --- a directory that appears whole or not at all ----------------------------------------------------------------------------


def fill(directory: Path, text: str = "{}") -> None:
    """A model, as far as its files' names go."""
    (directory / "config.json").write_text(text)
    (directory / "weights.ckpt").touch()


def test_a_new_directory_appears_when_it_is_whole(tmp_path: Path):
    path = tmp_path / "a" / "b" / "model"
    with new_directory(path, overwrite=False) as part:
        fill(part)
        assert not path.exists()
        assert part.parent == path.parent
    assert {file.name for file in path.iterdir()} == {"config.json", "weights.ckpt"}
    assert [file.name for file in path.parent.iterdir()] == ["model"]
    (tmp_path / "other").mkdir()
    assert path.stat().st_mode == (tmp_path / "other").stat().st_mode


@pytest.mark.parametrize("error", [KeyboardInterrupt, HyenaError, RuntimeError, MemoryError])
@pytest.mark.parametrize("before", [False, True], ids=["nothing there", "a model there"])
def test_an_exception_leaves_what_was_there(tmp_path: Path, error: type[BaseException], before: bool):
    path = tmp_path / "a" / "model"
    if before:
        path.mkdir(parents=True)
        fill(path, '{"old": 1}')

    def fail() -> None:
        with new_directory(path, overwrite=True) as part:
            fill(part)
            raise error

    with pytest.raises(error):
        fail()
    if before:
        assert (path / "config.json").read_text() == '{"old": 1}'
        assert [file.name for file in path.parent.iterdir()] == ["model"]
    else:
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("moves", [0, 1, 2])
def test_ctrl_c_between_the_moves_leaves_one_whole_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moves: int):
    (tmp_path / "model").mkdir()
    fill(tmp_path / "model", '{"old": 1}')
    rename, done = os.rename, []

    def interrupted(a: Path, b: Path) -> None:
        if len(done) == moves:
            done.append("interrupted")
            raise KeyboardInterrupt
        done.append("moved")
        rename(a, b)
        if moves == 2 and len(done) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(os, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt), new_directory(tmp_path / "model", overwrite=True) as part:
        fill(part, '{"new": 1}')
    assert [file.name for file in tmp_path.iterdir()] == ["model"]
    assert (tmp_path / "model" / "config.json").read_text() == ('{"new": 1}' if moves == 2 else '{"old": 1}')


def test_what_is_there_is_replaced_only_when_asked_to(tmp_path: Path):
    path = tmp_path / "model"
    path.mkdir()
    check_free(path, overwrite=False)  # an empty directory holds nothing to lose
    fill(path)
    with refused(path, "already exists", "--overwrite"):
        check_free(path, overwrite=False)
    with new_directory(path, overwrite=True) as part:
        (part / "model.safetensors").touch()
    assert [file.name for file in path.iterdir()] == ["model.safetensors"]


def test_a_directory_with_more_than_a_model_is_never_replaced(tmp_path: Path):
    fill(tmp_path)
    (tmp_path / "notes.txt").touch()
    with refused(tmp_path, "notes.txt", "no part of a model"):
        check_free(tmp_path, overwrite=True)
    with refused(tmp_path / "notes.txt", "is a file"):
        check_free(tmp_path / "notes.txt", overwrite=True)


def test_a_tokenizers_file_is_part_of_its_model(tmp_path: Path):
    fill(tmp_path, '{"format": "hyena", "model": {"tokenizer": "file:words.json"}}')
    (tmp_path / "words.json").touch()
    check_free(tmp_path, overwrite=True)
    fill(tmp_path)
    with refused("words.json"):
        check_free(tmp_path, overwrite=True)


def test_a_link_to_a_directory_stays_a_link(tmp_path: Path):
    (tmp_path / "disk").mkdir()
    fill(tmp_path / "disk")
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    with new_directory(tmp_path / "link", overwrite=True) as part:
        fill(part, '{"new": 1}')
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "disk" / "config.json").read_text() == '{"new": 1}'


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path):
    (tmp_path / "file").touch()
    with (
        refused(tmp_path / "file" / "model", "cannot write", "another directory"),
        new_directory(tmp_path / "file" / "model", False),
    ):
        pass
