"""Elements of SVG, and the colours that all drawings share."""

from html import escape

FONT = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', Helvetica, sans-serif"

COLOURS = {
    "direct": "#2f9e6e",
    "prediction": "#3f7fc4",
    "birthday": "#e3a02f",
    "tcp": "#8a63c2",
    "relay": "#b9c0cb",
    "failed": "#cf3346",
}
INK, FAINT, LINE, PAPER = "#1d2430", "#667085", "#d5dae2", "#ffffff"


def document(width: float, height: float, body: list[str], title: str) -> str:
    """Return a whole drawing on white paper."""
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" role="img" '
            f'viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
            f'height="{height:g}" font-family="{escape(FONT)}">',
            f"<title>{escape(title)}</title>",
            f'<rect width="{width:g}" height="{height:g}" fill="{PAPER}"/>',
            *body,
            "</svg>",
        ]
    )


def text(
    x: float,
    y: float,
    words: str,
    *,
    size: float = 12,
    fill: str = INK,
    anchor: str = "start",
    bold: bool = False,
    rotate: float = 0,
    halo: str = "",
) -> str:
    """Return a line of text whose baseline is at ``y``.

    :param halo: the colour of an outline, for text on top of lines.
    """
    weight = ' font-weight="600"' if bold else ""
    turn = f' transform="rotate({rotate:g} {x:g} {y:g})"' if rotate else ""
    around = f' stroke="{halo}" stroke-width="5" paint-order="stroke"' if halo else ""
    return (
        f'<text x="{x:g}" y="{y:g}" font-size="{size:g}" fill="{fill}" '
        f'text-anchor="{anchor}"{weight}{turn}{around}>{escape(words)}</text>'
    )


def box(
    x: float,
    y: float,
    width: float,
    height: float,
    *,
    fill: str,
    stroke: str = "none",
    radius: float = 3,
    tip: str = "",
) -> str:
    """Return a rectangle, with a tooltip if one is given."""
    shape = (
        f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" '
        f'rx="{radius:g}" fill="{fill}" stroke="{stroke}"'
    )
    return f"{shape}><title>{escape(tip)}</title></rect>" if tip else f"{shape}/>"


def line(x1: float, y1: float, x2: float, y2: float, stroke: str = FAINT) -> str:
    """Return a thin straight line."""
    return (
        f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" stroke="{stroke}" '
        'stroke-width="1.5"/>'
    )
