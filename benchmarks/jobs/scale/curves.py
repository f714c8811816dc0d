"""Draws the curves of scenarios: ``curves.py OUTPUT.svg NAME=RESULT.json …``, each result as ``simulated.py`` prints it."""

import json
import sys
from pathlib import Path

WIDTH, HEIGHT, LEFT, TOP = 760, 360, 60, 20
COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf")


def drawn(results: dict[str, dict]) -> str:
    """An SVG: of each scenario the share of tasks that are done, over time."""
    longest = max(found["parts"]["simulated"] for found in results.values())
    right, bottom = WIDTH - 20, HEIGHT - 50
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
    ]
    for share in (0, 0.25, 0.5, 0.75, 1):
        y = bottom - share * (bottom - TOP)
        parts.append(f'<line x1="{LEFT}" y1="{y:.0f}" x2="{right}" y2="{y:.0f}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.0f}" text-anchor="end">{share:.0%}</text>')
    for number in range(6):
        seconds = longest * number / 5
        parts.append(f'<text x="{LEFT + (right - LEFT) * number / 5:.0f}" y="{bottom + 18}" text-anchor="middle">{seconds:,.0f} s</text>')
    for colour, (name, found) in zip(COLOURS, results.items(), strict=False):
        tasks = found["tasks"]
        done = [sum(column) / tasks for column in zip(*found["curve"].values(), strict=True)]
        step = found["parts"]["simulated"] / longest * (right - LEFT) / (len(done) - 1)
        points = " ".join(f"{LEFT + step * at:.1f},{bottom - min(share, 1) * (bottom - TOP):.1f}" for at, share in enumerate(done))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"><title>{name}</title></polyline>')
    for number, name in enumerate(results):
        x, y = LEFT + number % 3 * 235, bottom + 34 + number // 3 * 14
        parts.append(f'<line x1="{x}" y1="{y - 4}" x2="{x + 18}" y2="{y - 4}" stroke="{COLOURS[number]}" stroke-width="3"/>')
        parts.append(f'<text x="{x + 24}" y="{y}">{name}</text>')
    return "\n".join([*parts, "</svg>", ""])


def main(output: str, *named: str) -> None:
    results = {}
    for pair in named:
        name, _, path = pair.partition("=")
        results[name] = json.loads(Path(path).read_text())
    Path(output).write_text(drawn(results))


if __name__ == "__main__":
    main(*sys.argv[1:])
