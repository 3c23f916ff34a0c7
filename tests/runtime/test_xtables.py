"""The tables of iptables-legacy: a program that stands for it prints and notes."""

import asyncio
from pathlib import Path

import pytest

from meshwg.runtime import xtables
from meshwg.runtime.xtables import LegacyFirewall, legacy_owners

Wanted = dict[str, tuple[int | None, tuple[str, ...]]]
WANTED: Wanted = {"meshwg-m0": (None, ("-i", "m0", "-o", "m0"))}
ACCEPT = "-w -I FORWARD 1 -i m0 -o m0 -m comment --comment meshwg-m0 -j ACCEPT"
OURS = "-A FORWARD -i m0 -o m0 -m comment --comment meshwg-m0 -j ACCEPT"


class Program:
    """A program called iptables-legacy."""

    def __init__(self, folder: Path, rules: str) -> None:
        self.log = folder / "log"
        (folder / "rules").write_text(rules)
        program = folder / "iptables-legacy"
        program.write_text(
            f'#!/bin/sh\necho "$*" >>{self.log}\n'
            f'[ "$2" = -S ] && cat {folder / "rules"}\nexit 0\n'
        )
        program.chmod(0o755)

    def calls(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []


@pytest.fixture(autouse=True)
def tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The kernel has tables of IPv4, and no others."""
    names = tmp_path / "ip_tables_names"
    names.write_text("nat\nfilter\n")
    places = {4: names, 6: tmp_path / "none"}
    monkeypatch.setattr(xtables, "_TABLES", places)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return names


def let_pass(wanted: Wanted) -> dict[str, str]:
    return asyncio.run(LegacyFirewall("meshwg-m0").let_pass(wanted))


def test_what_is_forwarded_is_accepted_where_it_might_be_dropped(
    tmp_path: Path,
) -> None:
    program = Program(tmp_path, "-P FORWARD DROP")
    assert let_pass(WANTED) == {}
    assert program.calls() == ["-w -S", ACCEPT]


def test_nothing_is_changed_where_nothing_drops(tmp_path: Path) -> None:
    program = Program(tmp_path, "-P FORWARD ACCEPT")
    assert let_pass(WANTED) == {}
    assert program.calls() == ["-w -S"]


def test_a_rule_that_stands_first_stays(tmp_path: Path) -> None:
    program = Program(tmp_path, f"-P FORWARD DROP\n{OURS}")
    assert let_pass(WANTED) == {}
    assert program.calls() == ["-w -S"]


def test_a_rule_that_is_not_wanted_or_comes_too_late_is_removed(
    tmp_path: Path,
) -> None:
    program = Program(tmp_path, f"-A FORWARD -j DROP\n{OURS}")
    assert let_pass(WANTED) == {}
    assert program.calls() == ["-w -S", f"-w -D {OURS[3:]}", ACCEPT]
    assert let_pass({}) == {}
    assert program.calls()[-1] == f"-w -D {OURS[3:]}"


def test_tables_that_are_not_in_use_are_left_alone(
    tmp_path: Path, tables: Path
) -> None:
    program = Program(tmp_path, "-P FORWARD DROP")
    tables.write_text("nat\n")
    assert let_pass(WANTED) == {}
    assert program.calls() == []


def test_a_program_that_is_missing_or_refuses_is_said(tmp_path: Path) -> None:
    (said,) = let_pass(WANTED).values()
    assert "without the program iptables-legacy: install it" in said
    program = tmp_path / "iptables-legacy"
    program.write_text("#!/bin/sh\necho 'no lock' >&2\nexit 4\n")
    program.chmod(0o755)
    (said,) = let_pass(WANTED).values()
    assert said == "iptables-legacy says: no lock"


def test_owners_are_found(tmp_path: Path) -> None:
    Program(tmp_path, f"-P FORWARD DROP\n{OURS}")
    assert asyncio.run(legacy_owners("meshwg-")) == {"meshwg-m0"}
