"""The folder of a RocksDB store: what is looked at before it is opened, how it is opened, and who has it.

1. A folder without the file ``CURRENT`` is new to RocksDB, which would begin an empty store there. So what else lies in it is looked at
   first (`_is_new`): other people's files, or tables and logs whose ``CURRENT`` was lost, are no new store. If it is there afterwards,
   another process began the store meanwhile.
2. The families that are there are listed. One that is not ours is opened for reading only, to say whether a newer version wrote it.
3. It is opened; RocksDB locks it for this process. Who has the lock is asked of the operating system (`_holder`).
4. The mark of the format is read, or put into a new store.
"""

from __future__ import annotations

import os
import re
import struct
from contextlib import closing
from typing import TYPE_CHECKING, Any

from dataflow.errors import Report, StoreError
from dataflow.kv.embedded import FORMAT_KEY, WRONG_ADDRESS, check_format, missing_package, stamp, why
from dataflow.kv.store import FAMILIES

if TYPE_CHECKING:
    from rocksdict import Options, Rdict

__all__ = ["open_folder", "rocksdict"]

_OURS = re.compile(
    r"\d+\.(log|sst|blob|dbtmp)|MANIFEST-\d+|OPTIONS-\d+(\.dbtmp)?|LOG(\.old\.\d+)?|LOCK|IDENTITY|rocksdict-config\.json|archive"
)
_WRITE_BUFFER = 64 << 20  # a family's memory before it becomes a file; RocksDB's own choice, and four of them are 256 MiB at most
_LOG_MOST = 256 << 20  # logs to read at opening; a seldom changed family keeps old logs alive until then


def rocksdict() -> Any:
    """The package rocksdict, loaded when a store is first opened."""
    try:
        import rocksdict as package
    except ImportError as error:
        raise missing_package("rocksdict", "rocksdb") from error
    return package


def open_folder(name: str, path: str, cache: int, read_only: bool, create: bool) -> Rdict:
    """The open store; its families are checked, its format too."""
    rocks = rocksdict()
    new = _is_new(name, path, "open it once without read_only" if read_only else "" if create else WRONG_ADDRESS)
    try:
        families = set() if new else set(rocks.Rdict.list_cf(path, rocks.Options(raw_mode=True)))
    except Exception as reason:
        raise StoreError(why(name, "opened", reason)) from reason
    if foreign := families - {"default", *FAMILIES}:
        _refuse_foreign(name, path, families, foreign)
    access = rocks.AccessType.read_only(False) if read_only else rocks.AccessType.read_write()
    options = _options(rocks, cache)
    try:
        store = rocks.Rdict(path, options, column_families=dict.fromkeys(("default", *FAMILIES), options), access_type=access)
    except Exception as reason:
        raise _not_opened(name, path, reason) from reason
    try:
        _check_mark(name, store, read_only)
    except BaseException:
        store.close()
        raise
    return store


def _options(rocks: Any, cache: int) -> Options:
    """One set of options for all families, so that they share one cache."""
    table = rocks.BlockBasedOptions()
    table.set_block_cache(rocks.Cache(cache))
    table.set_bloom_filter(10, False)  # ten bits a key: one in a hundred files is read in vain
    table.set_cache_index_and_filter_blocks(True)  # else they are outside the cache, and memory grows with the store
    table.set_pin_l0_filter_and_index_blocks_in_cache(True)
    table.set_format_version(5)
    options: Options = rocks.Options(raw_mode=True)
    options.create_if_missing(True)
    options.create_missing_column_families(True)
    options.set_block_based_table_factory(table)
    options.set_write_buffer_size(_WRITE_BUFFER)
    options.set_max_total_wal_size(_LOG_MOST)
    options.set_memtable_prefix_bloom_ratio(0.02)  # most looks for a lock find none: the memory table need not be searched for it
    options.set_memtable_whole_key_filtering(True)
    options.set_compression_type(rocks.DBCompressionType.lz4())
    options.set_level_compaction_dynamic_level_bytes(True)
    options.set_max_background_jobs(2)
    options.set_bytes_per_sync(1 << 20)  # files go to disk as they are written, not all at once before an fsync of the log
    options.set_keep_log_file_num(2)
    options.set_wal_recovery_mode(rocks.DBRecoveryMode.point_in_time())  # what a crash leaves of the log's end is dropped: a prefix stays
    return options


def _is_new(name: str, path: str, refused: str) -> bool:
    """Whether the folder is for a new store. ``refused``: what to do, if none may be made."""
    current = os.path.join(path, "CURRENT")
    if os.path.exists(current):
        return False
    try:
        found = sorted(os.listdir(path))
    except FileNotFoundError:
        if refused:
            raise StoreError(Report(f"{name} cannot be opened: there is no such folder", hint=refused)) from None
        return True
    except OSError as reason:
        raise StoreError(why(name, "opened", reason)) from reason
    if os.path.exists(current):
        return False
    foreign = [file for file in found if not _OURS.fullmatch(file)]
    if foreign:
        sentence = f"{name} cannot be opened: the folder holds other files ({', '.join(foreign[:3])}), and no store"
        raise StoreError(Report(sentence, hint="give a folder of its own to a store"))
    kept = [file for file in found if re.fullmatch(r"\d+\.(sst|log)", file) and os.path.getsize(os.path.join(path, file))]
    if kept:
        sentence = f"{name} cannot be opened: it is damaged (the file CURRENT is gone, {', '.join(kept[:3])} are there)"
        raise StoreError(Report(sentence, hint="restore it from a checkpoint"))
    if refused:
        raise StoreError(Report(f"{name} cannot be opened: the folder holds no store", hint=refused))
    return True


def _refuse_foreign(name: str, path: str, families: set[str], foreign: set[str]) -> None:
    rocks = rocksdict()
    if "meta" in families:
        options = rocks.Options(raw_mode=True)
        try:
            store = rocks.Rdict(
                path, options, column_families=dict.fromkeys(families, options), access_type=rocks.AccessType.read_only(False)
            )
            with closing(store), closing(store.get_column_family("meta")) as meta:
                mark = meta.get(FORMAT_KEY)
        except Exception as reason:
            raise StoreError(why(name, "opened", reason)) from reason
        if mark is not None:
            check_format(name, mark)
    sentence = f"{name} cannot be opened: it is a RocksDB store of something else (families {', '.join(sorted(foreign)[:5])})"
    raise StoreError(Report(sentence, hint="give a folder of its own to a store"))


def _check_mark(name: str, store: Rdict, read_only: bool) -> None:
    """A store without a mark is new, or its making was cut short: then it is empty."""
    with closing(store.get_column_family("meta")) as meta:  # every open family keeps the lock of the folder
        mark = meta.get(FORMAT_KEY)
        if mark is not None:
            return check_format(name, mark)
        for family in ("default", *FAMILIES):
            with closing(store.get_column_family(family)) as entries:
                found = entries.iter()
                found.seek_to_first()
                if found.valid():
                    del found
                    sentence = f"{name} cannot be opened: it is a RocksDB store of something else (no mark, but keys in {family!r})"
                    raise StoreError(Report(sentence, hint="give a folder of its own to a store"))
                del found
        if not read_only:
            options = rocksdict().WriteOptions()
            options.sync = True
            meta.put(FORMAT_KEY, stamp(), options)
    return None


def _not_opened(name: str, path: str, reason: Exception) -> StoreError:
    text = str(reason)
    several = "for several processes on one store use LMDB: open_store('lmdb:folder')"
    if "lock hold by current process" in text:
        return StoreError(Report(f"{name} is open already in this process ({os.getpid()})", hint="close it first, or share the object"))
    if "LOCK: Resource temporarily unavailable" in text:
        return StoreError(Report(f"{name} is open in {_holder(os.path.join(path, 'LOCK'))}; one process may have it", hint=several))
    return StoreError(why(name, "opened", reason))


def _holder(lock: str) -> str:
    """Which process holds a lock on a file. Only for files of which this process holds none: to close a file lets go of its locks."""
    try:
        import fcntl

        with open(lock, "rb+") as file:
            # struct flock as 64-bit Linux lays it out: type, whence, start, length, process
            asked = struct.pack("hhxxxxqqixxxx", fcntl.F_WRLCK, 0, 0, 0, 0)
            pid = struct.unpack("hhxxxxqqixxxx", fcntl.fcntl(file.fileno(), fcntl.F_GETLK, asked))[4]
        return f"process {pid}" if pid > 0 else "another process"
    except (ImportError, OSError, struct.error):
        return "another process"
