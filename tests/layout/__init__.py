"""The rules of the layout, as functions from sources to findings.

``tests/test_layout.py`` applies them to the real sources; the tests in this package
show that each rule finds a breach, and lets pass what only looks like one. All that
has to be edited when files move stands in ``tables.py``.
"""
