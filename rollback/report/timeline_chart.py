"""The timeline as a picture: what each step took against what it should take, and what it waited for."""

from rollback.report import charts
from rollback.report.charts import WIDE, Palette, Spec
from rollback.report.timeline import Bar, Kind, Span, Timeline
from rollback.report.timescale import TimeScale
from rollback.report.words import for_seconds, seconds

CRITICAL, EXPECTED = "critical path", "expected"
ROW_HEIGHT = 46
MOST_BEYOND = 1.3
"""Times the run: as far as an expectation may lengthen the axis."""
LEAST_SHARE = 0.004
"""Of the width: what is shorter would not be seen."""


def draw(timeline: Timeline, palette: Palette, *, width: int, name: str) -> str:
    """The picture as an `<svg>` element; raises what `charts.draw` raises."""
    return charts.draw(
        _spec(timeline, palette, width),
        palette,
        name=name,
        title="Timeline of the run",
        description=description(timeline),
    )


def description(timeline: Timeline) -> str:
    """The picture in words."""
    told = [f"{bar.title}: {_words(bar)}." for bar in timeline.bars]
    told += [f"{seconds(gap.end - gap.start)} without anybody at work." for gap in timeline.gaps]
    told += [f"{step.title}: not done." for step in timeline.not_done]
    return " ".join([*told, critical_path(timeline)])


def critical_path(timeline: Timeline) -> str:
    """Which steps decided when the run ended."""
    if not timeline.bars:
        return "No step was begun."
    path = " → ".join(timeline.critical_titles)
    whole = len(timeline.critical_titles) == len(timeline.bars) > 1
    return f"Critical path: {path}{' (each step waited for the one before it)' if whole else ''}."


def _words(bar: Bar) -> str:
    done = "done, " if bar.state == "done" else ""
    return ", ".join(filter(None, (f"{done}{bar.figures}", bar.usual)))


def _spec(timeline: Timeline, palette: Palette, width: int) -> Spec:
    scale = TimeScale(timeline)
    rows = [str(row) for row in range(len(timeline.bars) + len(timeline.not_done))]
    encoding = {
        "x": {"field": "from", **_across(timeline, scale, width)},
        "x2": {"field": "to"},
        "color": _colours(timeline, scale, palette, width),
        "description": {"field": "words"},
    }
    return {
        "width": width,
        "height": {"step": ROW_HEIGHT},
        "encoding": {"y": {"field": "row", "type": "nominal", "axis": None, "scale": {"domain": rows}, "sort": None}},
        "layer": [
            *_shortened_waits(scale, palette, len(rows)),
            *_bars(timeline, scale, encoding),
            *_ends(timeline, scale, palette),
            *_labels(timeline, palette, width),
        ],
    }


def _across(timeline: Timeline, scale: TimeScale, width: int) -> Spec:
    ticks = scale.ticks(most=width // 70)
    labels = ", ".join(f"'{place:.3f}': '{label}'" for place, label in ticks)
    axis = {
        "values": [place for place, _ in ticks],
        "labelExpr": f"{{{labels}}}[format(datum.value, '.3f')]",
        "title": "Since the start",
        "grid": True,
        "ticks": False,
        "domain": False,
    }
    return {"type": "quantitative", "scale": {"domain": [0, _shown(timeline, scale)], "nice": False}, "axis": axis}


def _shown(timeline: Timeline, scale: TimeScale) -> float:
    """How far the axis reaches: to the end, and some way on where a step was expected to take longer."""
    reached = [
        scale.place(bar.start) + bar.expected_seconds for bar in timeline.bars if bar.expected_seconds is not None
    ]
    return max(scale.length, min(max(reached, default=0.0), MOST_BEYOND * scale.length))


def _colours(timeline: Timeline, scale: TimeScale, palette: Palette, width: int) -> Spec:
    kinds = {span.kind.value for bar in timeline.bars for span in bar.spans}
    kinds |= {EXPECTED for bar in timeline.bars if bar.expected_seconds is not None}
    kinds |= {CRITICAL for bar in timeline.bars if bar.critical}
    colours = {
        Kind.OURS.value: palette.ours,
        Kind.AZURE.value: palette.azure,
        Kind.APPROVAL.value: palette.people,
        EXPECTED: palette.expected,
        CRITICAL: palette.ink,
    }
    shown = {kind: colour for kind, colour in colours.items() if kind in kinds}
    return {
        "field": "kind",
        "type": "nominal",
        "sort": None,
        "scale": {"domain": list(shown), "range": list(shown.values())},
        "legend": {
            "orient": "top",
            "title": None,
            "columns": 5 if width == WIDE else 2,
            "offset": 26 if scale.waits else 8,
        },
    }


def _bars(timeline: Timeline, scale: TimeScale, encoding: Spec) -> list[Spec]:
    """What was, under it a line for the critical path, under that what was expected."""
    spans: list[Spec] = []
    critical: list[Spec] = []
    expected: list[Spec] = []
    for row, bar in enumerate(timeline.bars):
        start, end = scale.place(bar.start), scale.place(bar.end)
        words = f"{bar.title}: {_words(bar)}"
        spans += [
            _stretch(row, scale, scale.place(span.start), scale.place(span.end), span.kind.value, words)
            for span in bar.spans or (Span(Kind.OURS, bar.start, bar.end),)
        ]
        if bar.critical:
            critical.append(_stretch(row, scale, start, end, CRITICAL, f"{bar.title}: on the critical path"))
        if bar.expected_seconds is not None:
            next_try = next((scale.place(gap.start) for gap in timeline.gaps if gap.start >= bar.end), None)
            reached = min(start + bar.expected_seconds, _shown(timeline, scale) if next_try is None else next_try)
            expected.append(_stretch(row, scale, start, reached, EXPECTED, f"{bar.title}: {bar.usual}"))
    return [
        _layer("step", spans, encoding, height=13, offset=5),
        _layer("critical", critical, encoding, height=2, offset=13),
        _layer("expected", expected, encoding, height=4, offset=17),
    ]


def _stretch(row: int, scale: TimeScale, start: float, end: float, kind: str, words: str) -> Spec:
    shown = max(end, start + LEAST_SHARE * scale.length)
    return {"row": str(row), "from": start, "to": shown, "kind": kind, "words": words}


def _layer(name: str, values: list[Spec], encoding: Spec, *, height: int, offset: int) -> Spec:
    mark = {"type": "bar", "height": height, "yOffset": offset}
    return {"name": name, "data": {"values": values}, "mark": mark, "encoding": encoding}


def _ends(timeline: Timeline, scale: TimeScale, palette: Palette) -> list[Spec]:
    """A mark where a step ended otherwise than well."""
    values = [
        {"row": str(row), "at": scale.place(bar.end), "words": f"{bar.title}: {bar.state}"}
        for row, bar in enumerate(timeline.bars)
        if bar.state != "done"
    ]
    mark = {"type": "point", "shape": "cross", "angle": 45, "size": 190, "filled": True, "yOffset": 5, "opacity": 1}
    return [
        {
            "name": "broken",
            "data": {"values": values},
            "mark": {**mark, "color": palette.bad, "stroke": palette.paper, "strokeWidth": 1},
            "encoding": {"x": {"field": "at", "type": "quantitative"}, "description": {"field": "words"}},
        }
    ]


def _labels(timeline: Timeline, palette: Palette, width: int) -> list[Spec]:
    """Over each bar the step's title on the left, and its figures on the right."""
    wide = width == WIDE
    bars = [
        {
            "row": str(row),
            "title": bar.title,
            "figures": f"{bar.figures}, {bar.usual}" if wide and bar.usual else bar.figures,
            "bad": bar.state != "done",
        }
        for row, bar in enumerate(timeline.bars)
    ]
    left = [
        {"row": str(row), "title": step.title, "figures": "not done", "bad": True}
        for row, step in enumerate(timeline.not_done, start=len(bars))
    ]
    colour = {"condition": {"test": "datum.bad", "value": palette.bad}, "value": palette.quiet}
    data = {"values": bars + left}
    text = {"type": "text", "yOffset": -12, "aria": False}
    return [
        {
            "data": data,
            "mark": {**text, "align": "left", "fontWeight": 600, "limit": 0.62 * width, "color": palette.ink},
            "encoding": {"x": {"value": 0}, "text": {"field": "title"}},
        },
        {
            "data": data,
            "mark": {**text, "align": "right"},
            "encoding": {"x": {"value": width}, "text": {"field": "figures"}, "color": colour},
        },
    ]


def _shortened_waits(scale: TimeScale, palette: Palette, rows: int) -> list[Spec]:
    """A band where the axis is shortened, with how long the wait was."""
    layers: list[Spec] = []
    for number, wait in enumerate(scale.waits):
        middle = scale.place_of((wait.start + wait.end) / 2)
        share = middle / scale.length
        words = f"{for_seconds(wait.end - wait.start)} {wait.what}{' (shortened)' if wait.is_shortened else ''}"
        place = {"from": scale.place_of(wait.start), "to": scale.place_of(wait.end), "middle": middle, "words": words}
        data = {"values": [place]}
        align = "left" if share < 0.25 else "right" if share > 0.75 else "center"
        edge = {"left": "from", "right": "to", "center": "middle"}[align]
        layers += [
            {
                "name": f"wait-{number}",
                "data": data,
                "mark": {"type": "rect", "color": palette.band, "stroke": palette.line, "strokeDash": [3, 3]},
                "encoding": {
                    "x": {"field": "from", "type": "quantitative"},
                    "x2": {"field": "to"},
                    "y": {"value": 0},
                    "y2": {"value": rows * ROW_HEIGHT},
                    "description": {"field": "words"},
                },
            },
            {
                "data": data,
                "mark": {"type": "text", "align": align, "dy": -8, "color": palette.quiet, "aria": False},
                "encoding": {
                    "x": {"field": edge, "type": "quantitative"},
                    "y": {"value": 0},
                    "text": {"field": "words"},
                },
            },
        ]
    return layers
