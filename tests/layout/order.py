"""Pure code does not depend on the order of a set, which differs from run to run.

A finding is a loop or a comprehension over a set, a list or text made of one, ``pop``
and ``next`` of one, unpacking, a choice by a key among its elements, and a set that is
handed to, or returned as, what promises an order (``Iterable`` and its like). What
comes out the same in any order is fine: ``sorted``, ``min`` and ``max`` without a key,
``len``, ``in``, ``any``, ``all``, and sets made of sets.

The rule sees what ``kinds`` can tell, and no more: values that come from functions
without annotation, from other packages, or through containers that are filled by calls
go unseen, as does a set inside of a set. A loop whose effects do not depend on the
order is a finding, too; ``sorted`` mends it.
"""

import ast
from collections.abc import Iterator, Mapping, Sequence

from tests.layout.kinds import (
    SET,
    Function,
    Index,
    Kind,
    Scope,
    element_kinds,
    iterated,
    promises_order,
)
from tests.layout.sources import Module

FREE = {"all", "any", "bool", "frozenset", "isinstance", "len", "set"}
"""Functions whose result is the same for any order."""
FREE_WITHOUT_KEY = {"max", "min", "sorted"}
PASSING = {"filter", "map"}
"""Functions whose result has the order of what they are given."""
ORDERING = {
    "bytearray",
    "bytes",
    "collections.Counter",
    "collections.OrderedDict",
    "collections.deque",
    "enumerate",
    "filter",
    "format",
    "functools.reduce",
    "iter",
    "list",
    "map",
    "next",
    "repr",
    "str",
    "sum",
    "tuple",
    "zip",
}
"""Functions that take elements as they come; so do all of itertools."""
ORDERING_METHODS = {"extend", "extendleft", "fromkeys", "join", "writelines"}
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def iterated_sets(
    modules: Sequence[Module],
    known: Sequence[Module] = (),
    reasons: Mapping[str, str] | None = None,
) -> Iterator[str]:
    """Yield the places of some modules where the order of a set matters.

    :param known: more modules, whose names and annotations are used.
    :param reasons: why a file may do that; one without need is a finding.
    """
    index = Index([*modules, *known])
    unneeded = dict(reasons or {})
    for module in modules:
        found = _Reader(module, index).findings()
        if not found or unneeded.pop(module.path, None) is None:
            yield from found
    for path in unneeded:
        yield f"tests/layout/tables.py: the reason for {path} is not needed"


class _Reader:
    """Reads one module from its top to its end."""

    def __init__(self, module: Module, index: Index) -> None:
        self._module = module
        self._index = index
        self._found: dict[tuple[int, int], str] = {}

    def findings(self) -> list[str]:
        self._block(self._module.tree.body, {}, "", None)
        return [self._found[place] for place in sorted(self._found)]

    def _block(
        self,
        body: Sequence[ast.stmt],
        scope: Scope,
        of_class: str,
        function: Function | None,
    ) -> None:
        """Read statements in order; functions in them after all others.

        :param of_class: the class whose body this is, or that has this method.
        :param function: the function whose body this is, or is in.
        """
        later: list[Function] = []
        for node in body:
            self._statement(node, scope, of_class, function, later)
        for each in later:
            inner = scope | self._index.parameters(each, self._module, of_class)
            self._block(each.body, inner, "" if function else of_class, each)

    def _statement(
        self,
        node: ast.stmt,
        scope: Scope,
        of_class: str,
        function: Function | None,
        later: list[Function],
    ) -> None:
        if isinstance(node, ast.ClassDef):
            self._block(node.body, {}, f"{self._module.name}.{node.name}", None)
            return
        if isinstance(node, Function):
            later.append(node)
            return
        self._expressions(node, scope)
        match node:
            case ast.Assign(targets=targets, value=value):
                for target in targets:
                    self._bind(target, self._kind(value, scope), scope)
            case ast.AnnAssign(target=target, annotation=annotation):
                kind = self._index.annotated(annotation, self._module)
                self._bind(target, kind, scope)
                if promises_order(annotation) and node.value is not None:
                    self._hand(node.value, scope, "is kept as something ordered")
            case ast.AugAssign(op=ast.Add(), value=value):
                self._hand(value, scope, "is added to a sequence")
            case (
                ast.For(target=target, iter=source)
                | ast.AsyncFor(target=target, iter=source)
            ):
                self._hand(source, scope, "is looped over")
                self._bind(target, iterated(self._kind(source, scope)), scope)
            case ast.Return(value=value) if value is not None and function is not None:
                if promises_order(function.returns):
                    self._hand(value, scope, "is returned as something ordered")
        for block in _blocks(node):
            for each in block:
                self._statement(each, scope, of_class, function, later)

    def _expressions(self, node: ast.AST, scope: Scope, is_free: bool = False) -> None:
        """Read the expressions of a statement, or of an expression.

        :param is_free: whether the order of what this gives does not matter.
        """
        if isinstance(node, COMPREHENSIONS):
            self._comprehension(node, dict(scope), is_free)
            return
        if isinstance(node, ast.Lambda):
            hidden: Scope = {each.arg: None for each in node.args.args}
            self._expressions(node.body, scope | hidden)
            return
        free: set[ast.AST] = set()
        match node:
            case ast.Call():
                free = self._call(node, scope, is_free)
            case ast.List(elts=elements) | ast.Tuple(elts=elements):
                for each in elements:
                    if isinstance(each, ast.Starred):
                        self._hand(each.value, scope, "is unpacked")
            case ast.FormattedValue(value=value):
                self._hand(value, scope, "is made into text")
            case ast.YieldFrom(value=value):
                self._hand(value, scope, "is looped over")
        for child in ast.iter_child_nodes(node):
            if not isinstance(child, ast.stmt | ast.ExceptHandler | ast.match_case):
                self._expressions(child, scope, child in free)
        if isinstance(node, ast.NamedExpr):
            self._bind(node.target, self._kind(node.value, scope), scope)

    def _comprehension(
        self,
        node: ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp,
        scope: Scope,
        is_free: bool,
    ) -> None:
        is_free |= isinstance(node, ast.SetComp)
        for each in node.generators:
            self._expressions(each.iter, scope)
            if not is_free:
                self._hand(each.iter, scope, "is looped over")
            self._bind(each.target, iterated(self._kind(each.iter, scope)), scope)
            for condition in each.ifs:
                self._expressions(condition, scope)
        if isinstance(node, ast.DictComp):
            self._expressions(node.key, scope)
            self._expressions(node.value, scope)
        else:
            self._expressions(node.elt, scope)

    def _call(self, node: ast.Call, scope: Scope, is_free: bool) -> set[ast.AST]:
        """Look at a call; return the arguments whose order does not matter.

        :param is_free: whether the order of what it returns does not matter.
        """
        name = self._index.resolve(node.func, self._module)
        is_free = name in FREE or (is_free and name in PASSING)
        if name in FREE_WITHOUT_KEY:
            # As texts, things that differ have an order, too.
            keys = [each.value for each in node.keywords if each.arg == "key"]
            is_free = all(ast.unparse(key) == "str" for key in keys)
        is_ordering = name in ORDERING or name.startswith("itertools.")
        is_ordering |= name in FREE_WITHOUT_KEY and not is_free
        if isinstance(node.func, ast.Attribute):
            if self._kind(node.func.value, scope) == SET:
                is_free = True
                if node.func.attr == "pop":
                    self._note(node, node.func.value, "gives any of its elements")
            is_ordering |= node.func.attr in ORDERING_METHODS
        for each in node.args:
            if isinstance(each, ast.Starred):
                if not is_free:
                    self._hand(each.value, scope, "is unpacked")
            elif is_ordering and not is_free:
                self._hand(each, scope, f"is given to {ast.unparse(node.func)}")
        self._given(node, scope)
        return {*node.args} if is_free else set()

    def _given(self, node: ast.Call, scope: Scope) -> None:
        """Look for sets that are given to parameters that promise an order."""
        called = self._index.callee(node, self._module, scope)
        if called is None:
            return
        _, function, is_method = called
        places = [*function.args.posonlyargs, *function.args.args][is_method:]
        named = {each.arg: each for each in [*places, *function.args.kwonlyargs]}
        pairs = [
            *zip(places, node.args, strict=False),
            *(
                (named[keyword.arg], keyword.value)
                for keyword in node.keywords
                if keyword.arg in named
            ),
        ]
        for parameter, argument in pairs:
            if promises_order(parameter.annotation):
                self._hand(argument, scope, f"is given to {function.name} as ordered")

    def _bind(self, target: ast.expr, kind: Kind | None, scope: Scope) -> None:
        if isinstance(target, ast.Name):
            scope[target.id] = kind
        elif isinstance(target, ast.Tuple | ast.List):
            # One target without a star gets the one element, or an error.
            is_one = len(target.elts) == 1 and isinstance(target.elts[0], ast.Name)
            if kind == SET and not is_one:
                self._note(target, target, "is unpacked from a set")
            kinds = element_kinds(kind, len(target.elts))
            for each, inner in zip(target.elts, kinds, strict=True):
                self._bind(each, inner, scope)

    def _hand(self, node: ast.expr, scope: Scope, what: str) -> None:
        """Note an expression if it is a set."""
        if self._kind(node, scope) == SET:
            self._note(node, node, what)

    def _note(self, node: ast.expr, named: ast.expr, what: str) -> None:
        text = f"the set {ast.unparse(named)} {what}"
        place = node.lineno, node.col_offset
        self._found.setdefault(place, self._module.at(node, text))

    def _kind(self, node: ast.expr, scope: Scope) -> Kind | None:
        return self._index.kind(node, self._module, scope)


def _blocks(node: ast.AST) -> Iterator[list[ast.stmt]]:
    """Yield the blocks of a compound statement."""
    for name in ("body", "orelse", "finalbody"):
        block = getattr(node, name, None)
        if isinstance(block, list):
            yield block
    for each in [*getattr(node, "handlers", ()), *getattr(node, "cases", ())]:
        yield each.body
