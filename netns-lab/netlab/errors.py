"""Errors of the lab, each one sentence for the person who runs it."""


class LabError(Exception):
    """The lab cannot be built or used; the text says why, and what to do."""


class CommandFailed(LabError):
    """A command in a namespace failed or did not end in time."""


class NotReady(LabError):
    """Something that was started did not become usable in time."""


class ScenarioFailed(LabError):
    """A scenario ran, and its result is not the expected one."""


class GoMissing(LabError):
    """There is no Go to build something with, or one that is too old."""
