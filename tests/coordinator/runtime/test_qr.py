"""QR codes for terminals."""

import re

import segno

from coordinator.runtime.qr import QUIET, qr_text, qr_width

TEXT = "[Interface]\nPrivateKey = " + "A" * 44 + "\nAddress = 100.64.0.2/32\n"
_ESCAPE = re.compile(r"\x1b\[[0-9;]*m")


def test_a_character_is_two_modules_and_there_is_a_quiet_zone() -> None:
    code = qr_text(TEXT)
    lines = _ESCAPE.sub("", code).splitlines()
    modules = segno.make(TEXT, error="l", micro=False).symbol_size(border=QUIET)[0]

    assert {len(line) for line in lines} == {modules} == {qr_width(code)}
    assert len(lines) == (modules + 1) // 2
    assert not lines[0].strip()
    assert not lines[-1].strip()


def test_its_colours_do_not_depend_on_the_terminals() -> None:
    for line in qr_text(TEXT).splitlines():
        assert line.startswith("\x1b[38;5;16;48;5;231m")
        assert line.endswith("\x1b[0m")


def test_a_usual_configuration_fits_into_eighty_columns() -> None:
    assert qr_width(qr_text(TEXT + "AllowedIPs = 100.64.0.0/16\n" * 7)) <= 80


def test_short_texts_are_codes_that_all_phones_read() -> None:
    # The smallest of the usual ones, and not a Micro QR code.
    assert qr_width(qr_text("a")) == 21 + 2 * QUIET
