"""Where a text ends, however it is cut into tokens; what is held back and what is shown."""

import random

import pytest

from hyena.inference.stops import Stops, Watch


def watched(pieces: list[str], *stop: int | str) -> Watch:
    """A row whose i-th token is pieces[i]; it is told until it stops."""
    watch = Watch(Stops.of(stop, range(len(pieces) + 100)), lambda token: pieces[token])
    for token in range(len(pieces)):
        watch.add(token)
        if watch.stopped:
            break
    return watch


@pytest.mark.parametrize(
    ("pieces", "stop", "text", "kept"),
    [
        (["a", "b", "END", "c"], ["END"], "ab", 2),
        (["a", "bE", "N", "Dc"], ["END"], "ab", 1),
        (["aEND"], ["END"], "a", 0),
        (["E", "N", "E", "N", "D"], ["END"], "EN", 2),
        (["aa", "ab"], ["aab"], "a", 0),
        (["x", "", "", "é", "y"], ["é"], "x", 1),
        (["x", "", "y", "STOP"], ["STOP"], "xy", 3),
        (["abcd"], ["bc", "abcd"], "a", 0),
        (["a", "b", "c", "d"], ["bc", "abcd"], "a", 1),
        (["xab"], ["ab", "xab"], "", 0),
        (["a", "b", "c"], [1], "a", 1),
        (["E", "N", "x"], ["END", 2], "EN", 2),
        (["a", "b"], ["END"], "ab", 2),
        (["a", "EN"], ["END"], "aEN", 2),
    ],
)
def test_a_text_ends_before_its_stop(pieces: list[str], stop: list[int | str], text: str, kept: int):
    watch = watched(pieces, *stop)
    assert (watch.take(last=True), watch.kept) == (text, kept)


def test_what_may_begin_a_stop_is_held_back_until_it_is_not():
    pieces = ["xE", "N", "x", "END"]
    watch = Watch(Stops.of("END", range(9)), lambda token: pieces[token])
    shown = []
    for token in range(4):
        watch.add(token)
        shown.append(watch.take())
    assert shown == ["x", "", "ENx", ""]
    assert watch.stopped


def test_without_a_text_to_stop_at_nothing_is_held_back():
    watch = Watch(Stops.of(7, range(9)), lambda token: "E")
    watch.add(1)
    assert watch.take() == "E"


def test_it_does_not_depend_on_how_the_text_is_cut():
    draw = random.Random(0)
    stopped = 0
    for _ in range(500):
        text = "".join(draw.choices("ab", k=draw.randint(1, 14)))
        stops = ["".join(draw.choices("ab", k=draw.randint(1, 5))) for _ in range(draw.randint(1, 3))]
        # Letter by letter: it ends with the first letter that completes a stop, before the longest of those.
        end = next((n for n in range(len(text) + 1) if any(text[:n].endswith(stop) for stop in stops)), None)
        expected = text if end is None else text[: end - max(len(s) for s in stops if text[:end].endswith(s))]
        pieces, rest = [], text
        while rest:
            n = draw.randint(0, 4)
            pieces.append(rest[:n])
            rest = rest[n:]
        watch = Watch(Stops.of(stops, range(100)), lambda token, pieces=pieces: pieces[token])
        shown = ""
        for token in range(len(pieces)):
            watch.add(token)
            shown += watch.take()
            assert expected.startswith(shown), "nothing that was shown is taken back"
            if watch.stopped:
                break
        assert (shown + watch.take(last=True), watch.stopped) == (expected, end is not None)
        whole = "".join(pieces[: watch.kept])
        assert expected.startswith(whole), "ids that are kept have no part in a stop"
        assert len(expected) - len(whole) < 4
        stopped += watch.stopped
    assert 200 < stopped < 480
