"""Pictures for a model's card, as SVG written by hand: no library's mood in the bytes.

Law: the same numbers give the same file; coordinates have one decimal.

Used by train.py.
"""

from html import escape

WIDTH, HEIGHT = 460, 340
LEFT, TOP, RIGHT, BOTTOM = 56, 34, 14, 44
BLUE, GREY, INK = "#2463a8", "#b9c0c8", "#222"


class Plot:
    """A frame with axes from 0 to `x_max` and `y_max`; things are drawn in data coordinates."""

    def __init__(self, title: str, x_title: str, y_title: str, x_max: float, y_max: float):
        self.x_max, self.y_max = x_max, y_max
        self.parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
            f'font-family="sans-serif" font-size="11" fill="{INK}">',
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
            f'<text x="{LEFT}" y="20" font-size="14">{escape(title)}</text>',
            f'<text x="{(LEFT + WIDTH - RIGHT) / 2:.1f}" y="{HEIGHT - 8}" text-anchor="middle">{escape(x_title)}</text>',
            f'<text transform="translate(14 {(TOP + HEIGHT - BOTTOM) / 2:.1f}) rotate(-90)" text-anchor="middle">'
            f'{escape(y_title)}</text>']

    def x(self, value: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * value / self.x_max

    def y(self, value: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / self.y_max

    def tick_x(self, value: float, text: str) -> None:
        self.parts.append(f'<text x="{self.x(value):.1f}" y="{HEIGHT - BOTTOM + 15}" text-anchor="middle">{text}</text>')

    def tick_y(self, value: float, text: str) -> None:
        y = self.y(value)
        self.parts.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" stroke="#e6e9ec"/>')
        self.parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{text}</text>')

    def line(self, points, colour: str, dashed: bool = False) -> None:
        path = " ".join(f"{self.x(x):.1f},{self.y(y):.1f}" for x, y in points)
        dash = ' stroke-dasharray="4 4"' if dashed else ""
        self.parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.6"{dash}/>')

    def dot(self, x: float, y: float, radius: float) -> None:
        self.parts.append(f'<circle cx="{self.x(x):.1f}" cy="{self.y(y):.1f}" r="{radius:.1f}" fill="{BLUE}"/>')

    def bar(self, x: float, width: float, y: float) -> None:
        left, top = self.x(x), self.y(y)
        self.parts.append(f'<rect x="{left:.1f}" y="{top:.1f}" width="{self.x(x + width) - left:.1f}" '
                          f'height="{HEIGHT - BOTTOM - top:.1f}" fill="{BLUE}"/>')

    def text(self, x: float, y: float, text: str) -> None:
        self.parts.append(f'<text x="{self.x(x):.1f}" y="{self.y(y) - 4:.1f}" text-anchor="middle">{escape(text)}</text>')

    def done(self) -> str:
        return "\n".join([*self.parts, "</svg>\n"])


def reliability(table: list) -> str:
    """Said against happened; a dot's area is its share of the moments."""
    plot = Plot("Said against happened", "probability said", "share that converted", 1.0, 1.0)
    for at in range(0, 11, 2):
        plot.tick_x(at / 10, f"{at / 10:.1f}")
        plot.tick_y(at / 10, f"{at / 10:.1f}")
    plot.line([(0, 0), (1, 1)], GREY, dashed=True)
    points = [(row["mean_probability"], row["positive_share"]) for row in table]
    plot.line(points, BLUE)
    for row, (x, y) in zip(table, points):
        plot.dot(x, y, 2.5 + 9.0 * row["share_of_rows"] ** 0.5)
    return plot.done()


def lift(table: list) -> str:
    """How many times the base rate each tenth has."""
    highest = max([1.0] + [row["lift"] for row in table])
    plot = Plot("Lift by tenth, highest scores first", "tenth of the moments", "times the base rate", 10.0, highest * 1.1)
    for number in range(5):
        plot.tick_y(highest * number / 4, f"{highest * number / 4:.1f}")
    for row in table:
        plot.bar(row["tenth"] - 0.9, 0.8, row["lift"])
        plot.text(row["tenth"] - 0.5, row["lift"], f"{row['lift']:.2f}")
        plot.tick_x(row["tenth"] - 0.5, str(row["tenth"]))
    plot.line([(0, 1), (10, 1)], GREY, dashed=True)
    return plot.done()


def features(names: list, mean_absolute, count: int = 12) -> str:
    """The strongest features by mean absolute contribution."""
    order = sorted(range(len(names)), key=lambda at: (-mean_absolute[at], names[at]))[:count]
    highest = max(float(mean_absolute[order[0]]), 1e-9)
    row, left, width = 24, 190, WIDTH - 190 - 60
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {50 + row * len(order)}" width="{WIDTH}" '
             f'height="{50 + row * len(order)}" font-family="sans-serif" font-size="11" fill="{INK}">',
             f'<rect width="{WIDTH}" height="{50 + row * len(order)}" fill="#fff"/>',
             '<text x="14" y="20" font-size="14">What weighs most: mean absolute contribution</text>']
    for place, at in enumerate(order):
        y, long = 36 + row * place, width * float(mean_absolute[at]) / highest
        parts.append(f'<text x="{left - 6}" y="{y + 13}" text-anchor="end">{escape(names[at])}</text>')
        parts.append(f'<rect x="{left}" y="{y}" width="{long:.1f}" height="18" fill="{BLUE}"/>')
        parts.append(f'<text x="{left + long + 5:.1f}" y="{y + 13}">{float(mean_absolute[at]):.3f}</text>')
    return "\n".join([*parts, "</svg>\n"])
