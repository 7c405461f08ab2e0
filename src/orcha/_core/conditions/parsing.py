"""The tree of a condition's text: what `ast` reads in it, as far as it may stand there, with the kind of each value."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from orcha._core.conditions.errors import ConditionTextError, UnknownNameError
from orcha._core.conditions.kinds import ValueKind
from orcha._core.conditions.nodes import (
    COMPARISONS,
    RECKONINGS,
    AllOf,
    AnyOf,
    Comparison,
    Links,
    Literal,
    Membership,
    Name,
    NoAnswerError,
    Node,
    Not,
    Reckoning,
    Sign,
)
from orcha._core.conditions.scanning import scan
from orcha._core.conditions.terms import Reading

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from orcha._core.conditions.scanning import Scanned
    from orcha._core.conditions.terms import Parameter, Term, Vocabulary

MAX_DEPTH = 40
"""How deep the parts of a condition stand in each other."""
_NUMERIC = frozenset((ValueKind.NUMBER, ValueKind.SIZE, ValueKind.DURATION))
_EXAMPLES = {
    ValueKind.NUMBER: "1",
    ValueKind.SIZE: "8G",
    ValueKind.DURATION: "10m",
    ValueKind.TEXT: '"..."',
    ValueKind.TRUTH: "True",
}
_CANNOT = {"Add": "added", "Sub": "subtracted", "Mult": "multiplied", "Div": "divided"}
_ORDERED = frozenset(("Lt", "LtE", "Gt", "GtE"))
_REFUSED = {
    ast.Lambda: "there are no functions to make here",
    ast.IfExp: "there is no if here: write and, or, and not",
    ast.ListComp: "nothing repeats here",
    ast.SetComp: "nothing repeats here",
    ast.GeneratorExp: "nothing repeats here",
    ast.Await: "there is no await here",
    ast.Subscript: "there are no [...] behind a value here",
    ast.Starred: "there is no * before a value here",
}
"""Parts of Python's syntax that are refused with words of their own."""


def parse(text: str, vocabulary: Vocabulary) -> Node:
    """Read a condition; its value is a yes or no.

    >>> from orcha._core.conditions.terms import BUILT_IN
    >>> [name.reading for name in parse('load(1) < 4 or hour > 22', BUILT_IN).names()]
    [Reading(name='load', arguments=(1,)), Reading(name='hour', arguments=())]

    Raises:
        ConditionTextError: the text is no condition; it says where, and what helps.

    """
    scanned = scan(text)
    try:
        tree = ast.parse(scanned.python, mode="eval")
    except SyntaxError as error:
        raise _no_expression(scanned, error) from None
    except (ValueError, MemoryError, RecursionError):
        raise ConditionTextError(text, 0, len(text), "too much stands in itself here: write it simpler") from None
    parser = _TreeReader(scanned, vocabulary)
    root = parser.node(tree.body)
    parser.want_truth(root)
    return root


def _no_expression(scanned: Scanned, error: SyntaxError) -> ConditionTextError:
    if not error.offset:  # so Python points at the end
        end = len(scanned.text)
        return ConditionTextError(scanned.text, end, end + 1, "something is missing at the end")
    start = scanned.column(error.offset - 1)
    end = scanned.column((error.end_offset or 0) - 1)
    what = "this is no expression: something is missing before it, or too much"
    return ConditionTextError(scanned.text, start, max(start + 1, end), what)


class _TreeReader:
    """Makes nodes of what `ast` has read."""

    def __init__(self, scanned: Scanned, vocabulary: Vocabulary) -> None:
        self._scanned = scanned
        self._bytes = None if scanned.python.isascii() else scanned.python.encode()
        self._vocabulary = vocabulary
        self._depth = 0
        self._readers: Mapping[type[ast.expr], Callable[..., Node]] = {
            ast.BoolOp: self._bool_op,
            ast.UnaryOp: self._unary_op,
            ast.BinOp: self._bin_op,
            ast.Compare: self._compare,
            ast.Constant: self._constant,
            ast.Name: self._name,
            ast.Attribute: self._name,
            ast.Call: self._name,
        }

    def node(self, read: ast.expr) -> Node:
        """Give the node of one part."""
        reader = self._readers.get(type(read))
        if reader is None:
            raise self._wrong(read, self._refusal(read))
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._wrong(read, f"parts stand in each other at most {MAX_DEPTH} deep")
        node = reader(read)
        self._depth -= 1
        return node

    @staticmethod
    def _refusal(read: ast.expr) -> str:
        if isinstance(read, ast.Tuple | ast.List | ast.Set):
            return "several values stand behind in alone, as in hour in (22, 23)"
        return _REFUSED.get(type(read), "a condition holds nothing like this: --when help says what there is")

    # --- places -------------------------------------------------------------------------------------------------

    def _span(self, read: ast.expr) -> tuple[int, int]:
        """Give where a part stands in the text that was written."""
        end = read.end_col_offset
        assert end is not None
        column = self._scanned.column
        return column(self._characters(read.col_offset)), column(self._characters(end))

    def _characters(self, column: int) -> int:
        return column if self._bytes is None else len(self._bytes[:column].decode())

    def _wrong(self, where: ast.expr | Node, what: str) -> ConditionTextError:
        start, end = (where.start, where.end) if isinstance(where, Node) else self._span(where)
        return ConditionTextError(self._scanned.text, start, end, what)

    def _source(self, node: Node) -> str:
        return self._scanned.text[node.start : node.end]

    # --- yes or no ----------------------------------------------------------------------------------------------

    def want_truth(self, node: Node) -> None:
        """Raise where a yes or no has to stand, and something else does."""
        if node.kind is not ValueKind.TRUTH:
            source = self._source(node)
            sign = "==" if node.kind is ValueKind.TEXT else ">"
            cure = f"compare it, as in {source} {sign} {_EXAMPLES[node.kind]}"
            raise self._wrong(node, f"{source} is {node.kind.value}, and a yes or no has to stand here: {cure}")

    def _bool_op(self, read: ast.BoolOp) -> Node:
        parts = [self.node(each) for each in read.values]
        for part in parts:
            self.want_truth(part)
        return (AllOf if isinstance(read.op, ast.And) else AnyOf)(parts, *self._span(read))

    def _unary_op(self, read: ast.UnaryOp) -> Node:
        part = self.node(read.operand)
        if isinstance(read.op, ast.Not):
            self.want_truth(part)
            return Not(part, *self._span(read))
        if part.kind not in _NUMERIC:
            raise self._wrong(part, f"a sign stands before a number, and {self._source(part)} is {part.kind.value}")
        return self._folded(Sign(part, *self._span(read), is_minus=isinstance(read.op, ast.USub)))

    # --- comparisons --------------------------------------------------------------------------------------------

    def _compare(self, read: ast.Compare) -> Node:
        links: list[Node] = []
        left = read.left
        for op, right in zip(read.ops, read.comparators, strict=True):
            links.append(self._link(self.node(left), op, right))
            left = right
        return links[0] if len(links) == 1 else Links(links, *self._span(read))

    def _link(self, left: Node, op: ast.cmpop, right: ast.expr) -> Node:
        span = left.start, self._span(right)[1]
        if isinstance(op, ast.In | ast.NotIn):
            return Membership(left, self._items(left, right), *span, is_among=isinstance(op, ast.In))
        name = type(op).__name__
        if name not in COMPARISONS:
            raise self._wrong(right, "what stands before this is no comparison here: write == or !=")
        other = self.node(right)
        self._want_same(left, other)
        if name in _ORDERED and left.kind not in _NUMERIC:
            raise self._wrong(other, f"{left.kind.value} is neither more nor less than another: compare with == or !=")
        return Comparison(left, COMPARISONS[name], other, *span)

    def _items(self, left: Node, right: ast.expr) -> list[Node]:
        if not isinstance(right, ast.Tuple | ast.List | ast.Set):
            raise self._wrong(right, "several values stand behind in: write them as (22, 23), a single one as (22,)")
        if not right.elts:
            raise self._wrong(right, "no value stands behind in, so that this is never true")
        items = [self.node(each) for each in right.elts]
        for item in items:
            self._want_same(left, item)
        return items

    def _want_same(self, left: Node, right: Node) -> None:
        """Raise where two parts cannot be compared."""
        for one, other in ((left, right), (right, left)):
            words = self._vocabulary[one.reading.name].words if isinstance(one, Name) else ()
            if words and isinstance(other, Literal) and other.kind is ValueKind.TEXT and other.value({}) not in words:
                raise self._wrong(other, f"{self._source(one)} is never that: it is one of {', '.join(words)}")
        if left.kind is right.kind:
            return
        is_zero = any(isinstance(part, Literal) and part.is_zero for part in (left, right))
        if is_zero and {left.kind, right.kind} <= _NUMERIC:
            return
        wrong, other = (left, right) if isinstance(left, Literal) else (right, left)
        what = f"{self._source(wrong)} is {wrong.kind.value}, and {self._source(other)} is {other.kind.value}"
        raise self._wrong(wrong, f"{what}: compare it with {other.kind.value}, as in {_EXAMPLES[other.kind]}")

    # --- numbers ------------------------------------------------------------------------------------------------

    def _bin_op(self, read: ast.BinOp) -> Node:
        left, right, name = self.node(read.left), self.node(read.right), type(read.op).__name__
        if name not in RECKONINGS:
            raise self._wrong(read, "numbers are reckoned with + - * / // and % here")
        kind = _reckoned(name, left.kind, right.kind)
        if kind is None:
            done = _CANNOT.get(name, "divided")
            both = f"{self._source(left)} is {left.kind.value}, and {self._source(right)} is {right.kind.value}"
            raise self._wrong(read, f"{both}: these cannot be {done}")
        return self._folded(Reckoning(left, RECKONINGS[name], right, kind, *self._span(read)))

    def _folded(self, node: Node) -> Node:
        """Give a literal for what is reckoned of literals alone."""
        if not all(isinstance(child, Literal) for child in node.children()):
            return node
        try:
            return Literal(node.value({}), node.kind, node.start, node.end)
        except NoAnswerError as error:
            raise self._wrong(node, f"this has no value: {error.reason}") from None

    def _constant(self, read: ast.Constant) -> Node:
        span = self._span(read)
        if isinstance(read.value, str):
            return Literal(read.value, ValueKind.TEXT, *span)
        if isinstance(read.value, bool):
            return Literal(read.value, ValueKind.TRUTH, *span)
        if not isinstance(read.value, int | float):
            raise self._wrong(read, f"{self._scanned.text[slice(*span)]} is no value here")
        number = self._scanned.numbers[self._characters(read.col_offset)]
        return Literal(number.value, number.kind, *span)

    # --- names --------------------------------------------------------------------------------------------------

    def _name(self, read: ast.expr) -> Node:
        name, call = self._path(read)
        term = self._vocabulary.get(name)
        if term is None:
            near = self._vocabulary.nearest(name)
            cure = f"did you mean {near}?" if near is not None else "--when help says what there is"
            raise UnknownNameError(self._scanned.text, *self._span(read), f"there is no {name}: {cure}")
        if not term.parameters:
            if call is not None:
                raise self._wrong(read, f"{name} is written without brackets, as in {term.example}")
            return Name(Reading(name), term.kind, *self._span(read))
        if call is None or not isinstance(call.func, ast.Name):
            raise self._wrong(read, f"write it as {term.written}, as in {term.example}")
        return Name(Reading(name, self._arguments(term, call)), term.kind, *self._span(read))

    def _path(self, read: ast.expr) -> tuple[str, ast.Call | None]:
        """Give a name with its dots, and the brackets in it."""
        if isinstance(read, ast.Name):
            return read.id, None
        if isinstance(read, ast.Attribute):
            name, call = self._path(read.value)
            return f"{name}.{read.attr}", call
        if isinstance(read, ast.Call):
            name, call = self._path(read.func)
            if call is None:
                return name, read
        raise self._wrong(read, "a name has to stand before a dot or a bracket, as in load(1)")

    def _arguments(self, term: Term, call: ast.Call) -> tuple[str | int | float | bool, ...]:
        if len(call.args) != len(term.parameters):
            raise self._wrong(call, f"write it as {term.written}, as in {term.example}")
        return tuple(self._argument(*pair) for pair in zip(term.parameters, call.args, strict=True))

    def _argument(self, parameter: Parameter, read: ast.expr) -> str | int | float | bool:
        node = self.node(read)
        if not isinstance(node, Literal):
            raise self._wrong(node, f"{parameter.name} is written out here: nothing is looked up for it")
        if node.kind is not parameter.kind:
            what = f"{parameter.name} is {parameter.kind.value}, and this is {node.kind.value}"
            raise self._wrong(node, f"{what}: write it as {_EXAMPLES[parameter.kind]}")
        value = node.value({})
        if not parameter.accepts(value):
            raise self._wrong(node, f"{parameter.name} cannot be that: {parameter.cure}")
        return value


def _reckoned(name: str, left: ValueKind, right: ValueKind) -> ValueKind | None:
    """Give the kind of what is reckoned of two kinds; None where it has none.

    >>> _reckoned("Mult", ValueKind.SIZE, ValueKind.NUMBER), _reckoned("Mult", ValueKind.SIZE, ValueKind.SIZE)
    (<ValueKind.SIZE: 'a size'>, None)
    """
    if left not in _NUMERIC or right not in _NUMERIC:
        return None
    if name in {"Mult", "Div"} and right is ValueKind.NUMBER:
        return left
    if name == "Mult":
        return right if left is ValueKind.NUMBER else None
    if left is not right:
        return None
    return ValueKind.NUMBER if name in {"Div", "FloorDiv"} else left


__all__ = ["MAX_DEPTH", "parse"]
