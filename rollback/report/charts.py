"""Charts as SVG: specified in Vega-Lite, drawn by its own library without network, script or font.

Colours are names from a palette, so that a page's style sheet can turn them for a dark screen. The library, with its
JavaScript engine, takes half a second at its first chart: it is imported when a report is written, not before.
"""

import re
from dataclasses import dataclass
from typing import Any

Spec = dict[str, Any]
"""A Vega-Lite specification, or a part of one."""

UNDRAWN = (ImportError, ValueError)
"""What `draw` raises where the library cannot be had or cannot draw it."""
WIDE, NARROW = 880, 340
"""Widths in pixels: for a screen or a page, and for a telephone."""


@dataclass(frozen=True)
class Palette:
    """Colours by their meaning."""

    ink: str
    quiet: str
    line: str
    ours: str
    azure: str
    people: str
    expected: str
    bad: str
    band: str
    paper: str


STYLED = Palette(**{name: f"var(--{name})" for name in Palette.__dataclass_fields__})
"""For charts within a page, whose style sheet says what each name means."""
FIXED = Palette(
    ink="#1c2430",
    quiet="#5b6675",
    line="#d5dbe3",
    ours="#2f6fb3",
    azure="#f0a73a",
    people="#8d6cc3",
    expected="#9aa5b3",
    bad="#c62f2f",
    band="#e9edf2",
    paper="#ffffff",
)
"""For charts that stand alone as pictures, and for a page on paper or a light screen."""
FIXED_DARK = Palette(
    ink="#e6eaf0",
    quiet="#a3afbf",
    line="#3a4452",
    ours="#69a7e8",
    azure="#d6913a",
    people="#b08fe6",
    expected="#7b8796",
    bad="#ff7b72",
    band="#242c37",
    paper="#14181e",
)
"""For a page on a dark screen."""


def draw(spec: Spec, palette: Palette, *, name: str, title: str, description: str) -> str:
    """The chart as an `<svg>` element with title and description; `name` is unique within its page.

    Raises the errors of `UNDRAWN`.
    """
    import vl_convert
    from markupsafe import escape

    svg = vl_convert.vegalite_to_svg({**spec, "config": _config(palette)}, vl_version="6.4", show_warnings=False)
    opening = re.match(r"<svg[^>]*>", svg)
    box = re.search(r'viewBox="([\d. -]+)"', svg)
    if opening is None or box is None:
        raise ValueError("the chart library did not return an SVG")
    head = (
        f'<svg viewBox="{box[1]}" role="graphics-document" '
        f'aria-labelledby="{name}-title {name}-description">'
        f'<title id="{name}-title">{escape(title)}</title><desc id="{name}-description">{escape(description)}</desc>'
    )
    return head + svg[opening.end() :]


def as_image(svg: str) -> str:
    """An SVG as a `data:` address, for places that show images only."""
    from base64 import b64encode

    alone = svg.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    return f"data:image/svg+xml;base64,{b64encode(alone.encode()).decode()}"


def _config(palette: Palette) -> Spec:
    return {
        "background": palette.paper,
        "font": "system-ui, sans-serif",
        "padding": 6,
        "view": {"stroke": None},
        "text": {"fill": palette.ink, "fontSize": 12},
        "axis": {
            "labelColor": palette.quiet,
            "titleColor": palette.quiet,
            "gridColor": palette.line,
            "gridOpacity": 0.6,
            "domainColor": palette.line,
            "tickColor": palette.line,
            "labelFontSize": 11,
            "titleFontSize": 11,
            "titleFontWeight": "normal",
        },
        "legend": {
            "labelColor": palette.ink,
            "labelFontSize": 12,
            "symbolStrokeWidth": 0,
            "symbolType": "square",
            # The reader's font may be wider than the one that the library measures with.
            "columnPadding": 36,
        },
    }
