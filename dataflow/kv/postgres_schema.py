"""What is laid down in a PostgreSQL server: a table a family, a counter, and the function that makes conditional changes.

    schema "dataflow"
      data, lock, write, notify, meta    key bytea primary key, value bytea
      timestamps                         a sequence
      lives                              `postgres_lives`
      mutate_1(…)                        conditions and edits of a thousand mutations as arrays of bytes

The one thing that SQL makes hard is `Absent`: no row of a table stands for "nothing is here", so there is nothing to lock, and two
transactions that both see nothing would both write. So each row of ours has a guard, an advisory lock numbered by a hash of the row.
`mutate_1` does, in this order:

1. It takes the guards of all rows, in the order of their numbers, so that no two calls wait for each other in a circle. They are
   let go after the commit is on disk. Rows that share a number only wait for each other without need.
2. It checks the conditions, one statement for each family that has any. It must be a function and no single statement: at READ
   COMMITTED each statement within sees what was committed before *that statement* began, so here all that was done by those it waited for.
3. It makes the edits of the mutations that hold, one statement a family. A mutation that puts a key only if it is not there (a lock)
   is spared that check: the key is put first, "on conflict do nothing", and where nothing was done the mutation does not hold.

The format is written beside the data, in the "meta" family; what was laid down by a newer version is left alone.
"""

from __future__ import annotations

import zlib

from psycopg import sql

from dataflow.kv.postgres_lives import table_of_lives
from dataflow.kv.store import FAMILIES

__all__ = ["FORMAT", "FORMAT_KEY", "guard_class", "laying_down"]

FORMAT = 1
FORMAT_KEY = b"format"

# Arguments are arrays in the order of the families: x_ends[f] is where those of family f - 1 end, and those of f begin behind it.
_CHECK = """
  if a_ends[{high}] > a_ends[{low}] then
    for i in select a.at from unnest({a_at}, {a_start}, {a_stop}) a(at, start, stop)
        where (select true from {table} t where t.key >= a.start and t.key < a.stop limit 1) loop
      made[i] := false;
    end loop;
  end if;
  if e_ends[{high}] > e_ends[{low}] then
    for i in select e.at from unnest({e_at}, {e_key}, {e_value}) e(at, key, value)
        where (select t.value from {table} t where t.key = e.key) is distinct from e.value loop
      made[i] := false;
    end loop;
  end if;"""

_TAKE = """
  if f_ends[{high}] > f_ends[{low}] then
    with new as (
      insert into {table} as t (key, value)
        select f.key, f.value from unnest({f_at}, {f_key}, {f_value}) f(at, key, value) where made[f.at]
        on conflict do nothing returning t.key
    ) select array_agg(new.key) into taken from new;
    if coalesce(cardinality(taken), 0) < f_ends[{high}] - f_ends[{low}] then
      for i in select f.at from unnest({f_at}, {f_key}) f(at, key) where f.key not in (select unnest(taken)) loop
        made[i] := false;
      end loop;
    end if;
  end if;"""

_EDIT = """
  if p_ends[{high}] > p_ends[{low}] then
    insert into {table} as t (key, value)
      select p.key, p.value from unnest({p_at}, {p_key}, {p_value}) p(at, key, value) where made[p.at]
      on conflict (key) do update set value = excluded.value;
  end if;
  if d_ends[{high}] > d_ends[{low}] then
    delete from {table} t using unnest({d_at}, {d_key}) d(at, key) where made[d.at] and t.key = d.key;
  end if;"""

_FUNCTION = """
create or replace function {name}(
  guards int4[], durable bool, count int4,
  a_ends int4[], a_at int4[], a_start bytea[], a_stop bytea[],
  e_ends int4[], e_at int4[], e_key bytea[], e_value bytea[],
  f_ends int4[], f_at int4[], f_key bytea[], f_value bytea[],
  p_ends int4[], p_at int4[], p_key bytea[], p_value bytea[],
  d_ends int4[], d_at int4[], d_key bytea[]
) returns bool[] language plpgsql volatile as $body$
declare
  made bool[] := array_fill(true, array[count]);
  taken bytea[];
  i int4;
begin
  perform pg_advisory_xact_lock({guard}, g) from unnest(guards) g;
  if not durable then
    perform set_config('synchronous_commit', 'off', true);
  end if;
{steps}
  return made;
end $body$"""
_SLICED = [f"{x}_{part}" for x, parts in (("a", ("start", "stop")), *((x, ("key", "value")) for x in "efpd")) for part in ("at", *parts)]

_TIMESTAMPS = """
create or replace function {name}(n int8) returns int8 language plpgsql volatile as $body$
declare
  first int8;
begin
  perform pg_advisory_xact_lock({counter}, 0);
  first := nextval({sequence});
  perform setval({sequence}, first + n - 1);
  return first;
end $body$"""


def guard_class(schema: str) -> int:
    """The number that sets the advisory locks of a schema apart from those of others in the same database."""
    return _signed(zlib.crc32(b"dataflow guard " + schema.encode()))


def _signed(number: int) -> int:
    return number - (1 << 32) if number >> 31 else number


def laying_down(schema: str) -> list[sql.Composed]:
    """The statements that make the schema, to be run in one transaction; they leave what is there.

    The counter is moved under a lock that is held until the commit is on disk. A sequence alone writes its log only every 32
    numbers, and another session may be given a number whose log is still on its way to the disk: after a crash it would come twice.
    """
    here = sql.Identifier(schema)
    tables = {code: sql.Identifier(schema, family) for code, family in enumerate(FAMILIES)}
    steps = sql.SQL("").join(
        sql.SQL(part).format(
            low=sql.Literal(code + 1),
            high=sql.Literal(code + 2),
            table=table,
            **{name: sql.SQL(f"{name}[{name[0]}_ends[{code + 1}] + 1 : {name[0]}_ends[{code + 2}]]") for name in _SLICED},  # pyright: ignore[reportArgumentType]
        )
        for part in (_CHECK, _TAKE, _EDIT)
        for code, table in tables.items()
    )
    return [
        sql.SQL("select pg_advisory_xact_lock({}, 1)").format(sql.Literal(guard_class(schema))),
        sql.SQL(
            "do $body$ begin if not exists (select from pg_namespace where nspname = {}) then create schema {}; end if; end $body$"
        ).format(sql.Literal(schema), here),
        *(
            sql.SQL("create table if not exists {} (key bytea primary key, value bytea not null)").format(table)
            for table in tables.values()
        ),
        sql.SQL("create sequence if not exists {}").format(sql.Identifier(schema, "timestamps")),
        table_of_lives(schema),
        sql.SQL(_FUNCTION).format(
            name=sql.Identifier(schema, f"mutate_{FORMAT}"), guard=sql.Literal(guard_class(schema)), steps=steps
        ),
        sql.SQL(_TIMESTAMPS).format(
            name=sql.Identifier(schema, f"next_timestamps_{FORMAT}"),
            counter=sql.Literal(_signed(zlib.crc32(b"dataflow counter " + schema.encode()))),
            sequence=sql.Literal(sql.Identifier(schema, "timestamps").as_string(None)),
        ),
        sql.SQL("insert into {} values ({}, {}) on conflict do nothing").format(
            tables[FAMILIES.index("meta")], sql.Literal(FORMAT_KEY), sql.Literal(str(FORMAT).encode())
        ),
    ]  # fmt: skip
