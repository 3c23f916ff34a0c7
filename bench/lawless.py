"""``python -m bench.lawless node …``: a node that enforces no policy on its own user.

Honest nodes refuse at home what the other end would refuse. So who attacks does not
have one.
"""

from unittest.mock import patch

from meshwg.cli import main
from meshwg.node.access import AccessControl

if __name__ == "__main__":
    with patch.object(AccessControl, "is_on", False):
        main()
