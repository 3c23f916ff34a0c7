"""``index.html``: one page for people, which loads nothing else."""

from html import escape
from string import Template

from netlab import diagram
from netlab.encounter import Outcome
from netlab.heatmap import style
from netlab.matrix import Cell
from netlab.results import MatrixResult, Report, ScenarioResult
from netlab.svg import COLOURS, FAINT, FONT, INK, LINE, PAPER

PAGE = Template(
    """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>meshwg lab</title>
<style>
body { font: 15px/1.5 $font; color: $ink; background: $paper;
       max-width: 1020px; margin: 2rem auto; padding: 0 1.2rem; }
h1 { font-size: 1.7rem; margin-bottom: .2rem; }
h2 { font-size: 1.2rem; margin: 2.4rem 0 .4rem; }
.faint, small { color: $faint; }
.verdict { font-weight: 600; }
.good { color: $good; } .bad { color: $bad; }
svg { max-width: 100%; height: auto; }
pre { background: #f6f7f9; padding: .8rem 1rem; border-radius: 6px; overflow: auto;
      font-size: 12.5px; line-height: 1.35; }
ul.steps { list-style: none; padding-left: 0; }
ul.steps li::before { content: "✓ "; color: $good; font-weight: 600; }
ul.steps li.failed::before { content: "✗ "; color: $bad; }
table { border-collapse: collapse; font-size: 13px; width: 100%; }
th, td { text-align: left; padding: .3rem .6rem .3rem 0; border-bottom: 1px solid $line;
         vertical-align: top; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
.dot { display: inline-block; width: .75em; height: .75em; border-radius: 2px; }
summary { cursor: pointer; margin: .8rem 0; }
section { border-top: 1px solid $line; }
</style>
<h1>meshwg in the lab</h1>
<p class="faint">$small_print</p>
$verdict
$matrix
$scenarios
</html>
"""
)


_DASHES = {
    "direct": COLOURS["direct"],
    "predicted": COLOURS["prediction"],
    "found by trying": COLOURS["birthday"],
    "over TCP": COLOURS["tcp"],
    "forwarded or relayed": diagram.RELAYED,
}
_LEGEND = (
    "<p><small>Cables are solid, ways through them dashed: {}.</small></p>".format(
        ", ".join(
            f'<b style="color:{colour}">{words}</b>'
            for words, colour in _DASHES.items()
        )
    )
)


def render(report: Report, picture: str | None) -> str:
    """Return the page.

    :param picture: the heat map, as SVG.
    """
    parts = []
    if report.matrices:
        last = report.matrices[-1]
        parts.append(_matrix(last, picture or ""))
    return PAGE.substitute(
        font=FONT,
        ink=INK,
        paper=PAPER,
        faint=FAINT,
        line=LINE,
        good=COLOURS["direct"],
        bad=COLOURS["failed"],
        small_print=escape(report.small_print),
        verdict=_verdict(report),
        matrix="\n".join(parts),
        scenarios="\n".join([_LEGEND, *map(_scenario, report.scenarios)]),
    )


def _verdict(report: Report) -> str:
    kind = "good" if report.is_good else "bad"
    return f'<p class="verdict {kind}">{escape(" ".join(report.verdicts))}</p>'


def _matrix(matrix: MatrixResult, picture: str) -> str:
    kinds = "".join(
        f"<tr><td>{escape(kind.name)}</td><td>{escape(kind.seen)}</td>"
        f"<td>{escape(kind.punching)}</td></tr>"
        for kind in matrix.kinds
    )
    rows = "".join(_row(*item) for item in sorted(matrix.outcomes.items(), key=_rank))
    return f"""
<section><h2>Every kind of NAT against every other</h2>
<p>One mesh, two nodes of each kind, each behind its own router of Linux network
namespaces and nftables. What is possible follows from how the two routers map and
filter; each square shows what the two nodes found.</p>
{picture}
<details><summary>The kinds, and where they are seen</summary>
<table><tr><th>Kind</th><th>Seen at</th><th>Hole punching behind it</th></tr>{kinds}
</table></details>
<details><summary>All {len(matrix.outcomes)} pairs</summary>
<table><tr><th></th><th>Pair</th><th>Path</th><th class="number">First packet</th>
<th class="number">Direct</th><th class="number">Lost</th><th>Why</th></tr>{rows}
</table></details></section>"""


def _rank(item: tuple[Cell, Outcome]) -> tuple[bool, str]:
    cell, outcome = item
    return outcome.as_expected, str(cell)


def _row(cell: Cell, outcome: Outcome) -> str:
    path = outcome.method.value if outcome.method else "none"
    why = outcome.problem or outcome.reason
    return (
        f'<tr><td><span class="dot" style="background:{COLOURS[style(outcome)]}">'
        f"</span></td><td>{escape(str(cell))}</td>"
        f"<td>{escape(path)} <small>{escape(outcome.detail)}</small></td>"
        f'<td class="number">{_seconds(outcome.first)}</td>'
        f'<td class="number">{_seconds(outcome.direct)}</td>'
        f'<td class="number">{outcome.lost} of {outcome.sent}</td>'
        f"<td>{escape(why)}</td></tr>"
    )


def _scenario(result: ScenarioResult) -> str:
    steps = "".join(
        f'<li class="{"failed" if step.error else "done"}">{escape(step.sentence)} '
        f"<small>{_seconds(step.seconds)}</small></li>"
        for step in result.steps
    )
    drawing = ""
    if result.topology is not None:
        drawing = diagram.draw(result.topology, result.title)
    error = f'<p class="bad">{escape(result.error)}</p>' if result.error else ""
    return f"""
<section><h2>{escape(result.title)} <small>{escape(result.name)}</small></h2>
{drawing}
<ul class="steps">{steps}</ul>{error}
<details><summary>About this scenario</summary>
<pre>{escape(result.story)}</pre></details>
</section>"""


def _seconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.2f} s"
