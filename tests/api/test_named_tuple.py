"""`orcha.utils.named_tuple.NamedTuple` makes what `typing.NamedTuple` makes."""

from __future__ import annotations

import pickle
import typing

import pytest

from orcha.utils import named_tuple


def place(name, base):
    """Make the same class of either base."""

    class Place(base):
        """A place."""

        folder: str
        port: int = 0
        names: tuple[str, ...] = ()

        @property
        def shown(self) -> str:
            """Give it as text."""
            return f"{self.folder}:{self.port}"

        def moved(self, folder: str) -> Place:
            """Give it elsewhere."""
            return self._replace(folder=folder)

    Place.__name__ = Place.__qualname__ = name
    return Place


Ours, Theirs = place("Ours", named_tuple.NamedTuple), place("Theirs", typing.NamedTuple)


@pytest.mark.parametrize("kind", [Ours, Theirs])
def test_it_has_fields_defaults_methods_and_what_describes_it(kind):
    one = kind("/run", names=("a",))
    assert (one, one.port, one.names, one.shown) == (("/run", 0, ("a",)), 0, ("a",), "/run:0")
    assert (one.moved("/tmp"), type(one.moved("/tmp"))) == (("/tmp", 0, ("a",)), kind)
    assert one._asdict() == {"folder": "/run", "port": 0, "names": ("a",)}
    assert (kind._fields, kind._field_defaults) == (("folder", "port", "names"), {"port": 0, "names": ()})
    assert kind.__match_args__ == kind._fields
    assert (kind.__doc__, kind.__module__, kind.__bases__) == ("A place.", __name__, (tuple,))
    assert repr(one) == f"{kind.__name__}(folder='/run', port=0, names=('a',))"
    assert pickle.loads(pickle.dumps(one)) == one
    assert typing.get_type_hints(kind) == {"folder": str, "port": int, "names": tuple[str, ...]}
    with pytest.raises(AttributeError):
        one.port = 1
    with pytest.raises(TypeError):
        kind()


def test_a_field_without_a_default_stands_first():
    for base in (named_tuple.NamedTuple, typing.NamedTuple):
        with pytest.raises(TypeError):
            exec("class Wrong(base):\n    a: int = 0\n    b: int", {"base": base})
