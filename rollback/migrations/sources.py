"""What a revision's source tells about its functions without running them."""

import ast
from collections.abc import Iterator
from functools import cached_property

_ENVIRONMENT = (
    "os.environ",
    "os.getenv",
    "alembic.context.config",
    "alembic.context.get_x_argument",
    "sys.argv",
    "sys.platform",
    "platform.",
    "socket.gethostname",
)
_DIALECT = frozenset({"dialect", "get_dialect"})
_OFFLINE = frozenset({"as_sql", "is_offline_mode"})
_CONNECTION = frozenset({"get_bind", "bind", "connection", "inspect"})

Definition = ast.FunctionDef | ast.AsyncFunctionDef


class Source:
    """A function of a revision script, with all of the same file that it uses."""

    def __init__(self, text: str, function: str) -> None:
        self._tree = ast.parse(text)
        self.definition = next(
            (each for each in self._tree.body if isinstance(each, Definition) and each.name == function), None
        )
        self._names = dict(_imported(self._tree))

    @property
    def trivial(self) -> bool:
        """Its body is only a docstring, `pass`, `...` or `return`."""
        return self.definition is not None and not _doing(self.definition)

    @property
    def reads_environment(self) -> tuple[str, ...]:
        """What it reads of its surroundings, each with its line: variables, alembic's configuration, the machine."""
        found: dict[int, str] = {}
        for node, name in self._dotted:
            if name.startswith(_ENVIRONMENT) or name.rpartition(".")[2] in _OFFLINE:
                found.setdefault(node.lineno, f"{name.lstrip('.')} (line {node.lineno})")
        return tuple(found.values())

    @property
    def reads_dialect(self) -> bool:
        """It asks which kind of database it runs on."""
        return any(isinstance(node, ast.Attribute) and node.attr in _DIALECT for node in self._nodes)

    @property
    def uses_connection(self) -> bool:
        """It takes the connection, and may so decide by what is in the database."""
        return any(name.rpartition(".")[2].removesuffix("()") in _CONNECTION for _, name in self._dotted)

    @property
    def leaves_transaction(self) -> bool:
        """It works in an `autocommit_block`."""
        return any(isinstance(node, ast.Attribute) and node.attr == "autocommit_block" for node in self._nodes)

    def is_raise(self, line: int) -> bool:
        """Whether a line is a `raise` statement of the file."""
        return any(isinstance(node, ast.Raise) and node.lineno <= line <= _end(node) for node in ast.walk(self._tree))

    def always_raises(self, line: int) -> bool:
        """Whether a line is a `raise` of the function's own body: no condition stands before it."""
        body = self.definition.body if self.definition else []
        return any(isinstance(each, ast.Raise) and each.lineno <= line <= _end(each) for each in body)

    @cached_property
    def _nodes(self) -> list[ast.AST]:
        return [node for part in self._used() for node in ast.walk(part)]

    @cached_property
    def _dotted(self) -> list[tuple[ast.expr, str]]:
        """Every name and attribute that is used, written out with what its first name was imported as."""
        return [(node, self._write(node)) for node in self._nodes if isinstance(node, ast.Name | ast.Attribute)]

    def _used(self) -> list[ast.stmt]:
        """The function, and the file's own functions and values that it leads to."""
        if self.definition is None:
            return []
        known = {name: node for node in self._tree.body for name in _defined(node)}
        used: list[ast.stmt] = []
        waiting: list[ast.stmt] = [self.definition]
        while waiting:
            node = waiting.pop()
            if node not in used:
                used.append(node)
                names = (each.id for each in ast.walk(node) if isinstance(each, ast.Name))
                waiting.extend(known[name] for name in names if name in known)
        return used

    def _write(self, node: ast.expr) -> str:
        match node:
            case ast.Name(id=name):
                # What is not imported begins with a dot: a variable may be called `platform` too.
                return self._names.get(name, f".{name}")
            case ast.Attribute(value=value, attr=name):
                return f"{self._write(value)}.{name}"
            case ast.Call(func=function):
                return f"{self._write(function)}()"
            case _:
                return ""


def _doing(definition: Definition) -> list[ast.stmt]:
    """The statements of a body that may do something."""
    return [
        each
        for each in definition.body
        if not isinstance(each, ast.Pass)
        and not (isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant))
        and not (isinstance(each, ast.Return) and (each.value is None or isinstance(each.value, ast.Constant)))
    ]


def _defined(node: ast.stmt) -> list[str]:
    """The names that a statement of the file gives a meaning to."""
    if isinstance(node, Definition | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Import | ast.ImportFrom):
        return []
    stored = (each for each in ast.walk(node) if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store))
    return [each.id for each in stored]


def _imported(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Names with what they were imported as."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for each in node.names:
                first = each.name.partition(".")[0]
                yield (each.asname, each.name) if each.asname else (first, first)
        elif isinstance(node, ast.ImportFrom):
            yield from ((each.asname or each.name, f"{node.module or ''}.{each.name}") for each in node.names)


def _end(node: ast.stmt) -> int:
    return node.end_lineno or node.lineno
