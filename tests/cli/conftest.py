"""The command line as users meet it, run in this process; and the directories and files that the tests point it to."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from hyena.cli import main
from hyena.models import Classifier, LanguageModel
from hyena.training import loop
from tests.helpers import unchecked
from tests.training.runs import MODEL, TEXT


class Outcome(NamedTuple):
    """What a command came to."""

    status: int
    out: str
    err: str


Run = Callable[..., Outcome]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """run("train", path, ...): the exit status and what was printed."""
    monkeypatch.setenv("COLUMNS", "120")
    # What `auto` finds differs from machine to machine, and another device draws other random numbers.
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    def command(*arguments: object) -> Outcome:
        capsys.readouterr()
        with unchecked():
            try:
                status = main([str(argument) for argument in arguments])
            except SystemExit as end:  # how --help ends
                status = int(end.code or 0)
        return Outcome(status, *capsys.readouterr())

    return command


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the loss curve out, which takes longer than a tiny run."""
    monkeypatch.setattr(loop, "draw_curve", lambda _: None)


TOML = """\
directory = "{home}/run"

[model]
pattern = "H"
width = 16
max_length = 32
mlp_width = 32
tokenizer = "bytes"

[model.mixers.H.filter]
features = 5
width = 8

[data]
files = ["{home}/text.txt"]

[optimizer]
lr = 1e-2

[training]
steps = 6
batch_size = 2
device = "cpu"
log_every = 1
valid_every = 3
save_every = 2
"""


def write_toml(home: Path, changes: dict[str, str] | None = None) -> Path:
    """run.toml in `home`, beside its text, with parts replaced; every part must be there."""
    content = TOML.replace("{home}", str(home))
    for old, new in (changes or {}).items():
        assert old in content
        content = content.replace(old, new)
    (home / "text.txt").write_text(TEXT)
    path = home / "run.toml"
    path.write_text(content)
    return path


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Saved models, whole and broken, and a text; to be read, never written."""
    home = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    dna = MODEL.replace(vocab_size=12, vocab_multiple=8, tokenizer="dna", init_std=0.3)
    with unchecked():
        LanguageModel(MODEL.replace(init_std=0.3)).save(home / "bytes")
        LanguageModel(dna).save(home / "dna")
        LanguageModel(MODEL.replace(vocab_size=20, tokenizer=None)).save(home / "nameless")
        Classifier(MODEL).save(home / "classifier")
    for name in ("truncated", "garbage", "incomplete", "unreadable", "misspelt"):
        shutil.copytree(home / "bytes", home / name)
    weights = (home / "bytes/model.safetensors").read_bytes()
    (home / "truncated/model.safetensors").write_bytes(weights[:-100])
    (home / "garbage/model.safetensors").write_bytes(b"\x00 no weights at all \xff" * 10)
    (home / "incomplete/model.safetensors").unlink()
    (home / "unreadable/config.json").write_text('{"format": "hyena",')
    values = json.loads((home / "bytes/config.json").read_text())
    values["model"]["widht"] = values["model"].pop("width")
    (home / "misspelt/config.json").write_text(json.dumps(values))
    (home / "empty").mkdir()
    (home / "text.txt").write_text(TEXT)
    (home / "empty.txt").touch()
    return home
