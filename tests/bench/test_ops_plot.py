"""The picture is whole, names every method, and marks the crossovers."""

import sys
from pathlib import Path

import pytest

from hyena.bench import ops_plot
from hyena.bench.lines import apart
from hyena.bench.ops import Row
from hyena.bench.ops_plot import draw
from tests.bench.rows import TIMES, rows
from tests.bench.test_plots import size


def words(monkeypatch: pytest.MonkeyPatch, found: list[Row], path: Path) -> list[str]:
    """The words in a picture."""
    pytest.importorskip("matplotlib")
    from matplotlib.text import Text

    figures: list[object] = []
    write = ops_plot.write_png
    monkeypatch.setattr(ops_plot, "write_png", lambda figure, path: (figures.append(figure), write(figure, path))[1])
    assert draw(found, path, "a machine") == path
    return [text.get_text() for text in figures[0].findobj(Text)]


def test_both_directions(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    backward = rows({name: TIMES[name] for name in ("hyena", "torch", "sdpa")}, gradient=True)
    texts = words(monkeypatch, rows(TIMES, beyond=2048) + backward, tmp_path / "x.png")
    assert {"forward", "forward and backward", "a machine", "nanoseconds per token and channel", "tokens", "2K"} <= set(texts)
    assert texts.count("torch.fft") == 4  # above and below, twice
    assert texts.count("causal attention") == 2
    assert "never slower than F.conv1d\nfaster than causal attention from about 1,000 tokens" in texts
    assert "faster than causal attention from about 2,000 tokens" in texts
    assert min(size(tmp_path / "x.png")) > 800
    assert [file.name for file in tmp_path.iterdir()] == ["x.png"]


@pytest.mark.parametrize("names", [("hyena",), ("hyena", "sdpa"), ("hyena", "torch")])
def test_few_methods_and_one_length(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, names: tuple[str, ...]):
    found = rows({name: {100: 2.0 if name == "hyena" else 1.0} for name in names})
    texts = words(monkeypatch, found, tmp_path / "x.png")
    assert "100" in texts
    assert ("slower than causal attention at the longest sequence" in texts) is ("sdpa" in names)


def test_without_matplotlib_there_is_no_picture(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert draw(rows(TIMES), tmp_path / "x.png", "x") is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        ([], []),
        ([0.3], [0.3]),
        ([0.1, 0.5], [0.1, 0.5]),
        ([0.5, 0.5], [0.45, 0.55]),
        ([0.1, 0.5, 0.5, 0.5], [0.1, 0.4, 0.5, 0.6]),
        ([0.38, 0.5, 0.5], [0.36, 0.46, 0.56]),
    ],
)
def test_labels_move_apart(places: list[float], expected: list[float]):
    assert apart(places, 0.1) == pytest.approx(expected)
