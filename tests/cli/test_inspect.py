"""`hyena inspect`: numbers, picture and sentences, where they are asked for, on data or on random ids."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import hyena
from hyena.bench.inspect import inspect
from hyena.data import ByteTokenizer, load_corpus
from hyena.models import LanguageModel
from tests.cli.conftest import Run
from tests.helpers import unchecked
from tests.training.runs import MODEL, TEXT


@pytest.fixture
def model(models: Path, tmp_path: Path) -> Path:
    """A directory of a model that may be written to."""
    return Path(shutil.copytree(models / "bytes", tmp_path / "model"))


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """As without the extra `report`."""
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)


def test_it_writes_into_the_models_directory(run: Run, model: Path):
    pytest.importorskip("matplotlib")
    before = {path.name for path in model.iterdir()}
    status, out, err = run("inspect", model)
    assert status == 0
    assert {path.name for path in model.iterdir()} == before | {"inspect.json", "inspect.png"}
    values = json.loads((model / "inspect.json").read_text())
    assert values["source"] == "random legal ids (no --data given)"
    assert values["unusual"] == []
    assert f"numbers: {model}/inspect.json\npicture: {model}/inspect.png\n" in out
    assert "unusual: nothing" in out
    assert "random legal ids" in out
    assert "layer 1/1" in err
    hyena.load(model)


@pytest.mark.usefixtures("undrawn")
def test_without_the_extra_numbers_and_text_still_come(run: Run, model: Path):
    status, out, _ = run("inspect", model)
    assert status == 0
    assert "picture: not drawn (pip install 'hyena[report]')" in out
    assert (model / "inspect.json").exists()
    assert not (model / "inspect.png").exists()


@pytest.mark.usefixtures("undrawn")
def test_json_is_the_file_and_on_the_data(run: Run, models: Path, tmp_path: Path):
    line = ["inspect", models / "bytes", "--data", models / "text.txt", "--out", tmp_path, "--windows", "3", "--length", "20"]
    status, out, _ = run(*line, "--json")
    assert status == 0
    values = json.loads(out)
    assert values == json.loads((tmp_path / "inspect.json").read_text())
    tokens = load_corpus(models / "text.txt", ByteTokenizer()).tokens
    starts = (0, (len(TEXT) - 20) // 2, len(TEXT) - 20)
    ids = torch.from_numpy(np.stack([tokens[start : start + 20] for start in starts]).astype(np.int64))
    expected = inspect(hyena.load(models / "bytes"), ids, str(models / "text.txt")).to_dict()
    assert values == json.loads(json.dumps({"directory": str(models / "bytes")} | expected | {"unusual": []}))


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("place", ["", "seen", "seen.json", "seen.png", "run.v2"])
def test_where_it_goes(run: Run, models: Path, tmp_path: Path, place: str):
    assert run("inspect", models / "bytes", "--out", tmp_path / place).status == 0
    stem = {"": "inspect", "run.v2": "run.v2"}.get(place, "seen")
    assert [path.name for path in tmp_path.iterdir()] == [f"{stem}.json"]


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("name", ["dna", "classifier", "nameless"])
def test_models_of_other_kinds(run: Run, models: Path, tmp_path: Path, name: str):
    status, out, _ = run("inspect", models / name, "--out", tmp_path)
    assert status == 0
    assert out.startswith("classifier" if name == "classifier" else "language-model")


@pytest.mark.usefixtures("undrawn")
def test_attention_says_that_it_has_no_filters(run: Run, tmp_path: Path):
    with unchecked():
        LanguageModel(MODEL.replace(pattern="AW")).save(tmp_path)
    status, out, _ = run("inspect", tmp_path)
    assert status == 0
    assert out.count("no long filters") == 2


@pytest.mark.usefixtures("undrawn")
def test_what_is_unusual_is_said(run: Run, tmp_path: Path):
    model = LanguageModel(MODEL)
    model.backbone.layers[0].mlp.up_proj.weight.data[0, 0] = torch.nan
    with unchecked():
        model.save(tmp_path)
    status, out, _ = run("inspect", tmp_path)
    assert status == 0
    assert "\nunusual:\n  - backbone.blocks.0.mlp.up_proj.weight holds 1 number(s) that are NaN" in out
    assert json.loads((tmp_path / "inspect.json").read_text())["layers"][0]["norms"]["out"] is None


@pytest.mark.usefixtures("undrawn")
def test_dna_by_policy(run: Run, models: Path, tmp_path: Path):
    (tmp_path / "genome.fa").write_text(">a\n" + 10 * "ACGTacgtR\n")
    line = ["inspect", models / "dna", "--data", tmp_path / "genome.fa", "--out", tmp_path, "--json"]
    status, out, err = run(*line)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "'R' at position 9" in err
    upper, masked = (run(*line, "--iupac", "n", "--soft-mask", mask) for mask in ("upper", "mask"))
    assert (upper.status, masked.status) == (0, 0)
    assert json.loads(upper.out)["layers"] != json.loads(masked.out)["layers"]


@pytest.mark.usefixtures("undrawn")
def test_data_shorter_than_a_window(run: Run, models: Path, tmp_path: Path):
    (tmp_path / "short.txt").write_text("hello")
    status, out, _ = run("inspect", models / "bytes", "--data", tmp_path / "short.txt", "--out", tmp_path, "--json")
    assert status == 0
    assert (json.loads(out)["windows"], json.loads(out)["length"]) == (1, 5)


LINES = {
    "nothing": ("", ("Directory of the model", "hyena inspect --help")),
    "no directory": ("{models}/nowhere", ("{models}/nowhere", "does not exist")),
    "broken weights": ("{models}/garbage", ("garbage/model.safetensors", "not a whole")),
    "missing data": ("{models}/bytes --data nowhere.txt", ("nowhere.txt", "does not exist")),
    "no tokenizer": ("{models}/nameless --data {models}/text.txt", ("nameless", "20 symbols", "tokenizer")),
    "no place": ("{models}/bytes --out {models}/nowhere/x", ("{models}/nowhere", "no directory", "another place")),
    "no windows": ("{models}/bytes --windows 0", ("windows", "0", "at least 1")),
    "no length": ("{models}/bytes --length 0", ("length", "0", "at least 1")),
    "long windows": ("{models}/bytes --length 33", ("33", "max_length 32")),
    "a device": ("{models}/bytes --device abacus", ("'abacus'", "cpu")),
}


@pytest.mark.parametrize("name", LINES)
def test_what_cannot_be_inspected_is_one_line(run: Run, models: Path, name: str):
    line, parts = LINES[name]
    before = sorted(models.rglob("*"))
    status, out, err = run("inspect", *line.replace("{models}", str(models)).split())
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert all(part.replace("{models}", str(models)) in err for part in parts), err
    assert sorted(models.rglob("*")) == before
