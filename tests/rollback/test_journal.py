from pathlib import Path

from rollback.journal import Event, Journal


def test_a_change_is_open_from_sending_until_its_end_is_known(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    journal.write(Event.SENDING, change="slot swap")
    assert journal.open_changes() == ["slot swap"]
    journal.write(Event.NO_EFFECT, change="slot swap")
    assert journal.open_changes() == []
    assert journal.confirmed_changes() == []
    journal.write(Event.SENDING, change="slot swap")
    journal.write(Event.CONFIRMED, change="slot swap")
    assert journal.confirmed_changes() == ["slot swap"]


def test_what_was_confirmed_stays_confirmed(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    for event in (Event.SENDING, Event.CONFIRMED, Event.NO_EFFECT):
        journal.write(event, change="slot swap")
    assert journal.confirmed_changes() == ["slot swap"]


def test_a_journal_is_read_again_after_a_crash_in_the_middle_of_a_line(tmp_path: Path) -> None:
    file = tmp_path / "journal.jsonl"
    Journal(file).write(Event.SENDING, change="slot swap")
    with file.open("a", encoding="utf-8") as torn:
        torn.write('{"at":"2026-01-01T00:00')
    again = Journal(file)
    again.write(Event.CONFIRMED, change="slot swap")
    assert Journal(file).confirmed_changes() == ["slot swap"]


def test_steps_cut_off_by_a_crash_are_told_apart_from_those_of_the_next_try(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    journal.write(Event.STARTED)
    journal.write(Event.STEP_STARTED, step="Swap slots")
    journal.write(Event.STARTED)
    journal.write(Event.STEP_STARTED, step="Swap slots")
    journal.write(Event.NOTE, text="seen")
    journal.write(Event.STEP_FINISHED, step="Swap slots", azure_seconds=2.5)
    first, second = journal.steps()
    assert (first.state, second.state) == ("cut off", "done")
    assert first.notes == ()
    assert second.notes == ("seen",)
    assert second.azure_seconds == 2.5
