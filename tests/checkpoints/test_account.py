"""Every key is used exactly once, or an error names it."""

import pytest

from hyena.checkpoints.account import Account
from tests.helpers import refused


def account() -> Account[int]:
    """Three keys."""
    return Account({"width": 1, "depth": 2, "order": 3}, "the file")


def test_what_is_taken_is_gone():
    a = account()
    assert a.take("width") == 1
    assert "width" not in a
    assert "depth" in a
    with refused("the file", "width is used twice"):
        a.take("width")


def test_a_missing_key_names_the_nearest():
    with refused("the file lacks widht", "did you mean 'width'?"):
        account().take("widht")


def test_a_missing_key_may_have_a_default():
    a = account()
    assert a.take("heads", 7) == 7
    assert a.take("depth", 7) == 2
    with refused("used twice"):
        a.take("depth", 7)


def test_an_optional_key():
    a = account()
    assert (a.get("heads"), a.get("depth")) == (None, 2)
    with refused("used twice"):
        a.get("depth")


def test_one_value_alone_may_be_expected():
    a = account()
    a.expect("order", 3, "because")
    a.expect("blocks", 1, "because")  # absent: the default
    with refused("the file", "depth is 2", "cannot be loaded", "because"):
        a.expect("depth", 1, "because")


def test_numbers_are_numbers():
    a: Account[object] = Account({"depth": 2, "rate": 0.5, "name": "x", "on": True, "half": 1.5, "count": 3}, "the file")
    assert (a.whole("depth"), a.number("rate"), a.whole("heads", 7), a.number("dropout", 0.25)) == (2, 0.5, 7, 0.25)
    rate = a.number("count")
    assert rate == 3.0
    assert type(rate) is float
    with refused("the file: half is 1.5", "a whole number"):
        a.whole("half")
    with refused("the file: name is 'x'", "a number"):
        a.number("name")
    with refused("the file: on is True", "a whole number"):
        a.whole("on")
    with refused("the file lacks width"):
        a.whole("width")
    for again in (a.whole, a.number):
        with refused("depth is used twice"):
            again("depth", 2)


def test_a_table_is_needed():
    with refused("the layer is 'hyena'", "a table of keys"):
        Account("hyena", "the layer")  # pyright: ignore[reportArgumentType]


def test_what_nobody_took_is_named():
    a = account()
    a.ignore("width", "nothing of this name")
    with refused("the file", "no meaning", "depth, order"):
        a.close()
    a.ignore("depth", "order")
    a.close()


def test_many_left_over_keys_are_counted():
    with refused("k0, k1, k2, k3, k4 and 3 more"):
        Account({f"k{i}": i for i in range(8)}, "the file").close()


def test_the_mapping_itself_is_left_alone():
    items = {"a": 1}
    Account(items, "the file").take("a")
    assert items == {"a": 1}


@pytest.mark.parametrize("key", ["width", "depth"])
def test_absence_is_not_presence(key: str):
    assert key in account()
    assert key + "s" not in account()
