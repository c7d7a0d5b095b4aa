"""Archives are there whole or not at all, and what was damaged is never taken for a state."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rollback.errors import ArchiveUnreadable, NoEarlierState, ResourceIdInvalid
from rollback.resources.archives import INDEX, Archived, Archives, name_of, replaced_by
from rollback.resources.ids import ResourceId

ID = "/subscriptions/1/resourceGroups/rg/providers/Microsoft.Web/sites/app"
AT = datetime(2026, 3, 1, 3, 17, tzinfo=UTC)


def resource(name: str = "app", **properties: object) -> Archived:
    id_ = ID.replace("app", name)
    content = {"id": id_, "properties": properties}
    return Archived(id=id_, type="Microsoft.Web/sites", api_version="2025-05-01", content=content)


@pytest.fixture
def archives(tmp_path: Path) -> Archives:
    return Archives(tmp_path / "archive", "production")


def keep(archives: Archives, days: int = 0, **properties: object) -> str:
    at = AT + timedelta(days=days)
    archives.keep(name_of(at), at, "1f6c20ab", [resource(**properties)], {})
    return name_of(at)


def test_a_resource_is_found_again_however_its_id_is_written(archives: Archives) -> None:
    name = keep(archives, alwaysOn=True)
    assert name == "2026-03-01T031700.000Z"
    found = archives.read(name, ResourceId.parse(ID.upper().replace("/SUBSCRIPTIONS", "/subscriptions")))
    assert found == resource(alwaysOn=True)
    assert archives.read(name, ResourceId.parse(f"{ID}2")) is None


def test_states_come_newest_first_and_what_a_run_replaced_only_by_its_name(archives: Archives) -> None:
    first, second = keep(archives), keep(archives, 1)
    replaced = replaced_by("1f6c20ab", AT + timedelta(days=2))
    archives.keep(replaced, AT + timedelta(days=2), "1f6c20ab", [resource()], {})
    assert archives.names() == [second, first]
    assert archives.find(replaced) == replaced
    newest = archives.newest()
    assert newest is not None
    assert newest.at == AT + timedelta(days=1)


def test_an_archive_is_found_by_its_beginning_if_that_is_one_only(archives: Archives) -> None:
    first, _ = keep(archives), keep(archives, 1)
    assert archives.find("2026-03-01T03:17:00Z") == first
    for typed in ("2026-03", "2027"):
        with pytest.raises(NoEarlierState, match=typed):
            archives.find(typed)


@pytest.mark.parametrize("damage", ["half", "other", "gone", "index"])
def test_what_was_damaged_is_an_error_that_names_the_file(archives: Archives, tmp_path: Path, damage: str) -> None:
    name = keep(archives, alwaysOn=True)
    (file,) = [each for each in tmp_path.rglob("*.json") if each.name != INDEX]
    if damage == "gone":
        file.unlink()
    else:
        hit = file.with_name(INDEX) if damage == "index" else file
        text = hit.read_text(encoding="utf-8")
        hit.write_text(text.replace("true", "false") if damage == "other" else text[:40], encoding="utf-8")
    with pytest.raises(ArchiveUnreadable, match="is not what was written"):
        archives.read(name, ResourceId.parse(ID))


def test_one_that_was_cut_off_is_not_there_and_is_made_anew(
    archives: Archives, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
        with pytest.raises(OSError, match="disk full"):
            keep(archives)
    assert archives.all_names() == []
    assert archives.read(keep(archives, alwaysOn=True), ResourceId.parse(ID)) == resource(alwaysOn=True)
    assert not list(tmp_path.rglob(".2026*"))


def test_one_that_is_there_stays_as_it_is(archives: Archives) -> None:
    name = keep(archives, alwaysOn=True)
    keep(archives, alwaysOn=False)
    assert archives.read(name, ResourceId.parse(ID)) == resource(alwaysOn=True)


def test_the_oldest_are_removed_with_what_runs_replaced_before_them(archives: Archives, tmp_path: Path) -> None:
    names = [keep(archives, days) for days in range(4)]
    for days in (1, 3):
        at = AT + timedelta(days=days, hours=1)
        archives.keep(replaced_by("1f6c20ab", at), at, "1f6c20ab", [resource()], {})
    archives.prune(2)
    assert archives.names() == names[:1:-1]
    assert archives.all_names()[0] == replaced_by("1f6c20ab", AT + timedelta(days=3, hours=1))
    assert len(list(tmp_path.rglob(INDEX))) == 3
    assert archives.prune(2) == []


def test_nobody_else_can_read_what_is_kept(archives: Archives, tmp_path: Path) -> None:
    keep(archives)
    folder = next(tmp_path.rglob(INDEX)).parent
    assert (folder.stat().st_mode & 0o077, folder.parent.stat().st_mode & 0o077) == (0, 0)


def test_what_azure_decides_does_not_count_as_a_change(archives: Archives) -> None:
    same = [archives.index(keep(archives, days, alwaysOn=True, state=str(days))).configurations for days in (0, 1)]
    assert same[0] == same[1]
    assert archives.index(keep(archives, 2, alwaysOn=False)).configurations != same[0]


def test_the_index_is_json_that_people_can_read(archives: Archives, tmp_path: Path) -> None:
    keep(archives)
    index = json.loads(next(tmp_path.rglob(INDEX)).read_text(encoding="utf-8"))
    assert index["entries"][0]["file"].startswith("app-")


@pytest.mark.parametrize(
    "text",
    ["", "/subscriptions/1", f"{ID}/slots", f"{ID}?api-version=1", f"{ID}//x", "https://portal.azure.com"],
)
def test_what_is_no_resource_id_is_refused(text: str) -> None:
    with pytest.raises(ResourceIdInvalid, match="is no id of a resource"):
        ResourceId.parse(text)


def test_an_id_is_taken_apart() -> None:
    id_ = ResourceId.parse(f"{ID}/slots/staging/config/web/")
    assert id_.type == "Microsoft.Web/sites/slots/config"
    assert (id_.name, id_.short) == ("app/staging/web", "app/slots/staging/config/web")
    assert str(id_) == f"{ID}/slots/staging/config/web"
    assert str(id_.root) == ID
    assert id_.parent == ResourceId.parse(f"{ID}/slots/staging")
