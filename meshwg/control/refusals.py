"""Which refusals of the coordinator are final, and what they are about."""

from meshwg.wire.control import ErrorCode

FORGOTTEN = (
    "The coordinator's database was lost or set back and no longer knows this node"
)

MEMBERSHIP_LOST = {ErrorCode.NOT_A_MEMBER, ErrorCode.NODE_EXPIRED}
TOKEN_REFUSED = {
    ErrorCode.TOKEN_UNKNOWN,
    ErrorCode.TOKEN_EXPIRED,
    ErrorCode.TOKEN_USED,
    ErrorCode.TOKEN_REVOKED,
}
HOPELESS = (
    MEMBERSHIP_LOST
    | TOKEN_REFUSED
    | {
        ErrorCode.MESH_FULL,
        ErrorCode.PROTOCOL,
    }
)
