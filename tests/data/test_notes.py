"""One line for each kind of change, however many files."""

from pathlib import Path

from hyena.data.notes import Tally


def test_counts_by_kind():
    tally = Tally()
    assert tally.lines() == []
    tally.add("uracil", Path("d/b.fa"), 2)
    tally.add("records", Path("d/b.fa"))
    tally.add("uracil", Path("d/a.fa"), 3)
    tally.add("ambiguous", Path("d/a.fa"), 0)
    assert tally.lines() == [
        "read b.fa as FASTA, 1 record(s); its header lines are not part of the corpus",
        "read 5 U as T in b.fa and 1 more file(s)",
    ]


def test_files_of_one_name_are_one_in_the_line():
    tally = Tally()
    for folder in "abc":
        tally.add("empty", Path(folder, "x.txt"))
    assert tally.lines() == ["left out 3 empty document(s) in x.txt"]
