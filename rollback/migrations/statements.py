"""What SQL statements do to data, read by PostgreSQL's own parser."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pgparse import PGQueryError, parse

from rollback.migrations.column_types import ColumnType, keeps
from rollback.migrations.models import UNNAMED, Lost

Node = dict[str, Any]
Column = tuple[str, str]

ADD_VALUE = "ALTER TYPE … ADD VALUE"

_TABLES = frozenset({"OBJECT_TABLE", "OBJECT_FOREIGN_TABLE"})
_TAKES_DATA_ALONG = frozenset(
    {"OBJECT_TYPE", "OBJECT_DOMAIN", "OBJECT_EXTENSION", "OBJECT_FUNCTION", "OBJECT_COLLATION", "OBJECT_FOREIGN_SERVER"}
)
"""What columns and tables may be made with: dropped by CASCADE, they go too."""

_MOVING = {"InsertStmt": "inserts rows", "UpdateStmt": "overwrites values", "CopyStmt": "copies rows"}
_OPAQUE = {"DoStmt": "runs a DO block", "CallStmt": "calls a procedure", "ExecuteStmt": "runs a prepared statement"}
_OUTSIDE = {
    "VacuumStmt": "VACUUM",
    "CreatedbStmt": "CREATE DATABASE",
    "DropdbStmt": "DROP DATABASE",
    "AlterSystemStmt": "ALTER SYSTEM",
    "CreateTableSpaceStmt": "CREATE TABLESPACE",
    "DropTableSpaceStmt": "DROP TABLESPACE",
    "CreateSubscriptionStmt": "CREATE SUBSCRIPTION",
}


class Effects:
    """What a run of statements does, in order; `altered` are types that columns have from an earlier run."""

    def __init__(self, statements: Iterable[str], altered: Mapping[Column, ColumnType] | None = None) -> None:
        self.losses: dict[Lost, str] = {}
        """Each with what loses it."""
        self.moving: list[str] = []
        self.opaque: list[str] = []
        """What else may happen and cannot be told."""
        self.outside: list[str] = []
        """What PostgreSQL does only outside of a transaction."""
        self.committed = False
        self.altered: dict[Column, ColumnType] = {}
        self._before = altered or {}
        self._made: set[str] = set()
        self._schema = "public"
        self._handlers: dict[str, Callable[[Node], None]] = {
            "SelectStmt": self._select,
            "CreateTableAsStmt": self._create_table_as,
            "CreateStmt": self._create,
            "DeleteStmt": self._delete,
            "MergeStmt": self._merge,
            "TruncateStmt": self._truncate,
            "DropStmt": self._drop,
            "AlterTableStmt": self._alter_table,
            "IndexStmt": self._create_index,
            "ReindexStmt": self._reindex,
            "AlterEnumStmt": self._alter_enum,
            "TransactionStmt": self._end_transaction,
            "VariableSetStmt": self._set,
        }
        for statement in statements:
            self._read(statement)

    def _read(self, statement: str) -> None:
        try:
            trees = parse(statement)
        except PGQueryError as error:
            self.opaque.append(f"runs what PostgreSQL's parser does not accept ({str(error).strip()})")
            return
        for tree in trees:
            ((kind, node),) = tree["stmt"].items()
            self._see(kind, node)

    def _see(self, kind: str, node: Node) -> None:
        """One statement, by the name that PostgreSQL's parser gives to it; first those in its WITH."""
        for each in node.get("withClause", {}).get("ctes", ()):
            ((part, query),) = each["CommonTableExpr"]["ctequery"].items()
            if part != "SelectStmt":
                self._see(part, query)
        if kind in _MOVING:
            self._move(kind, node)
        elif kind in _OPAQUE:
            self.opaque.append(_OPAQUE[kind])
        elif kind in _OUTSIDE:
            self.outside.append(_OUTSIDE[kind])
            if kind == "DropdbStmt":
                self._lose(Lost(table=UNNAMED, column=None), f"drops database {node['dbname']}")
        elif kind in self._handlers:
            self._handlers[kind](node)

    def _move(self, kind: str, node: Node) -> None:
        relation = node.get("relation")
        place = f" of {self._table(relation)}" if relation else ""
        self.moving.append(f"{_MOVING[kind]}{place}")

    def _lose(self, lost: Lost, how: str) -> None:
        if lost.table not in self._made:
            self.losses[lost] = how

    def _table(self, relation: Node) -> str:
        return f"{relation.get('schemaname', self._schema)}.{relation['relname']}"

    def _select(self, node: Node) -> None:
        into = node.get("intoClause")
        if into:
            self._made.add(self._table(into["rel"]))
            self.moving.append("fills a new table")
        else:
            self.opaque.append("runs a SELECT, and may do what it answers")

    def _create_table_as(self, node: Node) -> None:
        self._made.add(self._table(node["into"]["rel"]))
        self.moving.append("fills a new table")

    def _create(self, node: Node) -> None:
        self._made.add(self._table(node["relation"]))

    def _delete(self, node: Node) -> None:
        table = self._table(node["relation"])
        some = "whereClause" in node or "usingClause" in node
        self.moving.append(f"deletes rows of {table}")
        self._lose(Lost(table=table, column=None, partly=some), f"deletes {'some ' if some else ''}rows of {table}")

    def _merge(self, node: Node) -> None:
        table = self._table(node["relation"])
        self.moving.append(f"merges rows into {table}")
        deletes = any(
            each["MergeWhenClause"].get("commandType") == "CMD_DELETE" for each in node.get("mergeWhenClauses", ())
        )
        if deletes:
            self._lose(Lost(table=table, column=None, partly=True), f"deletes some rows of {table}")

    def _truncate(self, node: Node) -> None:
        for each in node["relations"]:
            table = self._table(each["RangeVar"])
            self._lose(Lost(table=table, column=None), f"empties table {table}")
        if node.get("behavior") == "DROP_CASCADE":
            self._lose(Lost(table=UNNAMED, column=None), "empties every table that refers to it")

    def _drop(self, node: Node) -> None:
        if node.get("concurrent"):
            self.outside.append("DROP INDEX CONCURRENTLY")
        cascade = node.get("behavior") == "DROP_CASCADE"
        what = node["removeType"]
        for each in node["objects"]:
            if what in _TABLES:
                names = [part["String"]["sval"] for part in each["List"]["items"]]
                table = ".".join(names) if len(names) > 1 else f"{self._schema}.{names[0]}"
                self._lose(Lost(table=table, column=None), f"drops table {table}")
            elif what == "OBJECT_SCHEMA" and cascade:
                schema = each["String"]["sval"]
                self._lose(Lost(table=f"{schema}.{UNNAMED}", column=None), f"drops schema {schema} with all in it")
        if what in _TAKES_DATA_ALONG and cascade:
            name = what.removeprefix("OBJECT_").replace("_", " ").lower()
            self._lose(Lost(table=UNNAMED, column=None), f"drops a {name} with every column made of it (CASCADE)")

    def _alter_table(self, node: Node) -> None:
        if node.get("objtype") not in _TABLES:
            return
        table = self._table(node["relation"])
        for each in node["cmds"]:
            command: Node = each["AlterTableCmd"]
            match command["subtype"]:
                case "AT_DropColumn":
                    name = command["name"]
                    self._lose(Lost(table=table, column=name), f"drops column {table}.{name}")
                case "AT_AlterColumnType":
                    self._retype(table, command)
                case "AT_DetachPartition" if command["def"]["PartitionCmd"].get("concurrent"):
                    self.outside.append("DETACH PARTITION CONCURRENTLY")
                case _:
                    pass

    def _retype(self, table: str, command: Node) -> None:
        name: str = command["name"]
        definition: Node = command["def"]["ColumnDef"]
        new = ColumnType.of(definition["typeName"])
        old = self._before.get((table, name))
        self.altered[table, name] = new
        expression = definition.get("raw_default")
        if keeps(old, new) and (expression is None or _casts(expression, name)):
            return
        change = f"from {old} to {new}" if old else f"to {new}"
        how = f"changes {table}.{name} {change}, by which values may change or be refused"
        self._lose(Lost(table=table, column=name, partly=True), how)

    def _create_index(self, node: Node) -> None:
        if node.get("concurrent"):
            self.outside.append("CREATE INDEX CONCURRENTLY")

    def _reindex(self, node: Node) -> None:
        whole = node["kind"] not in {"REINDEX_OBJECT_INDEX", "REINDEX_OBJECT_TABLE"}
        if whole or any(each["DefElem"]["defname"] == "concurrently" for each in node.get("params", ())):
            self.outside.append("REINDEX" if whole else "REINDEX CONCURRENTLY")

    def _alter_enum(self, node: Node) -> None:
        if "newVal" in node and "oldVal" not in node:
            self.outside.append(ADD_VALUE)

    def _end_transaction(self, node: Node) -> None:
        if node["kind"] in {"TRANS_STMT_COMMIT", "TRANS_STMT_ROLLBACK"}:
            self.committed = True

    def _set(self, node: Node) -> None:
        """Later names without a schema are meant in the first one of the search path."""
        if node.get("name") == "search_path" and node.get("args"):
            self._schema = node["args"][0].get("A_Const", {}).get("sval", {}).get("sval", self._schema)


def _casts(expression: Node, column: str) -> bool:
    """Whether an expression is nothing but the column, cast."""
    while "TypeCast" in expression:
        expression = expression["TypeCast"]["arg"]
    fields = expression.get("ColumnRef", {}).get("fields", [])
    return [each.get("String", {}).get("sval") for each in fields] == [column]
