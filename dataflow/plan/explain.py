"""A plan as text, as Mermaid, and as a drawing. Equal plans print equally, in every process."""

from __future__ import annotations

from collections.abc import Mapping

from dataflow.plan.nodes import (
    CombineValues,
    Exchange,
    Flatten,
    Fused,
    GroupByKey,
    Node,
    Operate,
    ParallelDo,
    Pipe,
    Port,
    Query,
    Read,
    Redistribute,
    Relation,
    Sort,
    TaggedOutput,
    View,
    Write,
)  # fmt: skip
from dataflow.plan.traversal import consumers, topological

__all__ = ["as_mermaid", "as_svg", "as_text", "describe"]


def describe(node: Node) -> str:
    """One node in one line."""
    match node:
        case Read(source=source):
            return f"Read {source.describe()}"
        case ParallelDo(step=step):
            return f"ParallelDo {step.described()}"
        case TaggedOutput(tag=tag):
            return f"Tagged {tag!r}"
        case GroupByKey():
            extra = [f"combine before the shuffle: {node.combiner!r}"] if node.combiner else []
            extra += ["sorted values"] if node.sort_values else []
            extra += ["own partitioner"] if node.partitioner else []
            extra += [f"{node.partitions} partitions"] if node.partitions else []
            return "GroupByKey" + (f" [{'; '.join(extra)}]" if extra else "")
        case CombineValues(aggregator=aggregator):
            return f"CombineValues {aggregator!r}"
        case Flatten():
            return "Flatten"
        case Exchange():
            from dataflow.plan.explain_relational import exchanged

            return exchanged(node)
        case Sort(order=order) if order is not None:
            from dataflow.plan.explain_relational import shown_keys

            return f"Sort by {shown_keys(order)}"
        case Sort():
            key = getattr(node.key, "__qualname__", "").replace("<locals>.", "") if node.key else "the element"
            return f"Sort by {key}{' descending' if node.descending else ''}"
        case Redistribute():
            return f"Redistribute [{node.partitions} partitions]"
        case View():
            return f"View as {node.kind}"
        case Operate():
            return f"Operate {getattr(node.fn, '__qualname__', 'function').replace('<locals>.', '')}"
        case Write(sink=sink):
            return f"Write {sink.describe()}"
        case Fused():
            return f"Fused {_pipe(node.pipe)}"
        case Port():
            return f"Port {node.index}"
        case Relation() | Query():
            from dataflow.plan.explain_relational import described

            return described(node)
        case _:
            raise AssertionError(f"no text for {type(node).__name__}")


def _pipe(pipe: Pipe) -> str:
    text = " > ".join(step.step.described() for step in pipe.steps)
    text = f"[{pipe.tag!r}] {text}" if pipe.tag else text
    ends = ([f"#{pipe.port}"] if pipe.port is not None else []) + [_pipe(branch) for branch in pipe.branches]
    if len(ends) == 1 and pipe.branches == ():
        return f"{text} -> {ends[0]}" if text else ends[0]
    return f"{text} -> ({' | '.join(ends)})" if text else f"({' | '.join(ends)})"


def as_text(outputs: tuple[Node, ...], notes: Mapping[int, str] | None = None) -> str:
    """The plan as an indented tree, outputs first; a node with several readers is printed once and then named. ``notes`` to be added to
    nodes, by their id."""
    notes = notes or {}
    readers = consumers(outputs)
    lines: list[str] = []
    seen: set[int] = set()
    stack: list[tuple[Node, int]] = [(node, 0) for node in reversed(outputs)]
    while stack:
        node, depth = stack.pop()
        shared = len(readers[id(node)]) > 1
        name = f"  @{node.label}" if shared else ""
        if id(node) in seen:
            lines.append(f"{'  ' * depth}^ {node.label}")
            continue
        seen.add(id(node))
        note = f"  {notes[id(node)]}" if id(node) in notes else ""
        lines.append(f"{'  ' * depth}{describe(node)}{note}{name}")
        if isinstance(node, Query):
            from dataflow.plan.explain_relational import query_lines

            lines.extend(f"{'  ' * (depth + 1)}{line}" for line in query_lines(node, notes))
        stack.extend((child, depth + 1) for child in reversed(node.inputs))
    return "\n".join(lines)


def as_mermaid(outputs: tuple[Node, ...]) -> str:
    """The plan as a Mermaid flowchart, which notebooks and code hosts draw."""
    from html import escape  # 6 ms, and only a drawing needs it

    order = topological(outputs)
    number = {id(node): index for index, node in enumerate(order)}
    lines = ["flowchart TD"]
    for node in order:
        text = escape(describe(node)).replace('"', "'")
        shape = ("[(", ")]") if isinstance(node, (Read, Write)) else ("[", "]")
        lines.append(f'  n{number[id(node)]}{shape[0]}"{text}"{shape[1]}')
    for node in order:
        lines.extend(f"  n{number[id(child)]} --> n{number[id(node)]}" for child in node.inputs)
    return "\n".join(lines)


def as_svg(outputs: tuple[Node, ...]) -> str:
    """The plan as a drawing by layers: each node stands one row below its lowest input."""
    from html import escape

    order = topological(outputs)
    layer: dict[int, int] = {}
    rows: dict[int, list[Node]] = {}
    for node in order:
        layer[id(node)] = 1 + max((layer[id(child)] for child in node.inputs), default=-1)
        rows.setdefault(layer[id(node)], []).append(node)
    texts = {id(node): _cut(describe(node), 58) for node in order}
    width = {id(node): 18 + 7 * len(texts[id(node)]) for node in order}
    total = max((sum(width[id(n)] + 20 for n in row) for row in rows.values()), default=40)
    place: dict[int, tuple[float, float]] = {}
    for depth, row in rows.items():
        x = (total - sum(width[id(n)] + 20 for n in row)) / 2 + 10
        for node in row:
            place[id(node)] = (x, depth * 56 + 8)
            x += width[id(node)] + 20
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{total:.0f}" height="{len(rows) * 56 + 8}" font-family="monospace" font-size="11">'
    ]
    for node in order:
        x, y = place[id(node)]
        for child in node.inputs:
            cx, cy = place[id(child)]
            parts.append(
                f'<path d="M{cx + width[id(child)] / 2:.0f} {cy + 28:.0f}L{x + width[id(node)] / 2:.0f} {y:.0f}" '
                'stroke="#888" fill="none"/>'
            )
    for node in order:
        x, y = place[id(node)]
        colour = "#dbeafe" if isinstance(node, (Read, Write)) else "#f3f4f6"
        parts.append(f'<rect x="{x:.0f}" y="{y:.0f}" width="{width[id(node)]}" height="28" rx="5" fill="{colour}" stroke="#555"/>')
        parts.append(f'<text x="{x + 9:.0f}" y="{y + 18:.0f}">{escape(texts[id(node)])}</text>')
    return "\n".join([*parts, "</svg>"])


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
