"""Preflight: everything that can be known to fail, found from metadata alone, all of it at once, before any work."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from typing import Any

from dataflow.errors import PreflightError, Report, shorten
from dataflow.io.files import LocalFiles
from dataflow.io.staging import exists_already, holds
from dataflow.physical.phases import PhysicalPlan
from dataflow.plan.nodes import GroupByKey, Node, Operate, ParallelDo, Read, Sort, View, Write
from dataflow.plan.traversal import topological

__all__ = ["PreflightError", "preflight"]


def preflight(plan: tuple[Node, ...], physical: PhysicalPlan) -> list[Report]:
    """The problems of a plan, in plan order."""
    problems: list[Report] = []
    targets: dict[str, Node] = {}
    for node in topological(plan):
        match node:
            case Read(source=source) if hasattr(source, "check"):
                problems += [_at(node, report) for report in _checked(source)]
            case Write(sink=sink) if hasattr(sink, "path"):
                path = _place(sink)
                if path in targets:
                    problems.append(
                        _at(node, Report(f"two outputs go to {sink.path}", hint=f"the other is declared at {targets[path].origin}"))
                    )
                for other, writer in targets.items():
                    if path.startswith(f"{other}/") or other.startswith(f"{path}/"):
                        text = f"the output {sink.path} and the output {other} lie one inside the other"
                        problems.append(_at(node, Report(text, hint=f"the other is declared at {writer.origin}")))
                targets.setdefault(path, node)
                problems += [_at(node, report) for report in _check_target(sink)]
            case _:
                pass
        for name, function in _functions(node):
            report = _unpicklable(name, function)
            if report is not None:
                problems.append(_at(node, report))
    return problems


def _checked(source: Any) -> list[Report]:
    """A source's own check; trouble of the file system that may pass is given time to."""
    for pause in (0.05, 0.2, None):
        try:
            return list(source.check())
        except OSError as error:
            if error.errno not in (errno.EIO, errno.EAGAIN, errno.ETIMEDOUT, errno.ESTALE) or pause is None:
                name = errno.errorcode.get(error.errno or 0, "?")
                return [
                    Report(
                        f"an input cannot be read: {error.strerror or error} (errno {error.errno}, {name})",
                        location=str(error.filename or ""),
                    )
                ]
            time.sleep(pause)
    raise AssertionError


def _at(node: Node, report: Report) -> Report:
    from dataclasses import replace

    return replace(report, steps=(node.label,), declared=str(node.origin), declared_text=node.origin.text())


def _place(sink: Any) -> str:
    try:
        return str(sink.place())
    except (AttributeError, ImportError, ValueError, OSError):  # it is said below why that cannot be reached
        return str(sink.path)


def _check_target(sink: Any) -> Iterator[Report]:
    if "\0" in sink.path or not sink.path.strip():
        yield Report(f"not a path: {sink.path!r}")
        return
    if ".." in sink.path.replace("\\", "/").split("/"):
        sink_path = os.path.abspath(sink.path)
        if not os.path.isdir(os.path.dirname(sink_path)):
            yield Report(f"the output path goes through a folder that does not exist: {sink.path}")
            return
    try:
        fs, target = sink.files()
    except (ImportError, ValueError, OSError) as error:
        yield Report(f"the output {sink.path} cannot be reached: {error}")
        return
    if isinstance(fs, LocalFiles):
        if any(len(os.fsencode(part)) > 200 for part in target.split("/")):
            yield Report(f"the output path has a name that is too long: {shorten(target, 120)}")
            return
        if len(os.fsencode(os.path.abspath(target))) > 3900:  # 4096, less the names of ours below it
            yield Report(f"the output path is too long as a whole: {shorten(target, 120)}")
            return
        parent = os.path.dirname(os.path.abspath(target))
        while not os.path.lexists(parent):
            parent = os.path.dirname(parent)
        if os.path.exists(target) and not os.path.isdir(target):
            yield Report(f"the output {sink.path} is a file, and outputs are folders", hint="name a folder, or remove the file")
            return
        if not os.path.isdir(parent):
            yield Report(f"the output {sink.path} would be below {parent}, which is not a folder")
            return
        if not os.access(parent, os.W_OK | os.X_OK) or not _writable(parent):
            yield Report(f"the output {sink.path} cannot be written: no permission in {parent}")
            return
    if sink.mode == "error" and holds(fs, target):
        yield exists_already(sink.path)
    elif sink.mode != "append" and isinstance(fs, LocalFiles) and f"{os.getcwd()}/".startswith(f"{os.path.realpath(target)}/"):
        yield Report(f"the output {sink.path} is the current folder, or holds it, and would be replaced", hint="name a folder in it")
    if sink.format == "avro":
        try:
            import fastavro as _  # noqa: F401 - only whether it is there
        except ImportError:
            yield Report("writing Avro needs: pip install 'dataflow-engine[avro]'")


def _writable(folder: str) -> bool:
    """Whether the file system takes writes; a read-only mount says no only when asked."""
    return not os.statvfs(folder).f_flag & os.ST_RDONLY


def _functions(node: Node) -> Iterator[tuple[str, Any]]:
    match node:
        case ParallelDo(step=step):
            yield "function", step.fn
            if step.kind in ("combine", "merge"):
                yield "aggregator", step.arg
        case GroupByKey():
            yield "partitioner", node.partitioner
            yield "sort key", node.sort_key
            yield "aggregator", node.combiner
        case Sort(key=key):
            yield "sort key", key
        case Operate(fn=fn):
            yield "function", fn
        case View(default=default):
            yield "default", default
        case _:
            pass


def _unpicklable(kind: str, function: Any) -> Report | None:
    """What keeps a function from travelling to a worker, by the name of the variable that does."""
    if function is None or _by_name(function):
        return None
    import cloudpickle

    try:
        cloudpickle.dumps(function)
        return None
    except Exception as error:
        name = getattr(function, "__qualname__", type(function).__name__)
        culprit = _culprit(function)
        if culprit:
            text = (
                f"the {kind} {name} cannot be sent to a worker: "
                f"it uses {culprit[0]!r}, a {type(culprit[1]).__name__}, which cannot be pickled"
            )
            hint = f"make {culprit[0]!r} inside the function, or in a DoFn's setup"
        else:
            text, hint = f"the {kind} {name} cannot be sent to a worker: {error}", ""
        return Report(text, hint=hint)


def _by_name(function: Any) -> bool:
    """Whether a function travels as its name alone: it is importable and not the user's script's."""
    import builtins
    import sys

    module = getattr(function, "__module__", None)
    if getattr(function, "__self__", None) in (str, bytes, dict, int, float) or getattr(function, "__objclass__", None) in (
        str,
        bytes,
        dict,
    ):
        return True
    return (
        module in sys.modules
        and module in ("builtins", "operator", "math")
        and getattr(builtins, getattr(function, "__name__", ""), None) is function
    )


def _culprit(function: Any) -> tuple[str, Any] | None:
    """The captured variable or attribute that does not pickle."""
    import cloudpickle

    for name, value in _captured(function):
        try:
            cloudpickle.dumps(value)
        except Exception:
            inner = _culprit(value) if callable(value) and not isinstance(value, type) else None
            return inner or (name, value)
    return None


def _captured(function: Any) -> Iterator[tuple[str, Any]]:
    function = getattr(function, "__func__", function)
    code = getattr(function, "__code__", None)
    if code is not None:
        for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=False):
            try:
                yield name, cell.cell_contents
            except ValueError:  # not assigned yet
                continue
        for name in code.co_names:
            if name in function.__globals__:
                yield name, function.__globals__[name]
        for name, value in zip(code.co_varnames, function.__defaults__ or (), strict=False):
            yield name, value
    for name, value in vars(function).items() if hasattr(function, "__dict__") else ():
        yield f"self.{name}" if code is None else name, value
