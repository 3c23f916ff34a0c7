"""The coordinator processes on one database: signs of life, and where they are."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from coordinator.mesh.homes import BEAT_TIMEOUT, Home, Roll
from coordinator.store.doubt import forget_writers

FORGET_HOME = 86400.0
"""Seconds after which a process that is gone is forgotten, with its address."""

KNOWN_FOR = 3600.0
"""Seconds after its last sign of life for which nodes are told of a process."""

_CLOCK = "extract(epoch from clock_timestamp())"
_BEAT = text(
    "INSERT INTO homes (home, beat, url, direct) "
    f"VALUES (:home, {_CLOCK}, :url, :direct) ON CONFLICT (home) DO UPDATE "
    f"SET beat = {_CLOCK}, url = excluded.url, direct = excluded.direct"
)
_FORGET = text(f"DELETE FROM homes WHERE beat < {_CLOCK} - :age")
_KNOWN = text(
    f"SELECT home, url, direct, beat > {_CLOCK} - :alive AS is_alive FROM homes "
    f"WHERE beat > {_CLOCK} - :known ORDER BY beat DESC, home"
)


async def beat(connection: AsyncConnection, home: Home) -> Roll:
    """Give a sign of life of a process; return who else gave one."""
    values = {"home": home.name, "url": home.url, "direct": home.direct}
    await connection.execute(_BEAT, values)
    await connection.execute(_FORGET, {"age": FORGET_HOME})
    await forget_writers(connection)
    ages = {"alive": BEAT_TIMEOUT, "known": KNOWN_FOR}
    rows = (await connection.execute(_KNOWN, ages)).all()
    return Roll(
        {row.home: Home(row.home, row.url, row.direct) for row in rows if row.is_alive},
        tuple(dict.fromkeys(row.url for row in rows if row.url)),
    )


async def living_urls(connection: AsyncConnection) -> list[str]:
    """Return where nodes find the processes that are alive."""
    ages = {"alive": BEAT_TIMEOUT, "known": BEAT_TIMEOUT}
    rows = await connection.execute(_KNOWN, ages)
    return sorted({row.url for row in rows if row.url})
