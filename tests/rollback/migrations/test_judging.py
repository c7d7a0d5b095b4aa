"""Each downgrade of the corpus gets the verdict that it must get."""

from pathlib import Path
from typing import NamedTuple

import pytest
from support import ROOT

from rollback.migrations.models import Down, Graph, Lost, Verdict
from rollback.migrations.reading import read

CORPUS = ROOT / "tests" / "migrations_corpus"
LOSSY, MOVING, OUTSIDE = Verdict.LOSSY, Verdict.DATA_MOVING, Verdict.NON_TRANSACTIONAL


class Case(NamedTuple):
    """The newest revision of a folder of the corpus, and what is to be found of its downgrade."""

    folder: str
    verdicts: tuple[Verdict, ...]
    losses: tuple[str, ...] = ()
    reason: str = ""


CASES = (
    Case("good", (Verdict.GOOD,), reason="loses nothing, in 2 statements"),
    Case("lossy_column", (LOSSY,), ("public.donations.tip_cents",), "drops column public.donations.tip_cents"),
    Case("lossy_table", (LOSSY,), ("public.refunds",), "drops table public.refunds"),
    Case("lossy_in_raw_sql", (LOSSY, MOVING), ("public.notes",), "drops table public.notes"),
    Case(
        "narrowing",
        (LOSSY,),
        ("some of public.donations.note", "some of public.donations.amount_cents"),
        "from text to varchar(40)",
    ),
    Case("empty", (Verdict.EMPTY,), reason="changes nothing, although its upgrade does"),
    Case("raising", (Verdict.RAISING,), reason="raises NotImplementedError: the currencies are gone"),
    Case("raising_late", (Verdict.RAISING,), reason="raises RuntimeError: ask the database team"),
    Case("non_transactional", (OUTSIDE,), reason="commits before DROP INDEX CONCURRENTLY"),
    Case("concurrently_inside", (OUTSIDE,), reason="PostgreSQL refuses in alembic's transaction"),
    Case("data_moving", (MOVING,), reason="overwrites values of public.donations"),
    Case("data_dependent", (MOVING,), reason="needs the database, so that its SQL cannot be told"),
    Case("environment_dependent", (Verdict.ENVIRONMENT_DEPENDENT,), reason="depends on os.environ"),
    Case("dialect_dependent", (Verdict.ENVIRONMENT_DEPENDENT,), reason="asks for the kind of database"),
    Case("merged", (Verdict.GOOD,), reason="changes nothing, as its upgrade"),
)

PROBLEMS = (
    ("broken_chain", "revision add_tip (versions/add_tip.py) follows find_donors, which no file has"),
    ("duplicate_ids", "revision add_tip is in 2 files: versions/add_tip.py and versions/add_tip_again.py"),
    (
        "not_importable",
        "versions/add_tip.py cannot be loaded (ModuleNotFoundError: No module named 'fundrbolt_types'):"
        " install what has 'fundrbolt_types' where this runs, or read the migrations in the app's own image",
    ),
)


def corpus(folder: str) -> Graph:
    return read(CORPUS / folder)


def written(lost: Lost) -> str:
    name = lost.table if lost.column is None else f"{lost.table}.{lost.column}"
    return f"some of {name}" if lost.partly else name


def judged(tmp_path: Path, downgrade: str, *, upgrade: str = "op.execute('CREATE TABLE made (id int)')") -> Down:
    """One revision with these bodies."""
    head = (
        "import os\nimport sqlalchemy as sa\nfrom alembic import context, op\nrevision = 'a1'\ndown_revision = None\n"
    )
    return folder_of(tmp_path, one=head + function("upgrade", upgrade) + function("downgrade", downgrade)).revisions[0]


def function(name: str, body: str) -> str:
    return f"def {name}():\n" + "".join(f"    {line}\n" for line in body.splitlines())


def folder_of(tmp_path: Path, **scripts: str) -> Graph:
    """The graph of a folder with these scripts."""
    versions = tmp_path / "migrations" / "versions"
    versions.mkdir(parents=True)
    (tmp_path / "alembic.ini").write_text("[alembic]\nscript_location = %(here)s/migrations\n", encoding="utf-8")
    for name, text in scripts.items():
        (versions / f"{name}.py").write_text(text, encoding="utf-8")
    return read(tmp_path)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.folder)
def test_a_downgrade_gets_its_verdict(case: Case) -> None:
    graph = corpus(case.folder)
    down = graph.revisions[0]
    assert graph.problems == ()
    assert down.verdicts == case.verdicts
    assert tuple(written(lost) for lost in down.losses) == case.losses
    assert len(down.reasons) == len(down.verdicts)
    assert case.reason in "; ".join(down.reasons)


@pytest.mark.parametrize(("folder", "problem"), PROBLEMS)
def test_revisions_that_alembic_cannot_use_are_a_problem_that_names_them(folder: str, problem: str) -> None:
    assert corpus(folder).problems == (problem,)


def test_the_corpus_has_nothing_without_a_verdict() -> None:
    told = {case.folder for case in CASES} | {folder for folder, _ in PROBLEMS} | {"branching"}
    assert {each.parent.name for each in CORPUS.glob("*/alembic.ini")} == told


def test_two_heads_are_told() -> None:
    graph = corpus("branching")
    assert graph.heads == ("add_tip", "find_donors")
    assert graph.problems == ()


def test_a_raising_downgrade_tells_no_secret() -> None:
    down = corpus("raising_late").revisions[0]
    assert "correct-horse" not in "".join(down.reasons)
    assert "█" in down.reasons[0]


@pytest.mark.parametrize("folder", ["raising", "raising_late", "data_dependent", "environment_dependent"])
def test_sql_that_cannot_be_told_is_not_told_in_part(folder: str) -> None:
    down = corpus(folder).revisions[0]
    assert down.statements == ()
    assert not down.complete


@pytest.mark.parametrize(
    ("sql", "losses"),
    [
        ("TRUNCATE a, other.b", ("public.a", "other.b")),
        ("TRUNCATE a CASCADE", ("public.a", "*")),
        ("DELETE FROM a", ("public.a",)),
        ("DELETE FROM a WHERE id > 3", ("some of public.a",)),
        ("WITH gone AS (DELETE FROM a RETURNING *) INSERT INTO b SELECT * FROM gone", ("public.a",)),
        ("DROP SCHEMA other CASCADE", ("other.*",)),
        ("DROP TYPE mood CASCADE", ("*",)),
        ("DROP TYPE mood", ()),
        ("DROP VIEW a CASCADE", ()),
        ('DROP TABLE "A b", other.c', ("public.A b", "other.c")),
        ("ALTER TABLE ONLY a DROP b, DROP CONSTRAINT c, DROP COLUMN IF EXISTS d CASCADE", ("public.a.b", "public.a.d")),
        ("SET search_path TO tenant; DROP TABLE a", ("tenant.a",)),
        ("CREATE TABLE spare AS SELECT 1; DROP TABLE spare", ()),
        ("ALTER TABLE a ALTER b TYPE text", ()),
        ("ALTER TABLE a ALTER b TYPE text USING 'x'", ("some of public.a.b",)),
        ("ALTER TABLE a ALTER b TYPE mood USING b::text::mood", ("some of public.a.b",)),
        ("ALTER VIEW a ALTER b SET DEFAULT 1", ()),
    ],
)
def test_sql_loses_what_it_names(tmp_path: Path, sql: str, losses: tuple[str, ...]) -> None:
    down = judged(tmp_path, f"op.execute({sql!r})")
    assert tuple(written(lost) for lost in down.losses) == losses
    assert (Verdict.LOSSY in down.verdicts) == bool(losses)


@pytest.mark.parametrize(
    ("now", "then", "kept"),
    [
        ("varchar(40)", "varchar(41)", True),
        ("varchar(40)", "varchar(39)", False),
        ("varchar", "varchar(40)", False),
        ("varchar(40)", "varchar", True),
        ("char", "char(2)", True),
        ("char(2)", "char", False),
        ("smallint", "bigint", True),
        ("bigint", "integer", False),
        ("integer", "numeric(9, 0)", False),
        ("integer", "numeric(12, 2)", True),
        ("numeric(10, 2)", "numeric(11, 3)", True),
        ("numeric(10, 2)", "numeric(10, 3)", False),
        ("numeric(10, 2)", "numeric(12, 0)", False),
        ("numeric", "numeric(10, 2)", False),
        ("timestamptz", "date", False),
        ("date", "timestamp", True),
        ("timestamptz(3)", "timestamptz", True),
        ("timestamp", "timestamp(0)", False),
        ("jsonb", "json", True),
        ("json", "jsonb", False),
        ("uuid", "uuid", True),
        ("text[]", "text", True),
        ("integer", "integer[]", False),
        ("mood", "mood", False),
    ],
)
def test_a_type_that_has_no_room_for_every_value_is_lossy(tmp_path: Path, now: str, then: str, kept: bool) -> None:
    change = "op.execute('ALTER TABLE a ALTER b TYPE {}')".format
    down = judged(tmp_path, change(then), upgrade=change(now))
    assert down.verdicts == ((Verdict.GOOD,) if kept else (Verdict.LOSSY,))


@pytest.mark.parametrize(
    ("body", "verdicts"),
    [
        ('"""Nothing to do."""\nreturn None', (Verdict.EMPTY,)),
        ("missing()", (Verdict.RAISING,)),
        ("raise SystemExit(3)", (Verdict.RAISING,)),
        ("op.drop_constraint(None, 'a')", (Verdict.RAISING,)),
        ("sa.inspect(op.get_bind()).get_columns('a')", (MOVING,)),
        ("if op.get_bind().execute(sa.text('SELECT 1')) is None:\n    raise RuntimeError('x')", (MOVING,)),
        ("op.execute('DO $$ BEGIN DROP TABLE a; END $$')", (MOVING,)),
        ("op.execute('this is no SQL')", (MOVING,)),
        ("op.bulk_insert(sa.table('a', sa.column('b')), [{'b': 1}])", (MOVING,)),
        ("op.execute(sa.table('a', sa.column('b', sa.JSON)).update().values(b={'c': 1}))", (MOVING,)),
        ("with op.batch_alter_table('a', recreate='always') as a:\n    a.drop_column('b')", (MOVING,)),
        ("op.execute('DROP INDEX ' + os.environ['INDEX'])", (Verdict.ENVIRONMENT_DEPENDENT,)),
        ("op.execute('DROP INDEX ' + os.getenv('INDEX', 'a'))", (Verdict.ENVIRONMENT_DEPENDENT,)),
        ("if context.config.get_main_option('x'):\n    op.drop_index('a')", (Verdict.ENVIRONMENT_DEPENDENT,)),
        ("if not context.is_offline_mode():\n    op.drop_table('a')", (Verdict.ENVIRONMENT_DEPENDENT,)),
        ("op.execute('VACUUM a')", (OUTSIDE,)),
        ("op.execute(\"ALTER TYPE mood ADD VALUE 'sad'\")", (OUTSIDE,)),
        ("op.execute('COMMIT')\nop.drop_column('a', 'b')", (LOSSY, OUTSIDE)),
    ],
)
def test_a_body_gets_its_verdicts(tmp_path: Path, body: str, verdicts: tuple[Verdict, ...]) -> None:
    assert judged(tmp_path, body).verdicts == verdicts


def test_what_the_rest_of_the_file_reads_counts_where_it_is_used(tmp_path: Path) -> None:
    imports = "from os import environ as e\nfrom alembic import op\n"
    head = imports + "revision = 'a1'\ndown_revision = None\nNAME = e.get('X')\n"
    used = "def named():\n    return NAME or 'a'\n" + function("upgrade", "op.execute('SELECT 1')")
    graph = folder_of(tmp_path, one=head + used + function("downgrade", "op.drop_index(named())"))
    assert graph.revisions[0].verdicts == (Verdict.ENVIRONMENT_DEPENDENT,)
    assert "os.environ.get (line 5)" in graph.revisions[0].reasons[0]


def test_a_variable_called_platform_is_not_the_machine(tmp_path: Path) -> None:
    body = "platform = sa.table('platform', sa.column('id'))\nop.execute(platform.update().values(id=1))"
    assert judged(tmp_path, body).verdicts == (MOVING,)


def test_a_script_without_a_downgrade_is_raising(tmp_path: Path) -> None:
    graph = folder_of(tmp_path, one="revision = 'a1'\ndown_revision = None\ndef upgrade():\n    raise ValueError\n")
    assert graph.revisions[0].reasons == ("it has no downgrade()",)


def test_a_percent_sign_stays_one(tmp_path: Path) -> None:
    down = judged(tmp_path, "op.execute(\"DELETE FROM a WHERE b LIKE '5%' AND c % 2 = 1\")")
    assert down.statements == ("DELETE FROM a WHERE b LIKE '5%' AND c % 2 = 1",)


def test_a_password_in_sql_is_not_shown(tmp_path: Path) -> None:
    down = judged(tmp_path, "op.execute(\"CREATE ROLE reader LOGIN PASSWORD 'correct horse'\")")
    assert down.statements == ("CREATE ROLE reader LOGIN PASSWORD '█████'",)


def test_a_script_that_is_no_python_is_a_problem_without_a_traceback(tmp_path: Path) -> None:
    rest = "revision = 'a2'\ndown_revision = 'a1'\n"
    graph = folder_of(tmp_path, one="revision = 'a1'\ndef upgrade(:\n", two=rest)
    assert graph.problems == (
        "migrations/versions/one.py cannot be loaded (SyntaxError: invalid syntax (one.py, line 2))",
    )


def test_a_script_that_exits_is_a_problem(tmp_path: Path) -> None:
    graph = folder_of(tmp_path, one="import sys\nsys.exit('token=abcdefgh')\n")
    assert graph.problems == ("migrations/versions/one.py cannot be loaded (SystemExit: █████)",)


def test_a_circle_of_revisions_is_a_problem(tmp_path: Path) -> None:
    graph = folder_of(
        tmp_path, one="revision = 'a1'\ndown_revision = 'a2'\n", two="revision = 'a2'\ndown_revision = 'a1'\n"
    )
    assert len(graph.problems) == 1
    assert "alembic cannot order the revisions (" in graph.problems[0]


def test_a_missing_dependency_is_a_problem(tmp_path: Path) -> None:
    graph = folder_of(tmp_path, one="revision = 'a1'\ndown_revision = None\ndepends_on = ('b1',)\n")
    assert graph.problems == ("revision a1 (migrations/versions/one.py) depends on b1, which no file has",)


def test_a_folder_that_alembic_ini_names_and_that_is_not_there_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "alembic.ini").write_text("[alembic]\nscript_location = %(here)s/elsewhere\n", encoding="utf-8")
    assert len(read(tmp_path).problems) == 1
    assert "alembic.ini cannot be used" in read(tmp_path).problems[0]
