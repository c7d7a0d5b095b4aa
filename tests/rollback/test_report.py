"""What a reader of the report sees, for every way in which a run can end."""

import re
from dataclasses import dataclass, field
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest
import vl_convert
from report_runs import EVIDENCE, PLAN, RUNS, START, USUAL, Script, measurements, story

from rollback import report
from rollback.journal import Event, Journal
from rollback.measurements import Measurements, Minute
from rollback.outcomes import EndState
from rollback.plans import PlannedStep
from rollback.report.timeline import Kind, build
from rollback.report.timeline_chart import critical_path
from rollback.report.timescale import TimeScale
from rollback.report.words import sentence

BLOCKS = {"dt", "dd", "td", "th", "li", "p", "h1", "h2", "h3", "div", "summary"}
VOID = {"meta", "br", "link", "img", "input", "hr"}


@dataclass
class Page(HTMLParser):
    """A parsed report: what it says, what its pictures say, and what it would fetch."""

    text: str = ""
    tags: list[str] = field(default_factory=list)
    addresses: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    open_tags: list[str] = field(default_factory=list)
    closed_wrongly: list[str] = field(default_factory=list)
    opened: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.text += "\n" if tag in BLOCKS else ""
        named = dict(attrs)
        self.addresses += [
            value or "" for name, value in attrs if name in {"src", "href", "xlink:href", "action", "srcset"}
        ]
        if label := named.get("aria-label"):
            self.labels.append(label)
        if tag == "details":
            self.opened.append("open" if "open" in named else "closed")
        if tag not in VOID:
            self.open_tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open_tags or self.open_tags[-1] != tag:
            self.closed_wrongly.append(tag)
        else:
            self.open_tags.pop()

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open_tags.pop()

    def handle_data(self, data: str) -> None:
        self.text += data

    @property
    def words(self) -> str:
        return " ".join(self.text.split())


def read(html: str) -> Page:
    page = Page()
    page.feed(html)
    page.close()
    return page


def write(name: str, folder: Path, *, usual: dict[str, float] | None = None, **more: object) -> tuple[str, Page]:
    html = report.html(story(name, folder, usual=usual, **more))
    return html, read(html)


@pytest.mark.parametrize("name", RUNS)
def test_every_report_is_whole_html_that_fetches_nothing_and_runs_nothing(name: str, tmp_path: Path) -> None:
    html, page = write(name, tmp_path, usual=USUAL, measurements=measurements(START, START + timedelta(seconds=40)))

    assert page.closed_wrongly == []
    assert page.open_tags == []
    assert page.addresses == []
    assert not {"script", "link", "img", "iframe", "object", "embed", "base"} & set(page.tags)
    assert not re.search(r"url\(|@import|\bon\w+=", html)
    assert "could not be drawn" not in html


@pytest.mark.parametrize("name", RUNS)
def test_every_report_says_first_how_it_ended(name: str, tmp_path: Path) -> None:
    _, page = write(name, tmp_path)
    state, _, headline = RUNS[name]

    body = page.words[page.words.index("} ") :]
    assert body.index(state.value) < body.index(sentence(headline)) < body.index("Timeline")
    assert f"exit status {state.exit_status}" in body


def test_there_is_a_run_for_every_way_to_end() -> None:
    assert {state for state, _, _ in RUNS.values()} == set(EndState)
    assert set(report.MARK) == set(EndState)


@pytest.mark.parametrize("name", [name for name in RUNS if name != "no-step"])
def test_the_timeline_has_a_bar_for_each_step_and_marks_the_critical_path(name: str, tmp_path: Path) -> None:
    told = story(name, tmp_path, usual=USUAL)
    page = read(report.html(told))

    for bar in told.timeline.bars:
        assert any(label.startswith(f"{bar.title}: ") and bar.figures in label for label in page.labels)
        on_path = f"{bar.title}: on the critical path" in page.labels
        assert on_path == any(other.critical for other in told.timeline.bars if other.title == bar.title)
    assert f"Critical path: {' → '.join(told.timeline.critical_titles)}" in page.words


def test_a_timeline_is_drawn_for_a_screen_and_for_a_telephone_with_title_and_description(tmp_path: Path) -> None:
    html, page = write("good", tmp_path)

    assert page.tags.count("svg") == 2
    assert page.tags.count("title") == 3
    assert page.tags.count("desc") == 2
    assert "Swap slots: done, 34 s, Azure 33 s." in page.text
    assert 'name="viewport"' in html
    for part in ("timeline-wide-title", "timeline-narrow-title"):
        assert html.count(f'id="{part}"') == 1


def test_azures_waiting_is_told_apart_from_our_own_time(tmp_path: Path) -> None:
    _, page = write("good", tmp_path)

    assert "waiting for Azure" in page.text
    assert "40 s from start to end: 7.4 s our own (the runbook allows 30 s), 33 s waiting for Azure" in page.words


def test_azures_part_of_a_step_lies_between_the_request_and_the_word_about_it(tmp_path: Path) -> None:
    told = story("good", tmp_path)
    (swap,) = (bar for bar in told.timeline.bars if bar.title == "Swap slots")

    assert [span.kind for span in swap.spans] == [Kind.OURS, Kind.AZURE, Kind.OURS]
    assert [span.seconds for span in swap.spans] == pytest.approx([0.8, 33, 0.2])


def test_of_two_steps_side_by_side_only_the_longer_one_is_on_the_critical_path(tmp_path: Path) -> None:
    script = Script(tmp_path / "journal.jsonl")
    script.started()
    script.write(Event.STEP_STARTED, step="Backend")
    script.write(Event.STEP_STARTED, step="Frontend")
    script.wait(4)
    script.write(Event.STEP_FINISHED, step="Frontend")
    script.wait(6)
    script.write(Event.STEP_FINISHED, step="Backend")
    script.step("Verify from outside", 2)

    line = build(Journal(tmp_path / "journal.jsonl"), [], {}, START, script.at)
    assert line.critical_titles == ["Backend", "Verify from outside"]
    assert critical_path(line) == "Critical path: Backend → Verify from outside."


def test_a_step_shows_what_was_expected_of_it_and_nothing_where_nobody_knows(tmp_path: Path) -> None:
    _, known = write("good", tmp_path, usual=USUAL)
    _, unknown = write("refused", tmp_path)

    assert "Swap slots: expected 38 s" in known.labels
    assert not any("expected" in label for label in unknown.labels)
    assert "How long the steps should take is not known" in unknown.words


def test_every_wait_for_approval_is_drawn(tmp_path: Path) -> None:
    _, page = write("approved-twice", tmp_path, usual=USUAL)
    assert "22 min 00 s waiting (shortened)" in page.labels
    assert "15 min 00 s waiting (shortened)" in page.labels


def test_waiting_for_approval_is_apart_and_does_not_crowd_out_the_work(tmp_path: Path) -> None:
    approval = "signed by Lead (lead@fundrbolt.com) at 2026-03-01 03:20:07 UTC over plan 7b1c5a2d9e04"
    told = story("approved", tmp_path, approvals=(approval,))
    page = read(report.html(told))

    assert approval in page.text
    assert "22 min 00 s waiting for approval" in page.words
    assert "22 min 00 s waiting (shortened)" in page.labels
    scale = TimeScale(told.timeline)
    assert scale.length < 1.3 * (told.timeline.own_seconds + told.timeline.azure_seconds)


def test_a_resumed_run_shows_the_step_that_was_cut_off_and_the_gap(tmp_path: Path) -> None:
    _, page = write("resumed", tmp_path)

    assert "Swap slots: cut off" in page.labels
    assert "2 h 00 min nobody at work (shortened)" in page.labels
    assert "From 2026-03-01 02:58:07 UTC to 2026-03-01 04:58:20 UTC nobody was at work" in page.words
    assert page.words.count("cut off, last sign after 0.8 s") >= 2


@pytest.mark.parametrize(
    ("name", "step", "state"),
    [
        ("part-way", "Remove ramp-up rules", "failed after 20 s"),
        ("cancelled", "Swap slots", "cancelled after 8.0 s"),
        ("unknown", "Swap slots", "failed after 91 s"),
    ],
)
def test_a_step_that_did_not_end_well_is_marked_and_lies_open(name: str, step: str, state: str, tmp_path: Path) -> None:
    _, page = write(name, tmp_path)

    assert f"{step}: {state.split(maxsplit=1)[0]}" in page.labels
    assert f"{step} {state}" in page.words
    assert "open" in page.opened


def test_steps_that_were_planned_and_not_begun_are_shown_as_not_done(tmp_path: Path) -> None:
    _, page = write("cancelled", tmp_path)

    assert "Verify from outside not done" in page.words
    assert "Verify from outside: not done." in page.text


def test_closed_evidence_is_printed_open(tmp_path: Path) -> None:
    html, page = write("good", tmp_path)

    assert set(page.opened) == {"closed"}
    printed = html[html.index("@media print") :]
    assert "details::details-content { content-visibility: visible" in printed
    assert "slot 'staging': 30 of 30 real requests good, by v1.2.2" in page.text


def test_what_was_not_measured_is_said_and_never_drawn_as_zero(tmp_path: Path) -> None:
    nothing = Measurements(
        source="platform metrics", minutes=(Minute(at=START), Minute(at=START + timedelta(minutes=1)))
    )
    _, without = write("good", tmp_path)
    _, unknown = write("approved", tmp_path, measurements=nothing)

    assert "Error rate and latency were not measured." in without.words
    assert "Throttled by Azure not measured" in without.words
    assert unknown.words.count("not measured") >= 9
    assert unknown.tags.count("svg") == 2, "only the timeline"


def test_users_errors_and_latency_are_drawn_with_the_swap_and_the_minutes_nobody_measured(tmp_path: Path) -> None:
    swapped = START + timedelta(seconds=36)
    _, page = write("good", tmp_path, measurements=measurements(START, swapped))

    assert page.tags.count("svg") == 6
    assert "Before 3244 28.5 % 432 ms" in page.words
    assert "After 2830 0.1 % 102 ms" in page.words
    assert page.labels.count("02:52: not measured") == 4
    assert page.labels.count("while the run was at work") == 4
    assert page.labels.count("02:58:40: swap") == 4
    assert "02:52 not measured" in page.text
    assert "02:58 29.0" in page.text


def test_a_report_that_is_written_at_once_says_that_what_came_after_is_not_counted_yet(tmp_path: Path) -> None:
    swapped = START + timedelta(seconds=36)
    all_of_it = measurements(START, swapped)
    until_now = all_of_it.model_copy(update={"minutes": all_of_it.minutes[:10]})
    _, early = write("good", tmp_path, measurements=until_now)
    _, late = write("approved", tmp_path, measurements=measurements(START, START + timedelta(minutes=23)))

    assert "had not counted a whole minute after the run" in early.words
    assert "After not measured not measured not measured" in early.words
    assert early.labels.count("02:58: not measured") == 4, "the minute of the swap is not drawn as fine"
    assert "had not counted" not in late.words


def test_a_minute_that_azure_left_out_is_not_measured_rather_than_bridged(tmp_path: Path) -> None:
    all_of_it = measurements(START, START + timedelta(seconds=36))
    holed = all_of_it.model_copy(update={"minutes": (*all_of_it.minutes[:7], *all_of_it.minutes[8:])})
    _, page = write("good", tmp_path, measurements=holed)

    assert page.labels.count("02:55: not measured") == 4


def test_a_minute_without_requests_has_no_error_rate(tmp_path: Path) -> None:
    quiet = Measurements(source="x", minutes=(Minute(at=START, requests=0, failed=0, latency_ms=None),))
    _, page = write("good", tmp_path, measurements=quiet)

    assert "During 0 not measured not measured" in page.words


def test_text_from_elsewhere_is_never_markup(tmp_path: Path) -> None:
    html, page = write("good", tmp_path, headline="</title><script>alert(1)</script>", evidence=("<img src=x>",))

    assert "script" not in page.tags
    assert "img" not in page.tags
    assert "<b>now</b>" not in html


def test_who_started_it_why_and_the_whole_plan_are_there(tmp_path: Path) -> None:
    _, page = write("good", tmp_path)

    assert "Started by oncall@fundrbolt.com" in page.words
    assert PLAN.hash in page.text
    for text in (*EVIDENCE, *PLAN.warnings, *PLAN.observations, PLAN.evidence, "do not swap by hand"):
        assert text in page.text


def test_a_run_without_a_plan_says_so(tmp_path: Path) -> None:
    _, page = write("no-step", tmp_path)

    assert "No step was begun." in page.words
    assert "The run ended before it had a plan." in page.words


def test_a_chart_that_cannot_be_drawn_leaves_the_rest_of_the_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> str:
        raise ValueError("no engine")

    monkeypatch.setattr(vl_convert, "vegalite_to_svg", broken)
    told = story("good", tmp_path)
    page = read(report.html(told))

    assert "This picture could not be drawn (ValueError)." in page.words
    assert "Critical path: Plan" in page.words
    assert "data:" not in report.steps_markdown(told)


def test_artifacts_keep_their_tables_whole_and_name_what_is_left_to_people(tmp_path: Path) -> None:
    told = story("part-way", tmp_path, usual=USUAL)
    plan = report.plan_markdown(PLAN, [PlannedStep(title="a|b", detail="two\nlines", expected_seconds=38)])
    outcome = report.outcome_markdown(told)

    assert "| 1 | **a\\|b** | two lines | yes | 38 s |" in plan
    assert PLAN.hash in plan
    assert "- [ ] Resume it with '--resume 1f6c20ab'." in outcome
    assert "- [x] Swapped: production runs v1.2.2." in outcome
    assert "- [ ] not finished: Verify from outside" in outcome
    steps = report.steps_markdown(told)
    assert "(data:image/svg+xml;base64," in steps
    assert "| **Swap slots** | done | 02:58:07 | 34 s | 33 s | 38 s |" in steps
    assert "| **Verify from outside** | not done | – | – | – | 2.4 s |" in steps
    assert "<details open><summary>Remove ramp-up rules: failed after 20 s</summary>" in steps


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0.04, "0.0 s"),
        (9.96, "10 s"),
        (119.4, "119 s"),
        (179.7, "3 min 00 s"),
        (8000, "2 h 13 min"),
        (180_000, "2 d 02 h"),
    ],
)
def test_durations_read_well(count: float, text: str) -> None:
    assert report.seconds(timedelta(seconds=count)) == text
    assert report.seconds(None) == "–"


def test_what_a_procedure_came_to_is_told_at_the_top_in_figures(tmp_path: Path) -> None:
    told = story("restored", tmp_path, results=(("Data loss, actual", "14 s of writes: 163 inserts"),))
    page = read(report.html(told))
    assert page.text.index("14 s of writes: 163 inserts") < page.text.index("Timeline")
    assert "| Data loss, actual | 14 s of writes: 163 inserts |" in report.outcome_markdown(told)
