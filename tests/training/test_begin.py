"""What is refused before a run writes anything, and when the run or model that a directory holds may be replaced."""

from pathlib import Path
from typing import Any

import pytest

from hyena.models import LanguageModel
from hyena.training import Progress, record, train
from tests.helpers import refused
from tests.training.runs import MODEL, assert_same_weights, contents, tiny

pytestmark = pytest.mark.usefixtures("undrawn")

BAD: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "vocabulary": ({"vocab_size": 100}, ("'bytes'", "256 symbols", "100", "vocab_size")),
    "tokenizer": ({"tokenizer": "byte"}, ("'byte'", "did you mean 'bytes'?")),
    "device": ({"device": "abacus"}, ("'abacus'", "cpu")),
    "missing file": ({"files": ("nowhere.txt",)}, ("nowhere.txt", "does not exist")),
    "missing valid file": ({"valid_files": ("nowhere.txt",)}, ("nowhere.txt", "does not exist")),
    "no file": ({"files": ()}, ("no data file",)),
    "fraction": ({"valid_fraction": 1.0}, ("fraction", "1.0")),
    "too short": ({"length": 2000, "beyond": "truncate"}, ("too few", "2000", "2001")),
    "too long": ({"length": 33}, ("33", "max_length 32")),
    "positions": ({"position_rows": 16}, ("16", "position")),
    "seed": ({"seed": -1}, ("seed", "-1")),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused_before_anything_is_written(text: Path, tmp_path: Path, name: str):
    changes, parts = BAD[name]
    with refused(*parts):
        train(tiny(tmp_path / "run", text, **changes))
    assert not (tmp_path / "run").exists()


def test_an_empty_file_is_refused_before_anything_is_written(tmp_path: Path):
    (tmp_path / "empty.txt").touch()
    with refused("empty.txt is empty"):
        train(tiny(tmp_path / "run", tmp_path / "empty.txt"))
    assert not (tmp_path / "run").exists()


class UnpluggedError(Exception):
    """The machine stops."""


def unplugged(_: Progress) -> None:
    """For `report`."""
    raise UnpluggedError


def test_a_run_is_replaced_only_when_asked(text: Path, tmp_path: Path):
    train(tiny(tmp_path / "run", text, steps=4))
    before = contents(tmp_path / "run")
    with refused("already holds a run", "--resume", "--overwrite"):
        train(tiny(tmp_path / "run", text, steps=2))
    assert contents(tmp_path / "run") == before
    train(tiny(tmp_path / "run", text, steps=2), overwrite=True)
    assert [line["step"] for line in record.read_metrics(tmp_path / "run")] == [1, 2]
    train(tiny(tmp_path / "fresh", text, steps=2))
    assert_same_weights(tmp_path / "run", tmp_path / "fresh")


def test_a_run_that_has_saved_nothing_yet_is_a_run(text: Path, tmp_path: Path):
    with pytest.raises(UnpluggedError):
        train(tiny(tmp_path / "run", text, save_every=100), report=unplugged)
    assert not (tmp_path / "run/checkpoints").exists()
    with refused("already holds a run", "--overwrite"):
        train(tiny(tmp_path / "run", text))
    assert len(record.read_metrics(tmp_path / "run")) == 1


def test_a_run_that_cannot_begin_leaves_the_one_that_it_would_replace(text: Path, tmp_path: Path):
    train(tiny(tmp_path / "run", text, steps=2))
    before = contents(tmp_path / "run")
    for name in ("too short", "too long", "seed", "missing file"):
        changes, parts = BAD[name]
        with refused(*parts):
            train(tiny(tmp_path / "run", text, **changes), overwrite=True)
        assert contents(tmp_path / "run") == before, name


def test_a_saved_model_is_replaced_only_when_asked(text: Path, tmp_path: Path):
    LanguageModel(MODEL).save(tmp_path / "run")
    before = contents(tmp_path / "run")
    with refused(str(tmp_path / "run"), "already holds", "--overwrite"):
        train(tiny(tmp_path / "run", text))
    assert contents(tmp_path / "run") == before
    assert train(tiny(tmp_path / "run", text), overwrite=True).finished


def test_a_directory_that_cannot_be_written_is_named(text: Path, tmp_path: Path):
    with refused("text.txt/run", "another directory"):
        train(tiny(text / "run", text))


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_model_of_another_program_is_never_touched(overwrite: bool, text: Path, tmp_path: Path):
    directory = tmp_path / "published"
    directory.mkdir()
    (directory / "config.json").write_text('{"model_type": "hyenadna"}')
    (directory / "model.safetensors").write_bytes(b"weights")
    before = {path.name: path.read_bytes() for path in directory.iterdir()}
    with refused("another program", "name another directory"):
        train(tiny(directory, text), overwrite=overwrite)
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == before
