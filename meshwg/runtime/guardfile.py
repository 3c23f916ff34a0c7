"""The file of this machine's guard, see :mod:`meshwg.policy.guard`."""

import tomllib
from pathlib import Path

from meshwg.config import DEFAULT_GUARD
from meshwg.errors import ConfigError
from meshwg.policy.guard import GuardRule, parse_guard


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
