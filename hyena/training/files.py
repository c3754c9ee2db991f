"""Files that are whole or as they were, whatever stops the program: written beside their place, synced, moved there."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Call write(temporary path), then move the file to its place: it is whole or as it was before."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        write(part)
        sync(part)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write_directory(path: Path, fill: Callable[[Path], object]) -> None:
    """Call fill(temporary directory), then give the directory its name: it is there with all its files, or not at all."""
    part = path.with_name(f".{path.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        part.mkdir(parents=True)
        fill(part)
        for file in part.iterdir():
            sync(file)
        sync(part)
        os.replace(part, path)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    sync(path.parent)


def remove_directory(path: Path) -> None:
    """Take a directory away: under its name it is whole until it is gone."""
    away = path.with_name(f".{path.name}.part")
    shutil.rmtree(away, ignore_errors=True)
    os.replace(path, away)
    shutil.rmtree(away)


def remove_parts(directory: Path) -> None:
    """Remove what a killed program left half-written in a directory."""
    for part in directory.glob(".*.part"):
        shutil.rmtree(part) if part.is_dir() else part.unlink()


def sync(path: Path) -> None:
    """Bring a file or a directory's entries to disk, so that a crash of the machine finds them too."""
    if os.name == "nt" and path.is_dir():
        return  # directories cannot be opened there
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
