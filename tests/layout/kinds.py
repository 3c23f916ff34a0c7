"""What kind of value an expression has, as far as finding sets needs it.

Kinds come from annotations, displays, and calls of what the given modules define; an
annotation is believed. Names have the kind of the last assignment above. Where the
owner of an attribute is unknown, the attribute is taken for a set if it is one in every
class that has it.
"""

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tests.layout.sources import Module, aliases, dotted


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of value, with the kinds of what is in it."""

    name: str
    """``set``, ``keys``, ``map``, ``sequence``, ``tuple`` or ``object``."""
    inner: "tuple[Kind | None, ...]" = ()
    """Of a map's values, a sequence's elements, or each element of a tuple."""
    of_class: str = ""
    """The class of an object, dotted."""


SET, KEYS = Kind("set"), Kind("keys")

SETS = {"set", "frozenset", "Set", "FrozenSet", "AbstractSet", "MutableSet"}
MAPS = {"dict", "defaultdict", "OrderedDict", "Mapping", "MutableMapping"}
ORDERED = {
    "list",
    "tuple",
    "deque",
    "Collection",
    "Generator",
    "Iterable",
    "Iterator",
    "Sequence",
    "MutableSequence",
}
"""Types that promise an order to their receiver."""
WRAPPERS = {"Annotated", "ClassVar", "Final", "Optional"}
SET_OPERATORS = (ast.BitAnd, ast.BitOr, ast.BitXor, ast.Sub)
SET_METHODS = {
    "copy",
    "difference",
    "intersection",
    "symmetric_difference",
    "union",
}

Scope = dict[str, Kind | None]
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(slots=True)
class Class:
    """What is known of a class."""

    module: Module
    node: ast.ClassDef
    bases: list[str]
    attributes: Scope = field(default_factory=dict)
    methods: dict[str, Function] = field(default_factory=dict)


class Index:
    """What a tree of modules defines, to tell the kinds of expressions by."""

    def __init__(self, modules: Sequence[Module]) -> None:
        self.classes: dict[str, Class] = {}
        self.functions: dict[str, tuple[Module, Function]] = {}
        self._names: dict[str, tuple[Module, ast.expr]] = {}
        """Names of modules: what they are assigned, or their annotation."""
        self._annotated: set[str] = set()
        self._looking_up: list[str] = []
        self._known = {module.name: aliases(module) for module in modules}
        self._everywhere: dict[str, set[Kind | None]] = {}
        for module in modules:
            self._collect(module)
        # Twice: what an attribute is may follow from one that is assigned further down.
        for _ in range(2):
            for name, each in self.classes.items():
                self._infer_attributes(name, each)
        for each in self.classes.values():
            for name, kind in each.attributes.items():
                self._everywhere.setdefault(name, set()).add(kind)
            for name, method in each.methods.items():
                kind = self.annotated(method.returns, each.module)
                self._everywhere.setdefault(name, set()).add(kind)

    def _collect(self, module: Module) -> None:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ClassDef):
                bases = [self.resolve(base, module) for base in node.bases]
                found = Class(module, node, bases)
                self.classes[f"{module.name}.{node.name}"] = found
                for child in node.body:
                    if isinstance(child, Function):
                        found.methods[child.name] = child
        for each in module.tree.body:
            if isinstance(each, Function):
                self.functions[f"{module.name}.{each.name}"] = module, each
            match each:
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    self._names[f"{module.name}.{name}"] = module, value
                case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation):
                    self._names[f"{module.name}.{name}"] = module, annotation
                    self._annotated.add(f"{module.name}.{name}")

    def _infer_attributes(self, name: str, found: Class) -> None:
        for child in found.node.body:
            if isinstance(child, ast.AnnAssign) and isinstance(child.target, ast.Name):
                kind = self.annotated(child.annotation, found.module)
                found.attributes[child.target.id] = kind
        for method in found.methods.values():
            if "property" in " ".join(map(ast.unparse, method.decorator_list)):
                kind = self.annotated(method.returns, found.module)
                found.attributes[method.name] = kind
            scope = self.parameters(method, found.module, name)
            for statement in ast.walk(method):
                self._note_assignment(statement, found, scope)

    def _note_assignment(self, node: ast.AST, found: Class, scope: Scope) -> None:
        """Learn the kind of an attribute from ``self.x = ...``."""
        targets: list[ast.expr] = []
        kind = None
        if isinstance(node, ast.AnnAssign):
            targets, kind = [node.target], self.annotated(node.annotation, found.module)
        elif isinstance(node, ast.Assign):
            targets, kind = node.targets, self.kind(node.value, found.module, scope)
        for target in targets:
            if isinstance(target, ast.Attribute) and dotted(target.value, {}) == "self":
                before = found.attributes.get(target.attr)
                found.attributes[target.attr] = before or kind

    def resolve(self, node: ast.AST, module: Module) -> str:
        """Return the dotted name of what an expression names, as it is defined."""
        name = dotted(node, self._known.get(module.name, {}))
        top = name.split(".")[0]
        is_local = any(
            f"{module.name}.{top}" in names
            for names in (self.classes, self.functions, self._names)
        )
        return f"{module.name}.{name}" if is_local else name

    def parameters(self, function: Function, module: Module, of_class: str) -> Scope:
        """Return the kinds of a function's parameters."""
        arguments = function.args
        listed = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        scope = {each.arg: self.annotated(each.annotation, module) for each in listed}
        if of_class and arguments.args and arguments.args[0].arg == "self":
            scope["self"] = Kind("object", of_class=of_class)
        if arguments.vararg is not None:
            kind = self.annotated(arguments.vararg.annotation, module)
            scope[arguments.vararg.arg] = Kind("sequence", (kind,))
        return scope

    def annotated(self, node: ast.expr | None, module: Module) -> Kind | None:
        """Return the kind that an annotation says."""
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            quoted = ast.parse(node.value, mode="eval").body
            return self.annotated(quoted, module)
        if isinstance(node, ast.BinOp):
            return _first(
                [self.annotated(side, module) for side in (node.left, node.right)]
            )
        if isinstance(node, ast.Name | ast.Attribute):
            name = self.resolve(node, module)
            if name in self.classes:
                return Kind("object", of_class=name)
            if name in self._names and name not in self._annotated:
                return self._meaning(name)
            return _of_container(name, ())
        if isinstance(node, ast.Subscript):
            items = (
                node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
            )
            name = self.resolve(node.value, module)
            if name.rpartition(".")[2] in WRAPPERS:
                return self.annotated(items[0], module)
            is_row = not isinstance(items[-1], ast.Constant) or items[-1].value != ...
            kinds = tuple(self.annotated(item, module) for item in items)
            if name == "tuple" and is_row:
                return Kind("tuple", kinds)
            return _of_container(name, kinds)
        return None

    def kind(
        self, node: ast.expr | None, module: Module, scope: Mapping[str, Kind | None]
    ) -> Kind | None:
        """Return the kind of an expression."""
        match node:
            case ast.Set() | ast.SetComp():
                return SET
            case ast.Name(id=name):
                if name in scope:
                    return scope[name]
                return self._global(self.resolve(node, module))
            case ast.Attribute(value=owner, attr=name):
                known = self._global(self.resolve(node, module))
                return known or self._member(self.kind(owner, module, scope), name)
            case ast.BinOp(left=left, op=operator, right=right):
                sides = [self.kind(side, module, scope) for side in (left, right)]
                if isinstance(operator, SET_OPERATORS):
                    matters = sides[:1] if isinstance(operator, ast.Sub) else sides
                    return SET if SET in matters or KEYS in matters else None
                return sides[0]
            case ast.BoolOp(values=values):
                return _first([self.kind(each, module, scope) for each in values])
            case ast.IfExp(body=body, orelse=orelse):
                return _first(
                    [self.kind(each, module, scope) for each in (body, orelse)]
                )
            case ast.NamedExpr(value=value) | ast.Await(value=value):
                return self.kind(value, module, scope)
            case ast.Tuple(elts=elements):
                kinds = tuple(self.kind(each, module, scope) for each in elements)
                return Kind("tuple", kinds)
            case ast.List(elts=elements):
                return Kind("sequence", (self.kind(_any(elements), module, scope),))
            case ast.Dict(values=values):
                return Kind("map", (self.kind(_any(values), module, scope),))
            case ast.ListComp(elt=element) | ast.GeneratorExp(elt=element):
                return Kind("sequence", (self.kind(element, module, scope),))
            case ast.DictComp(value=value):
                return Kind("map", (self.kind(value, module, scope),))
            case ast.Subscript(value=owner, slice=index):
                return _element(self.kind(owner, module, scope), index)
            case ast.Call():
                return self._result(node, module, scope)
        return None

    def callee(
        self, node: ast.Call, module: Module, scope: Mapping[str, Kind | None]
    ) -> tuple[Module, Function, bool] | None:
        """Return the function that is called, and whether it is a method."""
        name = self.resolve(node.func, module)
        if name in self.functions:
            return (*self.functions[name], False)
        if name in self.classes:
            return self._method(name, "__init__")
        if isinstance(node.func, ast.Attribute):
            owner = self.kind(node.func.value, module, scope)
            if owner is not None and owner.of_class:
                return self._method(owner.of_class, node.func.attr)
        return None

    def _result(
        self, node: ast.Call, module: Module, scope: Mapping[str, Kind | None]
    ) -> Kind | None:
        """Return the kind of what a call returns."""
        name = self.resolve(node.func, module)
        if name in self.classes:
            return Kind("object", of_class=name)
        called = self.callee(node, module, scope)
        if called is not None:
            where, function, _ = called
            return self.annotated(function.returns, where)
        if name.rpartition(".")[2] in ("field", "defaultdict"):
            made = [each.value for each in node.keywords] + node.args
            kind = _of_container(self.resolve(made[0], module), ()) if made else None
            return Kind("map", (kind,)) if name.endswith("defaultdict") else kind
        if isinstance(node.func, ast.Attribute):
            owner = self.kind(node.func.value, module, scope)
            return self._method_result(owner, node.func.attr)
        inner = self.kind(node.args[0], module, scope) if node.args else None
        return _of_container(name, _elements(inner))

    def _method_result(self, owner: Kind | None, name: str) -> Kind | None:
        if name == "keys":
            return KEYS
        if owner is None:
            return self._anywhere(name)
        if owner == SET:
            return SET if name in SET_METHODS else None
        if name == "copy":
            return owner
        if owner.name == "map" and name == "values":
            return Kind("sequence", owner.inner)
        if owner.name == "map" and name == "items":
            return Kind("sequence", (Kind("tuple", (None, *owner.inner[-1:])),))
        if name in ("get", "pop", "popleft", "setdefault") and owner.inner:
            return owner.inner[-1]
        return None

    def _meaning(self, alias: str) -> Kind | None:
        """Return the kind that an alias of types stands for."""
        module, value = self._names[alias]
        if alias in self._looking_up or isinstance(value, ast.Constant):
            return None
        self._looking_up.append(alias)
        kind = self.annotated(value, module)
        self._looking_up.pop()
        return kind

    def _global(self, name: str) -> Kind | None:
        """Return the kind of a module's variable."""
        if name not in self._names or name in self._looking_up:
            return None
        module, value = self._names[name]
        if name in self._annotated:
            return self.annotated(value, module)
        self._looking_up.append(name)
        kind = self.kind(value, module, {})
        self._looking_up.pop()
        return kind

    def _member(self, owner: Kind | None, name: str) -> Kind | None:
        if owner is None:
            return self._anywhere(name)
        for each in self._lineage(owner.of_class):
            if name in each.attributes:
                return each.attributes[name]
        return None

    def _anywhere(self, name: str) -> Kind | None:
        kinds = self._everywhere.get(name, set())
        return SET if kinds == {SET} else None

    def _method(self, of_class: str, name: str) -> tuple[Module, Function, bool] | None:
        for each in self._lineage(of_class):
            if name in each.methods:
                return each.module, each.methods[name], True
        return None

    def _lineage(self, name: str) -> Iterator[Class]:
        """Yield a class and its bases."""
        if name in self.classes:
            yield self.classes[name]
            for base in self.classes[name].bases:
                yield from self._lineage(base)


def promises_order(annotation: ast.expr | None) -> bool:
    """Return whether an annotation is of something that has an order."""
    if annotation is None:
        return False
    names = {dotted(node, {}).rpartition(".")[2] for node in ast.walk(annotation)}
    outer = annotation.value if isinstance(annotation, ast.Subscript) else annotation
    if isinstance(outer, ast.BinOp):
        return bool(names & ORDERED) and not names & SETS
    return dotted(outer, {}).rpartition(".")[2] in ORDERED


def element_kinds(kind: Kind | None, count: int) -> list[Kind | None]:
    """Return the kinds that unpacking gives to ``count`` targets."""
    if kind is not None and kind.name == "tuple" and len(kind.inner) == count:
        return list(kind.inner)
    return [*_elements(kind)[:1]] * count or [None] * count


def iterated(kind: Kind | None) -> Kind | None:
    """Return the kind of what a loop over something gets each time."""
    return next(iter(_elements(kind)), None)


def _elements(kind: Kind | None) -> tuple[Kind | None, ...]:
    if kind is None or kind.name not in ("sequence", "tuple"):
        return ()
    return kind.inner[:1]


def _element(kind: Kind | None, index: ast.expr) -> Kind | None:
    if kind is None or not kind.inner:
        return None
    if isinstance(index, ast.Slice):
        return kind
    match index:
        case ast.Constant(value=int(number)) if kind.name == "tuple":
            return kind.inner[number] if number < len(kind.inner) else None
    return kind.inner[-1]


def _of_container(name: str, inner: tuple[Kind | None, ...]) -> Kind | None:
    """Return the kind of a container of the standard library."""
    last = name.rpartition(".")[2]
    if last in SETS:
        return SET
    if last in MAPS:
        return Kind("map", inner[-1:])
    if last in ORDERED or last in ("sorted", "reversed"):
        return Kind("sequence", inner[:1])
    return KEYS if last == "KeysView" else None


def _first(kinds: Sequence[Kind | None]) -> Kind | None:
    """Return a set if there is one, or else the first kind that is known."""
    if SET in kinds:
        return SET
    return next((kind for kind in kinds if kind is not None), None)


def _any(nodes: Sequence[ast.expr]) -> ast.expr | None:
    return nodes[0] if nodes else None
