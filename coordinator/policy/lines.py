"""On which line of a TOML file something stands, which its parser does not say."""

import json
import re

_HEADER = re.compile(r"\s*(\[{1,2})\s*([^\[\]]+?)\s*\]{1,2}\s*(?:#.*)?$")
_KEY = re.compile(r"\s*(\"[^\"]*\"|'[^']*'|[\w-]+)\s*=")
_QUOTES = ('"""', "'''")


class Lines:
    """Finds the lines of tables, keys and texts in a TOML file that is valid.

    Answers are as good as the file is plain: where a table is written in one line, they
    name that line.
    """

    def __init__(self, text: str) -> None:
        self._lines = text.splitlines()
        self._keys: dict[tuple[str, int, str], int] = {}
        self._tables: dict[tuple[str, int], int] = {}
        self._scan()

    def of_table(self, table: str, index: int = 0) -> int:
        """Return the line on which a table begins, the first of its name is 0."""
        found = self._tables.get((table, index))
        return found or self._keys.get(("", 0, table), 1)

    def of_key(self, table: str, key: str, index: int = 0) -> int:
        """Return the line of a key; ``""`` is the table of what stands in none."""
        return self._keys.get((table, index, key)) or self.of_table(table, index)

    def of_text(self, table: str, key: str, text: str, index: int = 0) -> int:
        """Return the line of a text in the value of a key."""
        start = self.of_key(table, key, index)
        quoted = (json.dumps(text, ensure_ascii=False), f"'{text}'")
        for number, line in enumerate(self._lines[start - 1 :], start):
            if any(each in line for each in quoted):
                return number
            if number > start and (_HEADER.match(line) or _KEY.match(line)):
                break
        return start

    def _scan(self) -> None:
        table, index = "", 0
        counts: dict[str, int] = {}
        closing = ""
        for number, line in enumerate(self._lines, 1):
            if closing:
                # Inside a text of several lines nothing is a header.
                closing = "" if closing in line else closing
                continue
            if header := _HEADER.match(line):
                table = header[2].strip("\"'")
                index = counts[table] = counts.get(table, -1) + 1
                self._tables[table, index] = number
            elif key := _KEY.match(line):
                self._keys.setdefault((table, index, key[1].strip("\"'")), number)
            opened = next((each for each in _QUOTES if line.count(each) % 2), "")
            closing = opened
