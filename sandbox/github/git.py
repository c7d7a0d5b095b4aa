"""The ids of the repository's commits and tags, as git itself tells them."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

COMMIT_FORMAT = "%H%x00%T%x00%P%x00%an%x00%ae%x00%aI%x00%s"
TAG_FORMAT = (
    "%(refname:short)%00%(objectname)%00%(*objectname)%00%(taggername)%00%(taggeremail:trim)%00"
    "%(taggerdate:iso-strict)%00%(contents:subject)"
)


@dataclass(frozen=True)
class Commit:
    """One commit of `main`."""

    sha: str
    tree: str
    parents: tuple[str, ...]
    name: str
    email: str
    date: str
    """ISO 8601."""
    message: str


@dataclass(frozen=True)
class Tag:
    """An annotated tag."""

    name: str
    sha: str
    commit: str
    tagger: str
    email: str
    date: str
    message: str


@dataclass(frozen=True)
class Git:
    """What the repository holds."""

    commits: dict[str, Commit]
    """By their ids, newest first."""
    tags: dict[str, Tag]
    """By name, oldest first."""

    @property
    def main(self) -> str:
        """The newest commit of the branch `main`."""
        return next(iter(self.commits))

    def find(self, ref: str) -> Commit | None:
        """The commit behind a branch, a tag, an id or the beginning of one."""
        name = ref.removeprefix("heads/").removeprefix("tags/")
        if name == "main":
            return self.commits[self.main]
        if name in self.tags:
            return self.commits[self.tags[name].commit]
        found = [each for sha, each in self.commits.items() if len(ref) >= 7 and sha.startswith(ref.lower())]
        return found[0] if len(found) == 1 else None

    def commit_of(self, ref: str) -> Commit:
        """The commit behind a branch or tag that is known to be there."""
        found = self.find(ref)
        if found is None:
            raise LookupError(ref)
        return found


def read(repository: Path) -> Git:
    """Ask git for every commit of `main` and every tag."""
    told = [line.split("\0") for line in _git(repository, "log", f"--format={COMMIT_FORMAT}", "main").splitlines()]
    commits = [Commit(sha, tree, tuple(parents.split()), *rest) for sha, tree, parents, *rest in told]
    lines = _git(repository, "for-each-ref", f"--format={TAG_FORMAT}", "refs/tags").splitlines()
    tags = [Tag(*line.split("\0")) for line in lines]
    return Git({each.sha: each for each in commits}, {each.name: each for each in tags})


def _git(repository: Path, *arguments: str) -> str:
    environment = {"PATH": os.environ.get("PATH", os.defpath), "GIT_CONFIG_GLOBAL": os.devnull, "LC_ALL": "C"}
    environment |= {"GIT_CONFIG_NOSYSTEM": "1"}
    command = ["git", "-C", str(repository), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, check=True).stdout.decode()
