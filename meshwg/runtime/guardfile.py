"""The file of this machine's guard, see :mod:`meshwg.policy.guard`."""

import logging
import tomllib
from pathlib import Path

from meshwg.config import DEFAULT_GUARD
from meshwg.errors import ConfigError
from meshwg.health import Complaint, Severity
from meshwg.node import Node
from meshwg.policy.guard import GuardRule, parse_guard

CODE = "guard-not-taken"

logger = logging.getLogger(__name__)


def read_guard(path: Path) -> tuple[GuardRule, ...] | None:
    """Return the rules of a guard, ``None`` if there is none at the usual place.

    :raises ConfigError: if it cannot be read, or is not understood: a guard that is
        left out would guard nothing.
    """
    try:
        return parse_guard(tomllib.loads(path.read_text()), str(path))
    except FileNotFoundError:
        if path == DEFAULT_GUARD:
            return None
        raise ConfigError(
            f"The guard {path} is not there: name another file with --guard"
        ) from None
    except OSError as error:
        raise ConfigError(
            f"The guard {path} cannot be read ({error.strerror}): let the node read it"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(
            f"The guard {path} is not valid TOML ({error}): correct it"
        ) from None


def renew_guard(node: Node, path: Path, now: float) -> None:
    """Take a guard as its file is by now; if that cannot be, the one from before stays.

    What came of it is logged, and stands in ``health`` until the file is taken.
    """
    complaint = None
    try:
        rules = read_guard(path)
    except ConfigError as error:
        logger.error("The guard stays as it is: %s", error)
        complaint = Complaint(
            CODE,
            Severity.WARNING,
            f"This machine's guard is still the one from before. {error}.",
            "Have the node read it again after that: systemctl reload meshwg.",
        )
    else:
        if rules != node.access.guard:
            node.members.set_guard(rules, now)
            logger.info("%s", _described(rules, path))
    node.health.put(CODE, complaint)


def _described(rules: tuple[GuardRule, ...] | None, path: Path) -> str:
    if rules is None:
        return f"There is no guard {path} any more: what the policy allows passes"
    count = "one rule" if len(rules) == 1 else f"{len(rules)} rules"
    return f"The guard {path} was read again: {count}"
