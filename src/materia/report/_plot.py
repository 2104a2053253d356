"""A small plot drawn as SVG text: crisp, themed by the page's style sheet, readable without scripts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from markupsafe import Markup, escape

RIGHT, TOP, BOTTOM = 14, 14, 44
_SAME = 1e-9  # of their size: values this near to each other are one
_RAMP = ((76, 95, 213), (20, 150, 160), (90, 160, 44), (217, 154, 0), (213, 84, 42))


def round_colour(number: int, total: int) -> str:
    """Colour of a round, from cool (first) to warm (last); legible on light and dark paper."""
    place = (len(_RAMP) - 1) * (number / (total - 1) if total > 1 else 0)
    first = min(int(place), len(_RAMP) - 2)
    share = place - first
    mixed = (round(a + share * (b - a)) for a, b in zip(_RAMP[first], _RAMP[first + 1], strict=True))
    return "#{:02x}{:02x}{:02x}".format(*mixed)


def padded(values: Sequence[float], share: float = 0.07) -> tuple[float, float]:
    """Limits that leave some air around the values, also around values that are one but for rounding."""
    low, high = min(values), max(values)
    size = max(abs(low), abs(high), 1.0)
    air = share * (high - low if high - low > _SAME * size else size)
    return low - air, high + air


def ticks(low: float, high: float, n: int = 5) -> list[float]:
    """Round numbers between two limits, about ``n`` of them."""
    raw = (high - low) / n
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * s for s in (1, 2, 2.5, 5, 10) if power * s >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(k * step, 12) for k in range(first, math.floor(high / step + 1e-9) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Decimal logarithms of 1, 2, 5 times the powers of ten between two limits; fewer over many decades."""
    steps = (1.0, 2.0, 5.0) if high - low < 2.5 else (1.0,)
    decades = range(math.floor(low), math.ceil(high) + 1)
    return [t for k in decades for s in steps if low <= (t := round(k + math.log10(s), 12)) <= high]


@dataclass
class Plot:
    """Axes and what is drawn in them.

    Attributes:
        x, y: limits in data units; with ``log`` both are decimal logarithms.
        x_label, y_label: with units.
        alt: what the figure shows, for readers who do not see it.
        width, height: of the view box; left: room for the labels of y.
        log: limits are decimal logarithms; ticks are printed as numbers.
        integer_x: ticks of x at whole numbers.
    """

    x: tuple[float, float]
    y: tuple[float, float]
    x_label: str
    y_label: str
    alt: str
    width: int = 400
    height: int = 330
    left: int = 54
    log: bool = False
    integer_x: bool = False
    _parts: list[Markup] = field(default_factory=list)

    def px(self, value: float) -> float:
        share = (value - self.x[0]) / (self.x[1] - self.x[0])
        return round(self.left + share * (self.width - self.left - RIGHT), 1)

    def py(self, value: float) -> float:
        share = (value - self.y[0]) / (self.y[1] - self.y[0])
        return round(self.height - BOTTOM - share * (self.height - TOP - BOTTOM), 1)

    def band(self, x: tuple[float, float], y: tuple[float, float], css: str = "target") -> None:
        """A shaded rectangle, cut to the limits; infinite edges reach the frame."""
        left, right = self.px(max(x[0], self.x[0])), self.px(min(x[1], self.x[1]))
        top, bottom = self.py(min(y[1], self.y[1])), self.py(max(y[0], self.y[0]))
        if right > left and bottom > top:
            self._add(
                '<rect class="%s" x="%s" y="%s" width="%s" height="%s"/>',
                css,
                left,
                top,
                round(right - left, 1),
                round(bottom - top, 1),
            )

    def cell(self, x: tuple[float, float], y: tuple[float, float], opacity: float) -> None:
        """One field of a density map."""
        left, top = self.px(x[0]), self.py(y[1])
        size = (round(self.px(x[1]) - left, 1), round(self.py(y[0]) - top, 1))
        self._add('<rect class="cell" x="%s" y="%s" width="%s" height="%s" opacity="%s"/>', left, top, *size, opacity)

    def line(self, points: Sequence[tuple[float, float]], css: str = "line", colour: str | None = None) -> None:
        path = " ".join(f"{self.px(a)},{self.py(b)}" for a, b in points)
        self._add('<polyline class="%s" points="%s" %s/>', css, path, _stroke(colour))

    def ribbon(self, x: Sequence[float], low: Sequence[float], high: Sequence[float], colour: str) -> None:
        """The area between two curves over the same x, as of an interval."""
        there, back = list(zip(x, high, strict=True)), list(zip(x, low, strict=True))[::-1]
        path = " ".join(f"{self.px(a)},{self.py(b)}" for a, b in there + back)
        self._add('<polygon class="ribbon" points="%s" %s/>', path, _stroke(colour))

    def dot(
        self,
        x: float,
        y: float,
        *,
        css: str = "dot",
        colour: str | None = None,
        radius: float = 4,
        tip: str = "",
        shape: str = "circle",
    ) -> None:
        """A mark; ``tip`` shows when it is pointed at."""
        a, b = self.px(x), self.py(y)
        fill = Markup('style="--c:%s"') % colour if colour else Markup()
        title = Markup("<title>%s</title>") % tip if tip else Markup()
        if shape == "cross":
            r = radius
            d = f"M{a - r},{b - r}L{a + r},{b + r}M{a - r},{b + r}L{a + r},{b - r}"
            self._add('<path class="%s cross" d="%s" %s>%s</path>', css, d, fill, title)
        elif shape == "diamond":
            r = radius * 1.25
            d = f"M{a},{b - r}L{a + r},{b}L{a},{b + r}L{a - r},{b}Z"
            self._add('<path class="%s" d="%s" %s>%s</path>', css, d, fill, title)
        else:
            self._add('<circle class="%s" cx="%s" cy="%s" r="%s" %s>%s</circle>', css, a, b, radius, fill, title)

    def bar(self, x: float, low: float, high: float, width: float, css: str, tip: str = "") -> None:
        left, right, top, bottom = self.px(x - width / 2), self.px(x + width / 2), self.py(high), self.py(low)
        self._add(
            '<rect class="bar %s" x="%s" y="%s" width="%s" height="%s"><title>%s</title></rect>',
            css,
            left,
            top,
            round(right - left, 1),
            round(bottom - top, 1),
            tip,
        )

    def text(self, x: float, y: float, words: str, css: str = "note", anchor: str = "start", dy: float = 0) -> None:
        self._add(
            '<text class="%s" x="%s" y="%s" text-anchor="%s">%s</text>',
            css,
            self.px(x),
            round(self.py(y) + dy, 1),
            anchor,
            words,
        )

    def svg(self) -> Markup:
        frame = Markup().join(self._axes())
        return Markup('<svg class="plot" viewBox="0 0 %s %s" role="img" aria-label="%s">%s%s</svg>') % (
            self.width,
            self.height,
            self.alt,
            frame,
            Markup().join(self._parts),
        )

    def _add(self, template: str, *values: object) -> None:
        self._parts.append(Markup(template) % tuple(escape(v) for v in values))  # noqa: S704 - templates are ours

    def _axes(self) -> list[Markup]:
        left, right, top, bottom = self.left, self.width - RIGHT, TOP, self.height - BOTTOM
        parts = []
        x_ticks = log_ticks(*self.x) if self.log else ticks(*self.x)
        if self.integer_x:
            first, last = math.ceil(self.x[0]), math.floor(self.x[1])
            stride = max(1, math.ceil((last - first + 1) / 12))
            x_ticks = [float(k) for k in range(first, last + 1, stride)]
        tick = Markup('<text class="tick" x="%s" y="%s" text-anchor="middle">%s</text>')
        parts += [tick % (self.px(value), bottom + 17, self._tick(value, x_ticks)) for value in x_ticks]
        y_ticks = log_ticks(*self.y) if self.log else ticks(*self.y)
        for value in y_ticks:
            at = self.py(value)
            parts.append(Markup('<path class="grid" d="M%s,%sH%s"/>') % (left, at, right))
            parts.append(
                Markup('<text class="tick" x="%s" y="%s" text-anchor="end">%s</text>')
                % (left - 7, at + 4, self._tick(value, y_ticks))
            )
        parts.append(Markup('<path class="axis" d="M%s,%sV%sH%s"/>') % (left, top, bottom, right))
        middle = (left + right) / 2
        parts.append(
            Markup('<text class="label" x="%s" y="%s" text-anchor="middle">%s</text>')
            % (middle, self.height - 6, self.x_label)
        )
        parts.append(
            Markup('<text class="label" transform="translate(13 %s) rotate(-90)" text-anchor="middle">%s</text>')
            % ((top + bottom) / 2, self.y_label)
        )
        return parts

    def _tick(self, value: float, among: Sequence[float]) -> str:
        if self.log:
            return f"{10**value:,.12g}".replace(",", "\u2009")
        step = among[1] - among[0] if len(among) > 1 else 1.0
        decimals = max(0, -math.floor(math.log10(abs(step)) + 1e-9))
        if decimals and abs(step * 10**decimals - round(step * 10**decimals)) > 1e-6:
            decimals += 1
        return f"{value + 0.0:.{decimals}f}".replace("-", "−")


def _stroke(colour: str | None) -> Markup:
    return Markup('style="--c:%s"') % colour if colour else Markup()
