"""Is a cluster guarded? It is asked, as a token that this process shows says nothing about whether anybody looks at it.

TLS  Ray's is mutual: who has no certificate of the cluster's authority is refused
else a request with a token that is made up ─┬─ answered ──────> it checks none
                                             └─ refused ─> it checks; no answer ─> nobody knows, which is not enough
"""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
import sys
import threading

from runners.ray.tls import uses_tls

__all__ = ["checks_tokens", "insecurity", "keeps_token", "show_token"]

PATIENCE = 20.0
TOKENS = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")

# Ray reads its token once in a process, so another one asks
ASK = """
import sys
from ray._raylet import GcsClient
GcsClient(address=sys.argv[1]).internal_kv_keys(b"dataflow", namespace=None, timeout=5)
print("answered", flush=True)
"""
REFUSED = "Unauthenticated"


def insecurity(address: str) -> str:
    """What is wrong with a cluster's authentication; "" if nothing is."""
    if uses_tls():
        return ""
    if not _has_token():
        return "would be used without authentication"
    return "" if checks_tokens(address) else "does not check tokens, or does not say so"


def keeps_token() -> bool:
    """Whether this process has a token, and nobody said whether it is to be shown. Ray shows it to a cluster that it finds on this machine,
    and to none whose address it is told."""
    kept = os.path.exists(os.path.expanduser("~/.ray/auth_token"))
    return not os.environ.get("RAY_AUTH_MODE") and (kept or any(os.environ.get(name) for name in TOKENS))


def show_token() -> None:
    """Have Ray show it from now on."""
    with contextlib.suppress(ImportError):  # a Ray that has no such rule
        from ray._private.authentication.authentication_token_setup import maybe_enable_token_auth_if_token_available

        maybe_enable_token_auth_if_token_available(warn_if_disabled=False)


def _has_token() -> bool:
    return os.environ.get("RAY_AUTH_MODE", "").lower() == "token" or keeps_token()


def checks_tokens(address: str) -> bool:
    """Whether a cluster refuses a token that nobody has given."""
    own = {name: value for name, value in os.environ.items() if name not in TOKENS}
    environment = {**own, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    with subprocess.Popen(
        [sys.executable, "-c", ASK, address], env=environment, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
    ) as asking:  # fmt: skip
        patience = threading.Timer(PATIENCE, asking.kill)
        patience.start()
        try:
            assert asking.stdout is not None
            for line in asking.stdout:
                if REFUSED in line or line.startswith("answered"):
                    return REFUSED in line
            return False
        finally:
            patience.cancel()
            asking.kill()  # Ray's client would go on trying
