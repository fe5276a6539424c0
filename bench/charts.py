"""Charts as one picture."""

import io
from collections.abc import Sequence
from itertools import zip_longest
from typing import Final

from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture
from matplotlib.ticker import FuncFormatter, NullLocator

from bench.results import Chart

COLUMNS: Final = 2
WIDE_IN: Final = 6.0
HIGH_IN: Final = 4.0
MARKERS: Final = "osD^vP"

# The same figures make the same bytes, and text stays text.
rcParams["svg.hashsalt"] = "bench"
rcParams["svg.fonttype"] = "none"


def drawn(charts: Sequence[Chart], title: str) -> bytes:
    """An SVG with all of them: the medians as lines, from the least to the most as bars."""
    lines = -(-len(charts) // COLUMNS)
    picture = Picture(figsize=(COLUMNS * WIDE_IN, lines * HIGH_IN), layout="constrained")
    picture.suptitle(title)
    places = picture.subplots(lines, COLUMNS, squeeze=False).flat
    for axes, chart in zip_longest(places, charts):
        if chart is None:
            axes.set_axis_off()
        else:
            _draw(axes, chart)
    content = io.BytesIO()
    picture.savefig(content, format="svg", metadata={"Date": None})
    return content.getvalue()


def _draw(axes: Axes, chart: Chart) -> None:
    for marker, (name, points) in zip(MARKERS, chart.lines.items(), strict=False):
        x, seen = zip(*points, strict=True)
        axes.errorbar(
            x,
            [one.median for one in seen],
            yerr=[
                [one.median - one.least for one in seen],
                [one.most - one.median for one in seen],
            ],
            marker=marker,
            capsize=3,
            label=name,
        )
    axes.set(title=chart.title, xlabel=chart.x, ylabel=chart.y, xscale="log")
    axes.set(ylim=(0, None)) if chart.flat else axes.set(yscale="log")
    axes.set_xticks(sorted({x for points in chart.lines.values() for x, _ in points}))
    axes.xaxis.set_minor_locator(NullLocator())
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _at: f"{value:,g}"))
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
