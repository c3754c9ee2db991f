"""Pictures come out for every kind of model, are whole, and are left out where matplotlib is."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from hyena.bench import plots
from hyena.bench.inspect import Inspection, inspect
from hyena.bench.plots import draw_inspection, draw_positions
from hyena.data import ByteTokenizer
from hyena.models import LanguageModel
from hyena.training.evaluate import evaluate_positions
from tests.models.small import classifier, language_model
from tests.training.runs import MODEL


def broken() -> LanguageModel:
    """One filter, one stream and one whole layer that are no numbers or nothing."""
    model = language_model("HHH")
    model.backbone.layers[1].mixer.filter.out.weight.data[0] = torch.nan
    for parameter in model.backbone.layers[0].mixer.parameters():
        parameter.data.zero_()
    return model


MODELS: dict[str, Callable[[], torch.nn.Module]] = {
    "hybrid": lambda: language_model("HAWH"),
    "attention alone": lambda: language_model("AW"),
    "more layers than are drawn": lambda: classifier(14 * "H"),
    "one tap": lambda: language_model("H", max_length=1),
    "a few taps": lambda: language_model("H", max_length=5),
    "broken": broken,
}


def size(path: Path) -> tuple[int, int]:
    """Width and height of a whole PNG."""
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG")
    assert content.endswith(b"IEND\xaeB`\x82")
    return int.from_bytes(content[16:20], "big"), int.from_bytes(content[20:24], "big")


@pytest.mark.parametrize("name", MODELS)
def test_every_model_is_drawn(name: str, tmp_path: Path):
    pytest.importorskip("matplotlib")
    path = tmp_path / "x.png"
    assert draw_inspection(inspect(MODELS[name]()), path, "a $name$ of_any kind") == path
    assert min(size(path)) > 400
    assert [file.name for file in tmp_path.iterdir()] == ["x.png"]


def texts(monkeypatch: pytest.MonkeyPatch, draw: Callable[[], object]) -> list[str]:
    """The words in a figure."""
    figures: list[object] = []
    write = plots.write_png
    monkeypatch.setattr(plots, "write_png", lambda figure, path: (figures.append(figure), write(figure, path))[1])
    draw()
    from matplotlib.text import Text

    return [text.get_text() for text in figures[0].findobj(Text)]


def test_every_axis_is_labelled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    pytest.importorskip("matplotlib")
    found: Inspection = inspect(language_model(8 * "H"))
    words = texts(monkeypatch, lambda: draw_inspection(found, tmp_path / "x.png", "my model"))
    assert any("my model" in text and "the filters of 2 layers are not drawn" in text for text in words)
    for text in ("layer 0: 32 filters", "layer 7: 32 filters", "layer", "root mean square", "mixer's output", "decay"):
        assert text in words
    assert sum(text == "tokens back, from 1" for text in words) == 6 + 6 + 2


def test_the_loss_at_each_position_is_drawn(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    pytest.importorskip("matplotlib")
    model, tokens = LanguageModel(MODEL), np.arange(200).astype(np.uint8)
    for length, windows in ((32, 7), (1, 199)):
        _, positions = evaluate_positions(model, tokens, ByteTokenizer(), length)
        path = tmp_path / f"{length}.png"
        words = texts(monkeypatch, lambda p=positions, path=path: draw_positions(p, path, "run"))
        assert f"run: {windows} windows of {length} tokens" in words
        assert min(size(path)) > 300


def test_without_matplotlib_there_is_no_picture(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert draw_inspection(inspect(language_model("H")), tmp_path / "x.png", "x") is None
    assert list(tmp_path.iterdir()) == []
