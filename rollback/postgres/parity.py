"""How a restored database differs from its source in all but rows, and what SQL makes it the same again.

A restore brings back what was at its instant: what was granted, set or made since is missing. Statements are made only
where they give nothing that the source does not have, and hold no password.
"""

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import LiteralString, TypeVar, cast

from psycopg.sql import SQL, Composable, Composed, Identifier, Literal

from rollback.models import Model
from rollback.postgres.errors import StatementRefused, TookTooLong
from rollback.postgres.inventory import (
    DefaultGrant,
    Extension,
    Grant,
    Inventory,
    Membership,
    Role,
    Setting,
)
from rollback.postgres.session import Session
from rollback.postgres.tables import Table
from rollback.redaction import blacken

Kind = TypeVar("Kind", bound=Model)

_LISTS = frozenset({"search_path", "temp_tablespaces", "session_preload_libraries", "local_preload_libraries"})
"""Parameters whose value is stored as a list that is quoted already."""


class Difference(Model):
    """Something that the restored database has otherwise than its source."""

    name: str
    """What a person names to waive it, such as `role fundrbolt_app`."""
    source: str
    """How it is on the source; empty where it is missing."""
    restored: str
    statements: tuple[str, ...]
    """SQL that makes it the same; none where a person has to."""
    person: str
    """Why a person has to, and what; empty where SQL can."""


class Reapplied(Model):
    """What became of a difference that SQL can make equal."""

    difference: Difference
    refused: str
    """The server's reason; empty where it was done."""


def same_origin(source: Inventory, restored: Inventory) -> bool | None:
    """Whether both are copies of one cluster, as a restore makes them; none where it cannot be seen."""
    here, there = source.identity.system_identifier, restored.identity.system_identifier
    return None if here is None or there is None else here == there


def compare_inventories(source: Inventory, restored: Inventory) -> tuple[Difference, ...]:
    """What differs, by name; rows, sizes and estimates are not compared here."""
    database = restored.identity.database
    found = [
        *_compare_databases(source, restored),
        *_pairs("extension", source.extensions, restored.extensions, lambda each: each.name, _extension),
        *_pairs("role", source.roles, restored.roles, lambda each: each.name, _role),
        *_pairs("membership", source.memberships, restored.memberships, _member, _membership),
        *_pairs("table", source.tables, restored.tables, lambda each: each.full_name, _table, _describe_table),
        *_pairs("right", source.grants, restored.grants, _grant_name, lambda a, b: _grant(database, a, b)),
        *_pairs("default right", source.default_grants, restored.default_grants, _default_name, _default_grant),
        *_pairs("setting", source.settings, restored.settings, _setting_name, lambda a, b: _setting(database, a, b)),
        *_pairs("publication", source.publications, restored.publications, lambda each: each.name, _by_hand),
        *_pairs("subscription", source.subscriptions, restored.subscriptions, lambda each: each.name, _by_hand),
        *_pairs("replication slot", source.replication_slots, restored.replication_slots, _slot_name, _by_hand),
    ]
    return tuple(found)


async def reapply(session: Session, differences: Iterable[Difference]) -> tuple[Reapplied, ...]:
    """Run the statements of differences, one after the other; one that is refused does not stop the others.

    Needs a session that may write. Read the inventory again to see what is left.
    """
    done: list[Reapplied] = []
    for difference in differences:
        refused = ""
        try:
            for statement in difference.statements:
                refused = refused or "; ".join(await session.execute_warned(_spelled(statement)))
        except (StatementRefused, TookTooLong) as error:
            refused = error.message
        if difference.statements:
            done.append(Reapplied(difference=difference, refused=refused))
    return tuple(done)


Answer = tuple[Sequence[Composable], str]
"""Statements, or else why a person has to."""


def _pairs(
    kind: str,
    source: Iterable[Kind],
    restored: Iterable[Kind],
    name: Callable[[Kind], Hashable],
    decide: Callable[[Kind | None, Kind | None], Answer],
    describe: Callable[[Kind], str] | None = None,
) -> list[Difference]:
    here, there = {name(each): each for each in source}, {name(each): each for each in restored}
    found: list[Difference] = []
    for key in dict.fromkeys([*here, *there]):
        old, new = here.get(key), there.get(key)
        words = [(describe or _describe)(each) if each else "" for each in (old, new)]
        if words[0] == words[1]:
            continue
        statements, person = decide(old, new)
        found.append(
            Difference(
                name=f"{kind} {key}",
                source=words[0],
                restored=words[1],
                statements=tuple(each.as_string() for each in statements),
                person=person,
            )
        )
    return found


def _describe(model: Model) -> str:
    values = {name: value for name, value in model.model_dump().items() if name not in {"active"}}
    return blacken(", ".join(f"{name} {_words(value)}" for name, value in values.items()))


def _words(value: object) -> str:
    return " ".join(map(str, cast("Iterable[object]", value))) if isinstance(value, tuple | list) else str(value)


def _describe_table(table: Table) -> str:
    columns = ", ".join(f"{each.name} {each.type}" for each in sorted(table.columns, key=lambda each: each.name))
    return f"owner {table.owner}, key ({', '.join(table.key)}), columns {columns}"


def _compare_databases(source: Inventory, restored: Inventory) -> list[Difference]:
    here, there = source.identity, restored.identity
    facts = {
        "major version": (str(here.version_number // 10000), str(there.version_number // 10000)),
        "encoding": (here.encoding, there.encoding),
        "collation": (here.collation, there.collation),
        "owner": (here.owner, there.owner),
    }
    return [
        Difference(name=f"database {name}", source=a, restored=b, statements=(), person=_BY_HAND)
        for name, (a, b) in facts.items()
        if a != b
    ]


_BY_HAND = "Look why it differs, and make it the same by hand or waive it."


def _by_hand(_: Model | None, __: Model | None) -> Answer:
    return (), _BY_HAND


def _extension(old: Extension | None, new: Extension | None) -> Answer:
    if old is None:
        return (), "It was dropped since the restore point: drop it again if nothing needs it, or waive it."
    name, version = Identifier(old.name), Literal(old.version)
    if new is None:
        schema = Identifier(old.schema_name)
        return [SQL("CREATE EXTENSION {} SCHEMA {} VERSION {}").format(name, schema, version)], ""
    if new.schema_name != old.schema_name:
        return (), _BY_HAND
    return [SQL("ALTER EXTENSION {} UPDATE TO {}").format(name, version)], ""


def _role(old: Role | None, new: Role | None) -> Answer:
    if old is None:
        return (), "It was dropped since the restore point: drop it again, or waive it."
    if new is None and "LOGIN" in old.options:
        return (), "It was made since the restore point: make it again with its password."
    verb = SQL("CREATE ROLE {} WITH ") if new is None else SQL("ALTER ROLE {} WITH ")
    changed = [each for each in old.options if new is None or each not in new.options]
    options: list[Composable] = [_spelled(each) for each in changed]
    if new is None or new.connection_limit != old.connection_limit:
        options.append(SQL("CONNECTION LIMIT {}").format(Literal(old.connection_limit)))
    if new is None or new.valid_until != old.valid_until:
        options.append(SQL("VALID UNTIL {}").format(Literal(old.valid_until)))
    return [verb.format(Identifier(old.name)) + SQL(" ").join(options)], ""


def _member(each: Membership) -> str:
    return f"of {each.member} in {each.role}"


def _membership(old: Membership | None, new: Membership | None) -> Answer:
    either = old or new
    if either is None:
        return (), _BY_HAND
    names = Identifier(either.role), Identifier(either.member)
    if old is None:
        return [SQL("REVOKE {} FROM {}").format(*names)], ""
    if new is not None and new.admin and not old.admin:
        return [SQL("REVOKE ADMIN OPTION FOR {} FROM {}").format(*names)], ""
    text = SQL("GRANT {} TO {} WITH ADMIN OPTION") if old.admin else SQL("GRANT {} TO {}")
    return [text.format(*names)], ""


def _table(old: Table | None, new: Table | None) -> Answer:
    if old and new and _describe_table(new.model_copy(update={"owner": old.owner})) == _describe_table(old):
        return [SQL("ALTER TABLE {} OWNER TO {}").format(old.identifier, Identifier(old.owner))], ""
    return (), "The schema changed since the restore point: run the migration again, or waive it."


def _grant_name(each: Grant) -> str:
    target = " ".join(part for part in (each.kind.lower(), each.target) if part)
    return f"{each.privilege} on {target} of {each.grantee or 'PUBLIC'}"


def _grant(database: str, old: Grant | None, new: Grant | None) -> Answer:
    either = old or new
    if either is None or either.kind == "COLUMN":
        return (), _BY_HAND
    target = Identifier(database) if either.kind == "DATABASE" else _spelled(either.target)
    what = SQL("{} ON {} {}").format(_spelled(either.privilege), _spelled(either.kind), target)
    return [_give_or_take(what, either.grantee, old and old.grantable, new and new.grantable)], ""


def _default_name(each: DefaultGrant) -> str:
    place = f" in schema {each.schema_name}" if each.schema_name else ""
    return f"{each.privilege} on {each.kind.lower()} of {each.owner}{place} for {each.grantee or 'PUBLIC'}"


def _default_grant(old: DefaultGrant | None, new: DefaultGrant | None) -> Answer:
    either = old or new
    if either is None:
        return (), _BY_HAND
    schema = SQL(" IN SCHEMA {}").format(Identifier(either.schema_name)) if either.schema_name else SQL("")
    what = SQL("{} ON {}").format(_spelled(either.privilege), _spelled(either.kind))
    change = _give_or_take(what, either.grantee, old and old.grantable, new and new.grantable)
    head = SQL("ALTER DEFAULT PRIVILEGES FOR ROLE {}{} ").format(Identifier(either.owner), schema)
    return [head + change], ""


def _give_or_take(what: Composed, grantee: str, old: bool | None, new: bool | None) -> Composed:
    """Give a right that only the source has, take one that only the restored has, or match its grant option."""
    who = Identifier(grantee) if grantee else SQL("PUBLIC")
    if old is None:
        return SQL("REVOKE {} FROM {}").format(what, who)
    if new and not old:
        return SQL("REVOKE GRANT OPTION FOR {} FROM {}").format(what, who)
    return SQL("GRANT {} TO {}{}").format(what, who, SQL(" WITH GRANT OPTION" if old else ""))


def _setting_name(each: Setting) -> str:
    scope = f" of role {each.role}" if each.role else ""
    return f"{each.name}{scope}{' in every database' if each.everywhere else ''}"


def _setting(database: str, old: Setting | None, new: Setting | None) -> Answer:
    either = old or new
    if either is None:
        return (), _BY_HAND
    scope = SQL("DATABASE {}").format(Identifier(database))
    if either.role:
        place = SQL("") if either.everywhere else SQL(" IN {}").format(scope)
        scope = SQL("ROLE {}{}").format(Identifier(either.role), place)
    if old is None:
        return [SQL("ALTER {} RESET {}").format(scope, Identifier(either.name))], ""
    value = _spelled(old.value) if old.name in _LISTS else Literal(old.value)
    return [SQL("ALTER {} SET {} TO {}").format(scope, Identifier(old.name), value)], ""


def _slot_name(each: Model) -> str:
    return str(getattr(each, "name", ""))


def _spelled(text: str) -> SQL:
    """SQL that PostgreSQL itself gave us, quoted where it must be, and the statements made of it."""
    return SQL(cast("LiteralString", text))
