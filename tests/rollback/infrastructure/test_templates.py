"""A release's template, from real git repositories, and the compiler where there is one."""

import json
import stat
import subprocess
from pathlib import Path

import pytest
from pydantic import SecretStr

from rollback.errors import TemplateUnfit
from rollback.infrastructure.parameters import choose
from rollback.infrastructure.settings import Infrastructure
from rollback.infrastructure.templates import Template, read_release
from rollback.programs.repository import RevisionMissing

TEMPLATE = {"$schema": "https://schema/deploymentTemplate.json#", "contentVersion": "1.0.0.0", "resources": []}
SETTINGS = Infrastructure(deployment="infra", location="eastus", parameters="infrastructure/p.json")
PARAMETERS = {"parameters": {"name": {"value": "fund"}}}


class Repository:
    """A repository with one commit for each call of `commit`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._git("init", "--quiet", "--initial-branch=main")

    def commit(self, tag: str, **files: str) -> str:
        for path, content in files.items():
            file = self.folder / "infrastructure" / path.replace("_", ".")
            file.parent.mkdir(exist_ok=True)
            file.write_text(content)
        self._git("add", "--all")
        self._git("commit", "--quiet", "--allow-empty", "-m", tag)
        self._git("tag", tag)
        return self._git("rev-parse", "HEAD").strip()

    def _git(self, *arguments: str) -> str:
        who = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
        done = subprocess.run(["git", *who, *arguments], cwd=self.folder, check=True, capture_output=True, text=True)
        return done.stdout


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    folder = tmp_path / "repository"
    folder.mkdir()
    return Repository(folder)


def put_bicep_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "bicep"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


async def test_a_tag_becomes_its_commit_and_its_template(repository: Repository) -> None:
    commit = repository.commit("v1", main_json=json.dumps(TEMPLATE), p_json=json.dumps(PARAMETERS))
    repository.commit("v2", main_json=json.dumps({**TEMPLATE, "outputs": {}}))
    found = await read_release(repository.folder, "v1", SETTINGS)
    assert (found.commit, found.body, found.origin) == (commit, TEMPLATE, "infrastructure/main.json")
    assert found.file == PARAMETERS["parameters"]


async def test_a_commits_template_is_the_same_as_its_tags(repository: Repository) -> None:
    commit = repository.commit("v1", main_json=json.dumps(TEMPLATE), p_json=json.dumps(PARAMETERS))
    by_tag = await read_release(repository.folder, "v1", SETTINGS)
    by_commit = await read_release(repository.folder, commit[:10], SETTINGS)
    assert by_tag == by_commit
    assert by_tag.digest == by_commit.digest


async def test_an_unknown_tag_is_refused(repository: Repository) -> None:
    repository.commit("v1", main_json=json.dumps(TEMPLATE))
    with pytest.raises(RevisionMissing, match="has no tag or commit 'v9'"):
        await read_release(repository.folder, "v9", SETTINGS)


async def test_without_a_compiled_template_and_a_compiler_both_ways_are_named(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.commit("v1", main_bicep="targetScope = 'subscription'", p_json=json.dumps(PARAMETERS))
    monkeypatch.setattr("shutil.which", lambda _: None)
    with pytest.raises(TemplateUnfit) as refused:
        await read_release(repository.folder, "v1", SETTINGS)
    assert "no compiled 'infrastructure/main.json'" in refused.value.message
    assert "Commit the compiled template" in refused.value.remedy
    assert "install the Bicep CLI" in refused.value.remedy


async def test_a_source_is_compiled_where_there_is_a_compiler(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled = json.dumps(TEMPLATE)
    put_bicep_on_path(tmp_path, monkeypatch, f"echo 'Warning no-unused-params'; echo '{compiled}' > \"$4\"")
    repository.commit("v1", main_bicep="targetScope = 'subscription'", p_json=json.dumps(PARAMETERS))
    found = await read_release(repository.folder, "v1", SETTINGS)
    assert found.body == TEMPLATE
    assert "compiled here by" in found.origin


async def test_a_source_that_does_not_compile_is_refused_in_the_compilers_words(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_bicep_on_path(tmp_path, monkeypatch, "echo \"$2(3,1) : Error BCP018: Expected the '=' character.\" >&2; exit 1")
    repository.commit("v1", main_bicep="targetScope 'subscription'", p_json=json.dumps(PARAMETERS))
    with pytest.raises(TemplateUnfit) as refused:
        await read_release(repository.folder, "v1", SETTINGS)
    assert "does not compile: infrastructure/main.bicep(3,1) : Error BCP018" in refused.value.message


async def test_a_compiler_that_hangs_is_ended(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_bicep_on_path(tmp_path, monkeypatch, "exec sleep 600")
    repository.commit("v1", main_bicep="x", p_json=json.dumps(PARAMETERS))
    quick = SETTINGS.model_copy(update={"compile_timeout_seconds": 0.3})
    with pytest.raises(TemplateUnfit, match=r"did not compile within 0\.3 s"):
        await read_release(repository.folder, "v1", quick)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "cannot be read: Expecting property name"),
        ("[]", "is no JSON object"),
        ("{}", "it has no $schema and no contentVersion and no resources"),
    ],
)
async def test_a_template_that_is_none_is_refused(repository: Repository, content: str, words: str) -> None:
    repository.commit("v1", main_json=content, p_json=json.dumps(PARAMETERS))
    with pytest.raises(TemplateUnfit) as refused:
        await read_release(repository.folder, "v1", SETTINGS)
    assert words in refused.value.message


@pytest.mark.parametrize("content", ["{}", '{"parameters": {"name": "fund"}}', '{"parameters": {"name": {}}}'])
async def test_a_parameters_file_that_is_none_is_refused(repository: Repository, content: str) -> None:
    repository.commit("v1", main_json=json.dumps(TEMPLATE), p_json=content)
    with pytest.raises(TemplateUnfit, match="is no parameters' file"):
        await read_release(repository.folder, "v1", SETTINGS)


async def test_a_link_out_of_the_repository_is_not_followed(repository: Repository, tmp_path: Path) -> None:
    (tmp_path / "outside.json").write_text(json.dumps(TEMPLATE))
    (repository.folder / "infrastructure").mkdir()
    (repository.folder / "infrastructure" / "main.json").symlink_to(tmp_path / "outside.json")
    repository.commit("v1")
    with pytest.raises(TemplateUnfit, match="leads out of the repository"):
        await read_release(repository.folder, "v1", SETTINGS)


def template(**parameters: dict[str, str]) -> Template:
    return Template({**TEMPLATE, "parameters": parameters}, "c", "main.json", {})


def test_secrets_come_from_the_vault_and_show_nowhere() -> None:
    chosen = choose(template(key={"type": "secureString"}), {}, {"key": SecretStr("hush-hush")}, "v1")
    assert chosen.given == {"key": {"value": "hush-hush"}}
    assert chosen.secret_values == ["hush-hush"]
    assert "hush" not in repr(chosen)


def test_the_platform_files_value_wins_over_the_releases_file() -> None:
    own = template(server={"type": "string"})
    own.file["Server"] = {"value": "old"}
    assert choose(own, {"server": "restored"}, {}, "v1").given == {"server": {"value": "restored"}}


def test_a_parameter_that_nothing_gives_is_refused() -> None:
    with pytest.raises(TemplateUnfit, match="needs parameter 'key', and nothing gives it"):
        choose(template(key={"type": "secureString"}, size={"type": "int", "defaultValue": "1"}), {}, {}, "v1")


def test_a_parameter_of_the_file_that_the_template_does_not_know_is_refused() -> None:
    own = template()
    own.file["colour"] = {"value": "blue"}
    with pytest.raises(TemplateUnfit, match="names 'colour', which its template does not know"):
        choose(own, {}, {}, "v1")


def test_what_an_older_template_does_not_know_of_the_platform_file_is_left_out() -> None:
    assert choose(template(), {"server": "x"}, {"key": SecretStr("hush")}, "v1").given == {}
