"""The command line of key-value stores and their transactions: ``dataflow kv …``.

Exit codes: 0 done; 1 the store cannot be opened, or has nothing of the kind; 2 wrong usage.
"""

from __future__ import annotations

import ast
import contextlib
import json
import math
import shutil
import sys
from collections.abc import Generator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from dataflow.txn import Database, Reader

__all__ = ["kv"]

ADDRESS = click.argument("address")
AT = click.option("--at", type=int, metavar="TIME", help="As of a time, if the database keeps history. Default: now.")
LITERAL = click.option("--literal", is_flag=True, help="Rows are Python literals, as 7 or \"('shop', 7)\". Default: texts.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def kv() -> None:
    """Look at and look after a database of transactions.

    ADDRESS is a folder (RocksDB), lmdb:FOLDER, postgresql://… or bigtable://…; several PostgreSQL servers are joined by commas.
    """
    most = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)  # numbers are shown, however long
    click.get_current_context().call_on_close(lambda: sys.set_int_max_str_digits(most))


@kv.command()
@ADDRESS
@click.option("--limit", type=click.IntRange(0), default=100, show_default=True, help="At most so many rows; 0: all.")
@AT
def ls(address: str, limit: int, at: int | None) -> None:
    """List the rows, and the columns each has."""
    with _snapshot(address, at) as cells:
        rows = _rows(cells)
        for row, columns in islice(rows, limit) if limit else rows:
            _echo(f"{_shown(row)}\t{', '.join(map(_shown, columns))}")
        if limit and next(rows, None) is not None:
            click.echo(f"(the first {limit} rows; --limit 0 lists all)", err=True)


def _rows(cells: Reader) -> Generator[tuple[Any, list[str]]]:
    row, columns = None, list[str]()
    for (this, column), _ in cells.scan():
        if columns and this != row:
            yield row, columns
            columns = []
        row = this
        columns.append(column)
    if columns:
        yield row, columns


@kv.command()
@ADDRESS
@click.argument("row")
@click.argument("column", required=False)
@LITERAL
@AT
def get(address: str, row: str, column: str | None, literal: bool, at: int | None) -> None:
    """Print a cell's value, or the columns of a row as JSON. Exit code 1 if there is none."""
    with _snapshot(address, at) as cells:
        found = cells.row(_row(row, literal))
        if column is not None:
            if column not in found:
                raise click.ClickException(f"cell [{row!r}, {column!r}] has no value")
            _echo(found[column] if isinstance(found[column], str) else _json(found[column]))
        elif not found:
            raise click.ClickException(f"row {row!r} has no columns")
        else:
            _echo(_json(found))


@kv.command()
@ADDRESS
@click.option("--start", help="The first row.")
@click.option("--stop", help="The row before which to stop.")
@click.option("--column", "-c", help="Only this column.")
@click.option("--limit", type=click.IntRange(0), default=100, show_default=True, help="At most so many cells; 0: all.")
@LITERAL
@AT
def scan(address: str, start: str | None, stop: str | None, column: str | None, limit: int, literal: bool, at: int | None) -> None:
    """Print cells in order, a line of JSON each: row, column, value."""
    bounds = {name: _row(text, literal) for name, text in (("start", start), ("stop", stop)) if text is not None}
    with _snapshot(address, at) as cells:
        found = cells.scan(column=column, **bounds)
        for (row, name), value in islice(found, limit) if limit else found:
            _echo(_json([row, name, value]))
        if limit and next(found, None) is not None:
            click.echo(f"(the first {limit} cells; --limit 0 prints all)", err=True)


@kv.command()
@ADDRESS
def locks(address: str) -> None:
    """List the locks that stand: cells of transactions that are committing, or whose process died."""
    with _database(address) as db:
        for (row, column), lock in db.locks():
            _echo(_json({"row": row, "column": column, **lock}))


@kv.command()
@ADDRESS
def resolve(address: str) -> None:
    """Finish or undo what dead processes left; waits for the life of their locks."""
    with _database(address) as db:
        click.echo(f"{db.resolve_locks()} cells freed")


@kv.command()
@ADDRESS
@click.option("--before", type=int, metavar="TIME", help="Keep what snapshots of this time and later see. Default: what those in use see.")
def gc(address: str, before: int | None) -> None:
    """Remove versions that no snapshot can see any more; waits seconds for what dead processes left."""
    with _database(address) as db:
        safe, removed = db.engine.collect(before)
        click.echo(f"{removed} versions removed; the oldest time that can be read is now {safe}")


@kv.command()
@ADDRESS
@click.option("--json", "as_json", is_flag=True, help="One line of JSON, for monitors.")
def stats(address: str, as_json: bool) -> None:
    """Show times, locks, pending notifications and sizes."""
    with _database(address) as db:
        found = {name: value for name, value in db.stats().items() if name not in ("commits", "conflicts")}
    if as_json:
        click.echo(json.dumps(found))
        return
    for name, value in found.items():
        if value is not None:
            text = ", ".join(f"{family} {count:,}" for family, count in value.items()) if isinstance(value, dict) else value
            click.echo(f"{name:<12} {text:,}" if isinstance(text, int) else f"{name:<12} {text}")


@kv.command()
@ADDRESS
@click.argument("folder", type=click.Path())
def backup(address: str, folder: str) -> None:
    """Copy an embedded store, as it is now, to a new FOLDER."""
    with _database(address) as db:
        db.backup(folder)
    click.echo(f"copied to {folder}")


@kv.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False))
@ADDRESS
def restore(folder: str, address: str) -> None:
    """Make a new store at ADDRESS from the copy in FOLDER."""
    with _copied(folder, _target(folder, address)), _database(address) as db:
        now = db.now()
    click.echo(f"restored to {address}, as of time {now}")


def _target(folder: str, address: str) -> Path:
    """The folder that a copy is restored to. Raises `ClickException` if it is no copy for that address."""
    from dataflow.kv.opening import files_at, kind_in

    with _said():
        if "," in address:
            raise click.ClickException(f"{address} is no store in a folder\n  hint     a copy is one store, restored to one")
        kind, target = files_at(address)
    held = kind_in(folder)
    if held is None:
        raise click.ClickException(f"{folder} holds no copy of a store\n  hint     copies are made by: dataflow kv backup")
    if held != kind:
        raise click.ClickException(
            f"{folder} is a copy of a store of {held}:, and {address} is of {kind}:\n  hint     restore it to '{held}:{target}'"
        )
    return Path(target)


@contextlib.contextmanager
def _copied(folder: str, target: Path) -> Generator[None]:
    """A copy of a folder, made under another name until it is whole. It is taken away again if what is done with it fails."""
    from dataflow.kv.embedded import to_disk, unfinished

    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise click.ClickException(f"{target} is there already; a copy is restored to a new folder")
    target = target.absolute()
    if target.resolve() == Path.cwd():
        raise click.ClickException(f"a copy takes the place of its folder, and this is run in {target}\n  hint     name a folder within it")
    missing = [parent for parent in target.parents if not parent.exists()]
    ours: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        ours = Path(unfinished(target))
        shutil.copytree(folder, ours)
        to_disk(*ours.iterdir(), ours)
        ours = ours.rename(target)  # in place of an empty folder, too
        to_disk(target.parent)
        yield
    except BaseException as error:
        if ours is not None:
            shutil.rmtree(ours, ignore_errors=True)
        with contextlib.suppress(OSError):  # another may have put something there
            for parent in missing:
                parent.rmdir()
        if isinstance(error, OSError):
            raise click.ClickException(f"{folder} cannot be copied to {target}: {' '.join(str(error).split())[:300]}") from None
        raise


@contextlib.contextmanager
def _said() -> Generator[None]:
    """What the engine raises is told without its trace."""
    from dataflow.errors import DataflowError

    try:
        yield
    except DataflowError as error:
        raise click.ClickException(str(error)) from None


@contextlib.contextmanager
def _database(address: str) -> Generator[Database]:
    """The database that is at an address: a slip of the pen makes none."""
    from dataflow.txn import Database

    several = address.split(",")
    with _said(), Database.open(several if len(several) > 1 else address, create=False) as db:
        yield db


@contextlib.contextmanager
def _snapshot(address: str, at: int | None) -> Generator[Reader]:
    with _database(address) as db, db.snapshot() if at is None else db.as_of(at) as cells:
        yield cells


def _row(text: str, literal: bool) -> Any:
    if not literal:
        return text
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise click.UsageError(f"{text!r} is no Python literal") from None


def _shown(row: Any) -> str:
    """As it is, if it is a text that nobody can take for something else; else as a literal, for ``--literal``."""
    if not isinstance(row, str) or not row.isprintable():
        return repr(row)
    try:
        ast.literal_eval(row)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return row or repr(row)
    return repr(row)


def _echo(text: str) -> None:
    click.echo(text.encode("utf-8", "backslashreplace").decode())  # half a pair of surrogates is text for Python, and for no terminal


def _json(value: Any) -> str:
    return json.dumps(_finite(value), default=_plain, ensure_ascii=False, allow_nan=False)


def _finite(value: Any) -> Any:
    """JSON has no word for numbers that are none, or infinite: they are texts."""
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    return [*map(_finite, value)] if isinstance(value, list | tuple) else value


def _plain(value: Any) -> str:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
