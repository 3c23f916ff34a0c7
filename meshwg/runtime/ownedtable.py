"""A table of nftables that no other program can remove, while this process runs.

The kernel knows such tables since Linux 5.12: they belong to the netlink socket that
made them, ``nft flush ruleset`` passes them over, and they go when that socket is
closed, however the process ends. The program nft closes its socket when it has done
what it was told; its library, which has no other use here, keeps it open.
"""

import ctypes
import logging
import threading
from functools import lru_cache

LIBRARY = "libnftables.so.1"
_REPLACED = "table inet {name} {{ flags owner; }}\ndelete table inet {name}\n{text}"

logger = logging.getLogger(__name__)


class OwnedTable:
    """One table of the family inet, from :meth:`put` to :meth:`close`.

    Each call takes some milliseconds, and may come from any thread.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._context: int | None = None
        self._is_closed = False
        self._lock = threading.Lock()

    def put(self, body: str) -> bool:
        """Have the table with this content, in place of what it had before.

        :param body: chains and sets.
        :returns: whether the system can have such a table, and took it.
        """
        library = _library()
        if library is None:
            return False
        table = f"table inet {self._name} {{\n  flags owner;\n{body}\n}}\n"
        text = _REPLACED.format(name=self._name, text=table).encode()
        with self._lock:
            if self._context is None and not self._is_closed:
                self._context = _new_context(library)
            return self._context is not None and _run(library, self._context, text)

    def close(self) -> None:
        """Remove it, for good."""
        library = _library()
        with self._lock:
            self._is_closed = True
            if library is not None and self._context is not None:
                library.nft_ctx_free(self._context)
            self._context = None


@lru_cache(maxsize=1)
def _library() -> ctypes.CDLL | None:
    """Return the library of nft, ``None`` where there is none."""
    try:
        library = ctypes.CDLL(LIBRARY)
        library.nft_ctx_new.restype = ctypes.c_void_p
        library.nft_ctx_new.argtypes = [ctypes.c_uint32]
        library.nft_ctx_free.restype = None
        library.nft_ctx_get_error_buffer.restype = ctypes.c_char_p
        library.nft_run_cmd_from_buffer.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
        for name in (
            *("nft_ctx_free", "nft_ctx_buffer_output", "nft_ctx_buffer_error"),
            "nft_ctx_get_error_buffer",
        ):
            getattr(library, name).argtypes = [ctypes.c_void_p]
    except (OSError, AttributeError) as error:
        logger.debug("There is no %s: %s", LIBRARY, error)
        return None
    return library


def _run(library: ctypes.CDLL, context: int, commands: bytes) -> bool:
    """Have commands carried out; tell whether they were."""
    if library.nft_run_cmd_from_buffer(context, commands) == 0:
        return True
    said: bytes = library.nft_ctx_get_error_buffer(context) or b""
    lines = said.decode(errors="replace").splitlines() or ["no reason"]
    logger.debug("nftables makes no table of this process's own: %s", lines[0])
    return False


def _new_context(library: ctypes.CDLL) -> int | None:
    """Return a handle that has a socket of its own."""
    context: int | None = library.nft_ctx_new(0)
    if context is not None:
        # What it has to say goes to no terminal.
        library.nft_ctx_buffer_output(context)
        library.nft_ctx_buffer_error(context)
    return context
