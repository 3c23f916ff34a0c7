"""What the system's ping says: which of its requests were answered."""

import re

from netlab.errors import ScenarioFailed

_ANSWER = re.compile(r"^\d+ bytes from .*icmp_seq=(\d+) ", re.MULTILINE)
_SENT = re.compile(r"^(\d+) packets transmitted", re.MULTILINE)


def unanswered(output: str, under_way: int) -> tuple[list[int], int]:
    """Return the numbers of the requests that were lost, and how many were sent.

    A ping that is interrupted does not wait for the answers to its last requests, and
    counts them as lost.

    :param under_way: how many requests may have been waiting for answers at the end.
    :raises ScenarioFailed: if it printed no summary.
    """
    summary = _SENT.search(output)
    if summary is None:
        raise ScenarioFailed("ping printed no summary.")
    sent = int(summary[1])
    answered = {int(number) for number in _ANSWER.findall(output)}
    settled = max(answered, default=0)
    if sent - settled > under_way:
        settled = sent
    return [each for each in range(1, settled + 1) if each not in answered], sent
