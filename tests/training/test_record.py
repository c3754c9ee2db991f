"""Files that are whole or as they were, and the curve."""

from pathlib import Path

import pytest

from hyena.training import record
from hyena.training.curve import draw_curve
from hyena.training.files import write_atomically


def test_a_failed_write_leaves_the_file_as_it_was(tmp_path: Path):
    path = tmp_path / "file"
    write_atomically(path, lambda part: part.write_text("first"))

    def fail(part: Path) -> None:
        part.write_text("half of the sec")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, fail)
    assert path.read_text() == "first"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    write_atomically(path, lambda part: part.write_text("second"))
    assert path.read_text() == "second"


def test_metrics_are_read_as_they_were_logged(tmp_path: Path):
    assert record.read_metrics(tmp_path) == []
    lines = [{"step": 1, "loss": 5.5}, {"step": 2, "valid_nats_per_token": 1 / 3}]
    for line in lines:
        record.log(tmp_path, line, {})
    assert record.read_metrics(tmp_path) == lines


@pytest.mark.parametrize(
    "lines",
    [
        [{"step": 1, "loss": 5.0}],
        [{"step": 1, "valid_nats_per_token": 5.0}],
        [{"step": i, "loss": 5.0 - i / 10, "valid_nats_per_token": 5.0} for i in range(20)],
    ],
    ids=["loss", "held out", "both"],
)
@pytest.mark.parametrize("name", ["run", "5$^$"])
def test_the_curve_is_drawn_from_whatever_was_logged(tmp_path: Path, lines: list[dict], name: str):
    pytest.importorskip("matplotlib")
    directory = tmp_path / name
    directory.mkdir()
    for line in lines:
        record.log(directory, line, {})
    path = draw_curve(directory)
    assert path == directory / "loss.png"
    assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert sorted(p.name for p in directory.iterdir()) == ["loss.png", "metrics.jsonl", "timing.jsonl"]
