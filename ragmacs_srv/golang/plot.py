"""What GOGC would do becomes a picture: memory above, the collector's work below, GOGC from left to right.

Curves are told by their dashes and their names beside the colour.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final
from xml.etree.ElementTree import Element, SubElement

from .canvas import BLUE, CHARACTER, ORANGE, SKY, Theme, blank, px, write, written
from .costs import amount
from .whatif import Outcome, Program, curve, what_if

LEAST, MOST = 25, 800  # GOGC at the ends
LEAST_WORK: Final = 1e-6  # at the top of a diagram: less is as good as nothing
TICKS: Final = (25, 50, 100, 200, 400, 800)
POINTS: Final = 120  # of a curve
LEFT, WIDTH, RIGHT = 92.0, 470.0, 150.0  # pixels
TOP, HIGH, BETWEEN, LOW, BOTTOM = 62.0, 190.0, 54.0, 130.0, 64.0  # pixels
RULES: Final = ".curve { fill: none; stroke-width: 2.5 } .grid { stroke-opacity: 0.25 } .middle { text-anchor: middle }"


@dataclass(frozen=True, slots=True)
class _Panel:
    """Where one diagram stands, and which value is at its top."""

    top: float
    height: float
    most: float

    def y(self, value: float) -> float:
        return self.top + self.height * (1 - min(value, self.most) / self.most)


def svg(program: Program, chosen: Outcome, theme: Theme = "auto") -> str:
    """The picture of what GOGC does to PROGRAM under the limit of CHOSEN, which is marked."""
    outcomes = curve(program, chosen.limit, [round(_gogc(n / POINTS)) for n in range(POINTS + 1)])
    height = TOP + HIGH + BETWEEN + LOW + BOTTOM
    name = "off" if chosen.gogc is None else str(chosen.gogc)
    root = blank(LEFT + WIDTH + RIGHT, height, f"GOGC against memory and GC CPU, at GOGC={name}", theme, RULES)
    write(root, LEFT, 26, f"GOGC, with {amount(program.live, 'bytes')} of live heap", "title")
    _memory(root, program, chosen, outcomes)
    _work(root, chosen, outcomes)
    _mark(root, program, chosen)
    write(root, LEFT + WIDTH / 2, height - 14, "GOGC (each step doubles it)", "faint middle")
    return written(root)


def _memory(root: Element, program: Program, chosen: Outcome, outcomes: Sequence[Outcome]) -> None:
    goals = [float(each.goal or 0) for each in outcomes]
    limit = chosen.limit
    most = max([*goals, program.live, *([limit] if limit and limit < 4 * max(goals) else [])]) * 1.08 or 1.0
    panel = _Panel(TOP, HIGH, most)
    _axes(root, panel, "heap", lambda value: amount(value, "bytes"), 1024 ** max(0, int(math.log(most, 1024))))
    _curve(root, panel, outcomes, goals, BLUE, "", "heap at its peak")
    _level(root, panel, float(program.live), SKY, "6 4", "live heap", goals[-1])
    if limit and limit <= most:
        y = panel.y(limit)
        SubElement(root, "line", _line(LEFT, y, LEFT + WIDTH, y) | {"class": "ruler"})
        write(root, LEFT + 6, y - 6, f"memory limit {amount(limit, 'bytes')}", "name")


def _work(root: Element, chosen: Outcome, outcomes: Sequence[Outcome]) -> None:
    shares = all(each.cpu is not None for each in outcomes)
    values = [(each.cpu if shares else each.relative) or 0.0 for each in outcomes]
    panel = _Panel(TOP + HIGH + BETWEEN, LOW, max(*values, LEAST_WORK) * 1.08)
    label = _share if shares else _times
    _axes(
        root,
        panel,
        "GC CPU" if shares else "GC work, that of GOGC=100 without a limit is 1",
        label,
        1 if not shares else 0.01,
    )
    _curve(root, panel, outcomes, values, ORANGE, "2 3", "GC CPU" if shares else "GC work")
    for gogc in TICKS:
        write(root, _x(gogc), panel.top + panel.height + 20, str(gogc), "faint middle")


def _share(value: float) -> str:
    return f"{100 * value:.3g} %"


def _times(value: float) -> str:
    return f"{value:.3g}x"


def _axes(root: Element, panel: _Panel, title: str, label: Callable[[float], str], unit: float) -> None:
    write(root, LEFT, panel.top - 10, title, "name")
    step = _step(panel.most, unit)
    for n in range(int(panel.most / step) + 1):
        y = panel.y(n * step)
        SubElement(root, "line", _line(LEFT, y, LEFT + WIDTH, y) | {"class": "axis grid"})
        write(root, LEFT - 8, y + 4, label(n * step), "faint end")
    for gogc in TICKS:
        x = _x(gogc)
        SubElement(root, "line", _line(x, panel.top, x, panel.top + panel.height) | {"class": "axis grid"})
    bottom = panel.top + panel.height
    SubElement(root, "line", _line(LEFT, bottom, LEFT + WIDTH, bottom) | {"class": "axis"})


def _step(most: float, unit: float) -> float:
    """A round step that divides MOST into 3 to 6 parts, in multiples of UNIT times a power of ten."""
    rough = most / 4 / unit
    power: float = 10 ** math.floor(math.log10(rough)) if rough > 0 else 1
    return unit * power * float(min((1, 2, 5, 10), key=lambda each: abs(each - rough / power)))


def _curve(
    root: Element,
    panel: _Panel,
    outcomes: Sequence[Outcome],
    values: Sequence[float],
    colour: str,
    dash: str,
    name: str,
) -> None:
    points = [
        f"{px(_x(each.gogc))} {px(panel.y(value))}"
        for each, value in zip(outcomes, values, strict=True)
        if each.gogc is not None
    ]
    path = SubElement(root, "path", d="M " + " L ".join(points), stroke=colour, attrib={"class": "curve"})
    if dash:
        path.set("stroke-dasharray", dash)
    write(root, LEFT + WIDTH + 8, panel.y(values[-1]) + 4, name, "name")


def _level(root: Element, panel: _Panel, value: float, colour: str, dash: str, name: str, beside: float) -> None:
    """A horizontal line, named at its right end, unless what is BESIDE has its name there."""
    y = panel.y(value)
    line = SubElement(root, "line", _line(LEFT, y, LEFT + WIDTH, y) | {"stroke": colour, "class": "curve"})
    line.set("stroke-dasharray", dash)
    lower = 16 if abs(panel.y(beside) - y) < 14 else 4
    write(root, LEFT + WIDTH + 8, y + lower, name, "name")


def _mark(root: Element, program: Program, chosen: Outcome) -> None:
    """What was asked for: a line at its GOGC, and its numbers."""
    if chosen.gogc is None:
        return
    x, bottom = _x(chosen.gogc), TOP + HIGH + BETWEEN + LOW
    SubElement(root, "line", _line(x, TOP, x, bottom) | {"class": "axis", "stroke-dasharray": "1 3"})
    usual = what_if(program, chosen.gogc, chosen.limit)
    said = f"GOGC={chosen.gogc}: {amount(usual.goal or 0, 'bytes')}"
    if usual.cpu is not None:
        said += f", {_share(usual.cpu)} CPU"
    elif usual.relative is not None:
        said += f", {_times(usual.relative)}"
    long = len(said) * CHARACTER
    write(root, min(max(LEFT, x - long / 2), LEFT + WIDTH - long), 46, said, "faint")


def _gogc(part: float) -> float:
    return float(LEAST * (MOST / LEAST) ** part)


def _x(gogc: float) -> float:
    inside = min(max(gogc, LEAST), MOST)
    return LEFT + WIDTH * math.log(inside / LEAST) / math.log(MOST / LEAST)


def _line(x1: float, y1: float, x2: float, y2: float) -> dict[str, str]:
    return {"x1": px(x1), "y1": px(y1), "x2": px(x2), "y2": px(y2)}
