"""What holds for every test that runs a procedure to its end."""

from pathlib import Path

import pytest
from reverting import Things, quick_file
from support import World


@pytest.fixture(autouse=True)
def charts_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are drawn in the report's own tests and in the drills: here they would be a fifth of all work."""

    def draw(*_: object, name: str, title: str, description: str) -> str:
        return f'<svg viewBox="0 0 1 1" id="{name}"><title>{title}</title><desc>{description}</desc></svg>'

    monkeypatch.setattr("rollback.report.charts.draw", draw)


@pytest.fixture
def things(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Things:
    """Azure at its starting state, and a platform file with quick times."""
    quick_file(tmp_path)
    return Things(world, tmp_path / "state")
