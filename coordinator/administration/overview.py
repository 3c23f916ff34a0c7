"""What belongs to no single thing: the audit log, the relays, and who asks."""

from coordinator.administration.asking import Answer, Asked
from coordinator.administration.models import MAX_ROW, AuditQuery
from coordinator.administration.pages import cursor_of, place_in
from coordinator.administration.problems import malformed
from coordinator.mesh.audit import first_break
from coordinator.mesh.records import audit_record


async def show_audit(asked: Asked) -> Answer:
    """List what administrators did, the oldest first."""
    wanted, after = asked.asking(AuditQuery), 0
    if wanted.cursor is not None:
        after = _row_in(wanted.cursor)
    limit = None if wanted.limit is None else wanted.limit + 1
    rows = await asked.mesh.audit(max(after, wanted.after), wanted.since, limit)
    shown = rows[: wanted.limit]
    answer: dict[str, object] = {"rows": [audit_record(row) for row in shown]}
    if wanted.limit is not None:
        has_more = len(rows) > wanted.limit
        answer["next"] = cursor_of((shown[-1].seq,)) if has_more else None
    return Answer(answer)


async def verify_audit(asked: Asked) -> Answer:
    """Find out whether the audit log is as it was written."""
    rows = await asked.mesh.audit()
    last = rows[-1].hash if rows else None
    return Answer({"rows": len(rows), "last_hash": last, "broken": first_break(rows)})


async def list_relays(asked: Asked) -> Answer:
    """List the relays that nodes are told of, the cheapest first."""
    relays = [{"url": url, "own": is_own} for url, is_own in asked.mesh.relays]
    return Answer({"relays": relays})


async def show_self(asked: Asked) -> Answer:
    """Show who asks, and what he may do."""
    actor = asked.actor
    return Answer(
        {
            "identity": actor.identity,
            "role": None if actor.role is None else actor.role.value,
            "scopes": [each.value for each in actor.scopes],
        }
    )


def _row_in(cursor: str) -> int:
    """Return the row after which a page begins.

    :raises Problem: if the cursor is of no page of the audit log.
    """
    match place_in(cursor):
        case (int(seq),) if 0 <= seq <= MAX_ROW:
            return seq
    raise malformed("'cursor' is of another list: begin without one")
