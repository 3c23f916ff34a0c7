"""The rules about pure code find what they are there for, and nothing else."""

import pytest

from tests.layout import purity
from tests.layout.sources import parse

TREES = ("meshwg",)
STANDARD = ("collections", "urllib.parse")
MORE = {"meshwg.config": ("tomllib",), "meshwg": ("os",)}


@pytest.mark.parametrize(
    "text",
    [
        "import os, collections",
        "from datetime import datetime",
        "import uuid as _",
        "import urllib",
        "from urllib import request",
        "import urllib.request",
        "def f():\n    import logging",
        "if TYPE_CHECKING:\n    from asyncio import Task",
        "import tomllib",
    ],
)
def test_a_module_that_is_not_on_the_whitelist_is_found(text: str) -> None:
    (found,) = purity.unlisted([parse(text)], TREES, STANDARD, MORE)

    assert "in pure code" in found


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("meshwg.path.x", "import collections.abc\nfrom collections import deque"),
        ("meshwg.path.x", "from urllib.parse import urlsplit"),
        ("meshwg.path.x", "from urllib import parse"),
        ("meshwg.path.x", "from meshwg.time import x\nimport pydantic"),
        ("meshwg.config", "import tomllib"),
    ],
)
def test_a_module_on_the_whitelist_passes(name: str, text: str) -> None:
    assert not list(purity.unlisted([parse(text, name)], TREES, STANDARD, MORE))


def test_third_party_packages_are_found_outside_their_modules() -> None:
    homes = {"pydantic": ("meshwg.wire",)}

    def findings(name: str, text: str) -> list[str]:
        return list(purity.astray([parse(text, name)], TREES, homes))

    assert findings("meshwg.path.x", "from pydantic import BaseModel")
    assert findings("meshwg.wired", "import pydantic.fields")
    assert findings("meshwg.wire", "import numpy")
    assert not findings("meshwg.wire.x", "import pydantic, os, meshwg.path")


def test_an_unneeded_entry_of_the_whitelist_is_found() -> None:
    listed = {"meshwg.config": ("tomllib", "pathlib")}
    config = parse("import tomllib", "meshwg.config")
    other = parse("import pathlib", "meshwg.other")

    (found,) = purity.unused([config, other], listed)

    assert "meshwg.config does not import pathlib" in found


@pytest.mark.parametrize(
    "text",
    [
        "def f():\n    import math",
        "class A:\n    async def f(self):\n        from meshwg import x",
        "def f():\n    return open('/etc/passwd')",
        "print(1)",
        "x = input",
        "hash('a')",
        "def f():\n    __import__('os')",
        "exec('import os')",
        "from x import time\ntime.time()",
        "import os as o\no.environ",
        "def f():\n    return datetime.now()",
        "import datetime as d\nx = lambda: d.datetime.now()",
        "from datetime import date\ndef f():\n    return date.today()",
        "from time import monotonic\nasync def f(now=monotonic): ...",
        "from secrets import token_bytes\ndef f():\n    return token_bytes(1)",
    ],
)
def test_a_use_of_the_outside_world_is_found(text: str) -> None:
    assert list(purity.impure([parse(text)]))


@pytest.mark.parametrize(
    "text",
    [
        "import math\ndef f(now, random):\n    return random(16), now",
        "class A:\n    def open(self): ...\n    def print(self):\n        self.open()",
        "def f(time):\n    return time.total",
        "def f(a):\n    return a.time.time, a.now(), a.hash",
        "def f(input):\n    return input + 1",
        '"""Like print(open(x)) at time.time()."""',
    ],
)
def test_what_only_looks_like_such_a_use_passes(text: str) -> None:
    assert not list(purity.impure([parse(text)]))


@pytest.mark.parametrize(
    "text",
    [
        "import os\nHOME = os.environ['HOME']",
        "from os import environ\nHOME = environ.get('HOME')",
        "import os\nclass A:\n    home = os.getenv('HOME')",
        "import os\ndef f(home=os.getenv('HOME')): ...",
        "import time\nSTARTED = time.time()",
        "import time as t\n@wrap(t.monotonic())\ndef f(): ...",
        "from time import monotonic\nx = [monotonic() for _ in y]",
        "import random\nSEED = random.randrange(9)",
        "import secrets\nx = lambda a=secrets.token_bytes(4): a",
        "if True:\n    import datetime\n    NOW = datetime.datetime.now()",
    ],
)
def test_a_read_at_import_is_found(text: str) -> None:
    (found,) = purity.at_import([parse(text)], {})

    assert "when it is imported" in found


@pytest.mark.parametrize(
    "text",
    [
        "import os\ndef f():\n    return os.environ['HOME']",
        "import time\nclass A:\n    clock = time.monotonic",
        "import time\nx = lambda: time.time()",
        "import time\ndef f(clock=time.monotonic):\n    return clock()",
        "import os\nif __name__ == '__main__':\n    main(os.environ)",
        "x = field(default_factory=dict)",
    ],
)
def test_what_is_read_later_passes(text: str) -> None:
    assert not list(purity.at_import([parse(text)], {}))


def test_a_reason_to_read_at_import_is_taken_and_must_be_needed() -> None:
    module = parse("import os\nos.environ.setdefault('A', 'b')", "meshwg.a")
    reasons = {"meshwg/a.py": "it has to", "meshwg/b.py": "it had to"}

    (found,) = purity.at_import([module], reasons)

    assert "the reason for meshwg/b.py is not needed" in found


def test_only_the_shell_is_not_pure() -> None:
    shell = ("meshwg.runtime", "meshwg.cli")

    assert purity.is_pure(parse("", "meshwg.path"), shell)
    assert purity.is_pure(parse("", "meshwg.runtimes"), shell)
    assert not purity.is_pure(parse("", "meshwg.runtime.tun"), shell)
