"""A plot as SVG: panels in a grid, logarithmic axes, a line with marks for each series."""

import math
from collections import namedtuple

# points: [(x, y)], both above 0
Series = namedtuple("Series", "name colour points")
Panel = namedtuple("Panel", "title x_name y_name series")

WIDTH, HEIGHT = 470, 330         # of a panel, with its margins
LEFT, RIGHT, TOP, BOTTOM = 72, 36, 58, 52
GRID, INK = "#dddddd", "#333333"


def label(value):
    return f"{value:,.0f}" if value >= 1 else f"{value:g}"


def decades(low, high):
    """Powers of ten that enclose the values, at least one decade apart."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    return [10.0 ** n for n in range(first, max(last, first + 1) + 1)]


def ticks(ends):
    """The decades, with 2 and 5 between them when there is room."""
    steps = (1, 2, 5) if len(ends) <= 3 else (1,)
    return [low * step for low in ends[:-1] for step in steps] + [ends[-1]]


def place(value, ends, start, length):
    low, high = math.log10(ends[0]), math.log10(ends[-1])
    return start + (math.log10(value) - low) / (high - low) * length


def text(x, y, words, anchor="middle", extra=""):
    words = words.replace("&", "&amp;").replace("<", "&lt;")
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {extra}>{words}</text>'


def line(x1, y1, x2, y2, colour=GRID):
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"/>'


def axes(panel, xs, ys, x_at, y_at):
    right, base = WIDTH - RIGHT, HEIGHT - BOTTOM
    out = [text(LEFT, 22, panel.title, "start", 'font-weight="bold" font-size="14"')]
    for y in ticks(ys):
        out += [line(LEFT, y_at(y), right, y_at(y)), text(LEFT - 8, y_at(y) + 4, label(y), "end")]
    for x in ticks(xs):
        out += [line(x_at(x), TOP, x_at(x), base), text(x_at(x), base + 18, label(x))]
    out += [line(LEFT, base, right, base, INK), line(LEFT, TOP, LEFT, base, INK), text((LEFT + right) / 2, HEIGHT - 12, panel.x_name)]
    middle = (TOP + base) / 2
    return out + [text(16, middle, panel.y_name, extra=f'transform="rotate(-90 16 {middle:.1f})"')]


def curve(series, x_at, y_at, index):
    places = [(x_at(x), y_at(y)) for x, y in series.points]
    out = [f'<polyline fill="none" stroke="{series.colour}" stroke-width="2" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in places)}"/>']
    out += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{series.colour}"/>' for x, y in places]
    x = LEFT + index * 170
    return out + [f'<rect x="{x}" y="34" width="14" height="4" fill="{series.colour}"/>', text(x + 20, 41, series.name, "start")]


def panel_svg(panel):
    points = [point for series in panel.series for point in series.points]
    xs, ys = decades(min(x for x, _ in points), max(x for x, _ in points)), decades(min(y for _, y in points), max(y for _, y in points))

    def x_at(x):
        return place(x, xs, LEFT, WIDTH - LEFT - RIGHT)

    def y_at(y):
        return place(y, ys, HEIGHT - BOTTOM, TOP - (HEIGHT - BOTTOM))
    curves = [part for index, series in enumerate(panel.series) for part in curve(series, x_at, y_at, index)]
    return "\n".join([*axes(panel, xs, ys, x_at, y_at), *curves])


def svg(panels, columns=2):
    rows = math.ceil(len(panels) / columns)
    body = "\n".join(f'<g transform="translate({index % columns * WIDTH} {index // columns * HEIGHT})">\n{panel_svg(panel)}\n</g>' for index, panel in enumerate(panels))
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{columns * WIDTH}" height="{rows * HEIGHT}" font-family="sans-serif" font-size="12" fill="{INK}">\n'
            f'<rect width="100%" height="100%" fill="white"/>\n{body}\n</svg>\n')
