"""Pictures of the dashboards, drawn from the answers of a real Prometheus to the panels' own queries: for docs/dashboards.md. Not Grafana's drawing.

    python tests/pictures.py http://127.0.0.1:9090 alice 10.0.0.1:9100

The address of Prometheus, the node's namespace, and the instance of its node-exporter.
"""

from __future__ import annotations

import json
import math
import pathlib
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from html import escape

import dashboards

TARGET = pathlib.Path(__file__).resolve().parents[1] / "docs/images"
# Pixels of a cell of Grafana's grid, and between two panels.
COLUMN, ROW, GAP = 46, 34, 6
SECONDS, STEP = 1800, 10
COLOURS = ("#7eb26d", "#eab839", "#6ed0e0", "#ef843c", "#e24d42", "#1f78c1", "#ba43a9", "#705da0")
SHADES = {dashboards.GREEN: "#73bf69", dashboards.YELLOW: "#fade2a", dashboards.RED: "#f2495c"}

Answer = list[tuple[dict[str, str], list[tuple[float, float]]]]


def asked(prometheus: str, path: str, **query: object) -> Answer:
    """The series of an answer: labels, and (time, value) of each sample."""
    with urllib.request.urlopen(f"{prometheus}/api/v1/{path}?{urllib.parse.urlencode(query)}", timeout=60) as answer:
        result = json.load(answer)["data"]["result"]
    series = [(each["metric"], [(float(when), float(value)) for when, value in each.get("values") or [each["value"]]]) for each in result]
    # What is divided by nothing is no number.
    numbers = [(labels, [point for point in points if math.isfinite(point[1])]) for labels, points in series]
    return [(labels, points) for labels, points in numbers if points]


def shown(value: float, unit: str) -> str:
    """A number as Grafana would write it, nearly."""
    if unit == "percentunit":
        return f"{value * 100:.3g} %"
    if unit in ("bytes", "Bps"):
        power = next(power for power in range(5, -1, -1) if abs(value) >= 1024 ** power or not power)
        return f"{value / 1024 ** power:.3g} {('', 'Ki', 'Mi', 'Gi', 'Ti', 'Pi')[power]}B{'/s' if unit == 'Bps' else ''}"
    if unit == "s":
        size, name = next(pair for pair in ((86400, "days"), (3600, "h"), (60, "min"), (1, "s"), (0, "s")) if abs(value) >= pair[0])
        return f"{value / (size or 1):.3g} {name}"
    if unit == "locale" and abs(value) >= 1e8:
        return f"{value / 1e6:,.4g} M" if value < 1e10 else f"{value / 1e6:,.0f} M"
    if unit == "locale":
        return f"{value:,.0f}" if value == int(value) or abs(value) > 100 else f"{value:,.2f}"
    text = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return text + {"celsius": " °C", "d": " days", "reqps": " /s"}.get(unit, "")


def legend(pattern: str, labels: dict[str, str]) -> str:
    """{{label}} filled in."""
    for name, value in labels.items():
        pattern = pattern.replace("{{" + name + "}}", value)
    return pattern


def words(x: float, y: float, text: str, size: int = 11, colour: str = "#9fa7b3", anchor: str = "start") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" font-size="{size}" fill="{colour}" text-anchor="{anchor}">{escape(text)}</text>'


def number(panel: dashboards.Panel, answers: list[tuple[str, Answer]], width: int, height: int) -> str:
    """A panel of one value."""
    found = [(legend(pattern, labels), points[-1][1]) for pattern, answer in answers for labels, points in answer]
    if not found:
        return words(width / 2, height / 2 + 14, "no data here", anchor="middle")
    name, value = found[0]
    colour = [shade for start, shade in panel.steps if start is None or value >= start][-1]
    text = name if panel.named else dict(panel.words).get(value) or shown(value, panel.unit)
    return words(width / 2, height / 2 + 20, text, 22 if len(text) < 13 else 14 if len(text) < 24 else 8, SHADES[colour], "middle")


def lines(panel: dashboards.Panel, answers: list[tuple[str, Answer]], width: int, height: int, start: float) -> str:
    """A panel of values over time."""
    found = [(legend(pattern, labels), points) for pattern, answer in answers for labels, points in answer][:len(COLOURS)]
    if not found:
        return words(width / 2, height / 2, "no data here", anchor="middle")
    if panel.stacked:
        below: dict[float, float] = {}
        for index, (name, points) in enumerate(found):
            below |= {when: below.get(when, 0) + value for when, value in points}
            found[index] = (name, [(when, below[when]) for when, _value in points])
    values = [value for _name, points in found for _when, value in points]
    low, high = (0.0, panel.to) if panel.to is not None else (min(0.0, *values), max(values)) if panel.stacked else (min(values), max(values))
    if high - low < 1e-9 * max(1, abs(high)):
        low, high = max(0, low - 1) if low >= 0 else low - 1, high + 1
    left, right, top, bottom = 78, width - 10, 32, height - 42
    parts = []
    for share in (0, 0.5, 1):
        y = bottom - share * (bottom - top)
        parts += [f'<line x1="{left}" x2="{right}" y1="{y:.0f}" y2="{y:.0f}" stroke="#2c3235"/>',
                  words(left - 6, y + 4, shown(low + share * (high - low), panel.unit), anchor="end")]
    for share, anchor in ((0, "start"), (0.5, "middle"), (1, "end")):
        parts.append(words(left + share * (right - left), bottom + 14, f"-{SECONDS * (1 - share) / 60:.0f} min" if share < 1 else "now", 10, anchor=anchor))
    x = float(left)
    for (name, points), colour in zip(found, COLOURS, strict=False):
        path = " ".join(f"{left + (when - start) / SECONDS * (right - left):.1f},{bottom - (value - low) / (high - low) * (bottom - top):.1f}"
                        for when, value in points)
        parts += [f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>']
        if x + 14 + 6.2 * len(name) < width:
            parts += [f'<rect x="{x:.0f}" y="{height - 17}" width="10" height="4" fill="{colour}"/>', words(x + 14, height - 11, name, 10)]
        x += 24 + 6.2 * len(name)
    return "".join(parts)


def picture(name: str, ask: Callable[..., Answer], namespace: str, instance: str, end: float) -> str:
    """One dashboard as SVG."""
    model, panels = dashboards.dashboard(name), dashboards.DASHBOARDS[name][1]
    bottom, drawn = 0, []
    for panel, place in zip(panels, (each["gridPos"] for each in model["panels"]), strict=True):
        width, height = panel.width * COLUMN - GAP, panel.height * ROW - GAP
        queries = [(pattern, dashboards.written_out(query).replace("$namespace", namespace).replace("$instance", instance))
                   for pattern, query in panel.queries]
        if panel.kind == "stat":
            content = number(panel, [(pattern, ask("query", query=query, time=end)) for pattern, query in queries], width, height)
        else:
            answers = [(pattern, ask("query_range", query=query, start=end - SECONDS, end=end, step=STEP)) for pattern, query in queries]
            content = lines(panel, answers, width, height, end - SECONDS)
        corner = f"{place['x'] * COLUMN + GAP},{place['y'] * ROW + 44}"
        drawn.append(f'<g transform="translate({corner})"><rect width="{width}" height="{height}" fill="#181b1f" rx="3"/>'
                     f'{words(10, 19, panel.title, 12, "#d8d9da")}{content}</g>')
        bottom = max(bottom, place["y"] * ROW + 44 + panel.height * ROW)
    width = dashboards.WIDTH * COLUMN + GAP
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{bottom}" viewBox="0 0 {width} {bottom}" font-family="sans-serif">'
            f'<rect width="100%" height="100%" fill="#111217"/>{words(GAP + 4, 28, model["title"] + ": " + namespace, 17, "#d8d9da")}{"".join(drawn)}</svg>\n')


def main(prometheus: str, namespace: str, instance: str) -> None:
    TARGET.mkdir(parents=True, exist_ok=True)
    end = time.time()
    for name in dashboards.DASHBOARDS:
        text = picture(name, lambda path, **query: asked(prometheus, path, **query), namespace, instance, end)
        (TARGET / f"dashboard-{name}.svg").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
