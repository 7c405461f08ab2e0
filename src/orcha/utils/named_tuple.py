"""`NamedTuple` as `typing` has it, for modules that a process of a few milliseconds imports.

`typing.NamedTuple` compiles the annotation of each field, which nothing reads: a class costs a third of that here, and
`typing` itself, which costs 3 ms, is not imported. A type checker sees `typing.NamedTuple` in its place.

Example::

    class Place(NamedTuple):
        folder: str
        port: int = 0

    Place("/run").port  # 0
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple as NamedTuple  # noqa: PLC0414 - other modules import the name
else:
    from collections import namedtuple

    _MADE = frozenset({"__module__", "__qualname__", "__annotations__"})

    class _Maker(type):
        """Makes a named tuple of each class that names `NamedTuple` as its base."""

        def __new__(cls, name, bases, body):  # noqa: ANN001, ANN204 - a type checker does not see it
            """Make it of the body of the class: fields with their defaults, then all else."""
            if not bases:
                return super().__new__(cls, name, bases, body)
            fields = body.get("__annotations__", {})
            defaults = [body[field] for field in fields if field in body]
            if any(field in body for field in [*fields][: len(fields) - len(defaults)]):
                raise TypeError(f"a field of {name} without a default stands behind a field with one")
            made = namedtuple(name, fields, defaults=defaults, module=body["__module__"])  # noqa: PYI024 - see above
            made.__annotations__, made.__qualname__ = fields, body["__qualname__"]
            for attribute, value in body.items():
                if attribute not in fields and attribute not in _MADE:
                    setattr(made, attribute, value)
            return made

    class NamedTuple(metaclass=_Maker):
        """A tuple with a name for each field."""


__all__ = ["NamedTuple"]
