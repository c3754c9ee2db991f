"""What was changed or left out while a corpus was read, counted, and said in one line a kind."""

from collections import Counter
from pathlib import Path

_LINES = {
    "records": "read {files} as FASTA, {count} record(s); its header lines are not part of the corpus",
    "upper": "read {count} lower-case (soft-masked) letters as upper case in {files}",
    "mask": "replaced {count} lower-case (soft-masked) letters by N in {files}",
    "uracil": "read {count} U as T in {files}",
    "ambiguous": "replaced {count} ambiguity codes by N in {files}",
    "white": "dropped {count} white-space characters in {files}",
    "mark": "dropped {count} byte order mark(s) in {files}",
    "empty": "left out {count} empty document(s) in {files}",
}


class Tally:
    """Counts by kind and file."""

    def __init__(self) -> None:
        """Nothing counted yet."""
        self._counts: dict[str, Counter[str]] = {kind: Counter() for kind in _LINES}

    def add(self, kind: str, path: Path, count: int = 1) -> None:
        """`count` more of a kind (a key of the lines above) in a file."""
        if count:
            self._counts[kind][path.name] += count

    def lines(self) -> list[str]:
        """One line for each kind that was met; many files are named by the first of them."""
        found = []
        for kind, counts in self._counts.items():
            if counts:
                first, others = next(iter(counts)), len(counts) - 1
                files = first + (f" and {others} more file(s)" if others else "")
                found.append(_LINES[kind].format(files=files, count=counts.total()))
        return found
