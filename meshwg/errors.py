"""The exceptions of meshwg, as one tree.

::

    MeshError
    ├── ConfigError               what the user wrote cannot be carried out
    ├── DaemonNotRunning          no daemon listens on the control socket
    ├── NotJoined                 the node has no mesh yet
    ├── Removed                   the node is no longer a member of its mesh
    ├── NotPermitted              the system refused: privileges are missing
    ├── CoordinatorError          the coordinator refused, or cannot be used
    └── ProtocolError
        ├── LocalProtocolError    this program broke the rules: a bug
        └── RemoteProtocolError   the other side did: counted, never fatal
            ├── InvalidMessage
            └── AuthenticationFailed

The text of a :class:`MeshError` is one sentence for a person: the cause, then
what to do. It never contains a secret. Each class carries the exit status of its kind.
"""


class MeshError(Exception):
    """Anything that this program reports to a user in one sentence."""

    exit_status = 1


class ConfigError(MeshError):
    """A configuration file, an option or an environment variable is wrong."""

    exit_status = 2


class DaemonNotRunning(MeshError):
    """There is no daemon behind the control socket."""

    exit_status = 3


class NotJoined(MeshError):
    """The node belongs to no mesh yet."""

    exit_status = 4


class NotPermitted(MeshError):
    """The operating system, or the daemon, does not permit this to this user."""

    exit_status = 5


class Removed(MeshError):
    """The mesh has removed this node: only a new token lets it in again."""

    exit_status = 6


class CoordinatorError(MeshError):
    """The coordinator refused a request or cannot be reached."""


class ProtocolError(MeshError):
    """A rule of a protocol was broken."""


class LocalProtocolError(ProtocolError):
    """This side tried what the protocol does not allow: a bug of this program."""


class RemoteProtocolError(ProtocolError):
    """The other side sent what the protocol does not allow."""


class InvalidMessage(RemoteProtocolError):
    """A message has the wrong form: length, type or field."""


class AuthenticationFailed(RemoteProtocolError):
    """A message was not made by the one it claims to be from."""
