"""A clone stays small: no large file, and what tests and the demonstration need within 20 MB."""

import re
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

from tests.house.sources import ROOT

MEGABYTE = 10**6
NOT_OURS = {"runs", "build", "dist", "__pycache__", "node_modules"}


def files(directory: Path) -> Iterator[Path]:
    """What is in the repository: no hidden directories (environments, caches), nothing that is built or trained."""
    for path in directory.iterdir():
        if path.is_symlink():
            continue
        if path.is_dir():
            if not path.name.startswith(".") and path.name not in NOT_OURS and not path.name.endswith(".egg-info"):
                yield from files(path)
        else:
            yield path


def test_no_file_is_large():
    sizes = {str(path.relative_to(ROOT)): path.stat().st_size for path in files(ROOT)}
    assert len(sizes) > 100
    assert {name: size for name, size in sizes.items() if size > 2 * MEGABYTE} == {}


def test_recorded_tensors_and_samples_are_small_together():
    rooms = [ROOT / "tests/golden", ROOT / "hyena/data/samples"]
    sizes = [sum(path.stat().st_size for path in files(room)) for room in rooms]
    assert min(sizes) > 0
    assert sum(sizes) < 20 * MEGABYTE


def test_samples_and_recorded_tensors_say_where_they_come_from():
    for room in (ROOT / "tests/golden", ROOT / "hyena/data/samples"):
        quoted = re.findall(r"`([^`]+)`", (room / "README.md").read_text())
        names = {path.name for path in room.iterdir()} - {"README.md", "__init__.py", "__pycache__"}
        assert names
        assert not {name for name in names if not any(fnmatch(name, pattern) for pattern in quoted)}
