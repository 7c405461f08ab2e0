"""A picture of a schedule: a bar for each petition from its start to its end, as SVG."""

from __future__ import annotations

import heapq
from xml.etree.ElementTree import Element, SubElement, tostring

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from orcha._core.forecast.workload import Foretold

_WIDTH_PIXELS = 1_200
_LANE_PIXELS = 18
_MARGIN_PIXELS = 24
_TICKS = 8
_MIN_BAR_PIXELS = 1.0
_MIN_LABEL_PIXELS = 24.0
_COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#bbbbbb")
"""Colours that people who confuse red and green can tell apart (Paul Tol's bright scheme)."""


def svg(planned: Sequence[Foretold], title: str) -> str:
    """Draw the petitions that start, each in the first lane that is free, coloured by their groups."""
    begun = [each for each in planned if each.started is not None and each.ended is not None]
    first = min((each.started or 0.0 for each in begun), default=0.0)
    length = max((each.ended or 0.0 for each in begun), default=0.0) - first or 1.0
    lanes = list(in_lanes(begun))
    height = (max(lanes, default=0) + 1) * _LANE_PIXELS + 2 * _MARGIN_PIXELS
    size = {"width": str(_WIDTH_PIXELS), "height": str(height), "viewBox": f"0 0 {_WIDTH_PIXELS} {height}"}
    root = Element("svg", {"xmlns": "http://www.w3.org/2000/svg", **size, "font-family": "sans-serif"})
    SubElement(root, "title").text = title
    scale = (_WIDTH_PIXELS - 2 * _MARGIN_PIXELS) / length
    for tick in range(_TICKS + 1):
        _tick(root, length * tick / _TICKS, scale, height)
    groups = sorted({each.job.group or "" for each in begun})
    for each, lane in zip(begun, lanes, strict=True):
        _bar(root, each, lane, (first, scale), _COLOURS[groups.index(each.job.group or "") % len(_COLOURS)])
    return tostring(root, encoding="unicode") + "\n"


def in_lanes(begun: Iterable[Foretold]) -> Iterator[int]:
    """Give the lane of each petition, in the order of their starts: the lowest lane that is free by then.

    >>> from orcha._core.forecast.workload import Job, Foretold
    >>> times = [(0, 10), (0, 5), (5, 8), (10, 11)]
    >>> list(in_lanes([Foretold(Job("a", 0, 1), start, end) for start, end in times]))
    [0, 1, 1, 0]
    """
    free: list[int] = []
    taken: list[tuple[float, int]] = []
    count = 0
    for each in begun:
        while taken and taken[0][0] <= (each.started or 0.0):
            heapq.heappush(free, heapq.heappop(taken)[1])
        if free:
            lane = heapq.heappop(free)
        else:
            lane, count = count, count + 1
        heapq.heappush(taken, (each.ended or 0.0, lane))
        yield lane


def _tick(root: Element, seconds: float, scale: float, height: int) -> None:
    from orcha._cli import render

    place = f"{_MARGIN_PIXELS + seconds * scale:.1f}"
    ends = {"y1": str(_MARGIN_PIXELS), "y2": str(height - _MARGIN_PIXELS)}
    SubElement(root, "line", {"x1": place, "x2": place, **ends, "stroke": "#dddddd"})
    label = {"x": place, "y": str(_MARGIN_PIXELS - 8), "font-size": "11", "text-anchor": "middle", "fill": "#555555"}
    SubElement(root, "text", label).text = render.elapsed(seconds)


def _bar(root: Element, each: Foretold, lane: int, view: tuple[float, float], colour: str) -> None:
    from orcha._cli import render

    first, scale = view
    started, ended = each.started or 0.0, each.ended or 0.0
    left, width = _MARGIN_PIXELS + (started - first) * scale, max(_MIN_BAR_PIXELS, (ended - started) * scale)
    top = _MARGIN_PIXELS + lane * _LANE_PIXELS
    place = {"x": f"{left:.1f}", "y": str(top + 1), "width": f"{width:.1f}", "height": str(_LANE_PIXELS - 2)}
    bar = SubElement(root, "rect", {**place, "fill": colour, "stroke": "#ffffff", "stroke-width": "0.5"})
    name = render.plain(each.job.id)
    waited = render.elapsed(max(0.0, started - each.job.submitted))
    SubElement(bar, "title").text = f"{name}: waited {waited}, ran {render.elapsed(ended - started)}"
    if width >= _MIN_LABEL_PIXELS:
        label = {"x": f"{left + 3:.1f}", "y": str(top + _LANE_PIXELS - 6), "font-size": "10", "fill": "#ffffff"}
        SubElement(root, "text", label).text = name[: int(width / 7)]


__all__ = ["in_lanes", "svg"]
