"""The command line of meshwg-wg: what it accepts, and one sentence for the rest."""

import subprocess
import sys

import pytest

from meshwg.cli import wg
from meshwg.cli.wg import Options, parse
from meshwg.errors import ConfigError, NotPermitted


def test_an_interface_name_is_the_only_argument_needed() -> None:
    assert parse(["wg0"], {}) == Options("wg0")


@pytest.mark.parametrize("flag", ["-f", "--foreground"])
def test_the_foreground_flag_may_precede_or_follow_the_name(flag: str) -> None:
    assert parse([flag, "wg0"], {}) == Options("wg0", foreground=True)
    assert parse(["wg0", flag], {}) == Options("wg0", foreground=True)


def test_the_environment_is_that_of_wireguard_go() -> None:
    environment = {
        "WG_PROCESS_FOREGROUND": "1",
        "LOG_LEVEL": "verbose",
        "WG_TUN_FD": "3",
        "WG_UAPI_FD": "4",
    }
    assert parse(["wg0"], environment) == Options("wg0", True, "verbose", 3, 4)
    assert parse(["wg0"], {"WG_PROCESS_FOREGROUND": "0"}) == Options("wg0")


@pytest.mark.parametrize("arguments", [[], ["wg0", "wg1"], ["-f"], ["--foreground"]])
def test_not_exactly_one_name_is_an_error(arguments: list[str]) -> None:
    with pytest.raises(ConfigError, match="One interface name is needed"):
        parse(arguments, {})


def test_an_unknown_option_is_named() -> None:
    with pytest.raises(ConfigError, match="The option --frobnicate is unknown"):
        parse(["--frobnicate", "wg0"], {})


@pytest.mark.parametrize("text", ["x", "-1", "3.0", "9" * 20, "\u0663"])
def test_a_descriptor_is_a_number(text: str) -> None:
    for variable in ("WG_TUN_FD", "WG_UAPI_FD"):
        with pytest.raises(ConfigError, match=f"{variable} must be the number"):
            parse(["wg0"], {variable: text})


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_shows_the_usage(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert wg.run([flag], {}) == 0
    assert capsys.readouterr().out.startswith("Usage: meshwg-wg [-f | --foreground]")


@pytest.mark.parametrize("flag", ["-V", "--version"])
def test_version_shows_the_version(
    flag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert wg.run([flag, "wg0"], {}) == 0
    assert capsys.readouterr().out.startswith("meshwg-wg ")


def test_an_error_is_one_line_and_has_the_status_of_its_kind(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(options: Options) -> None:
        raise NotPermitted("The TUN device cannot be created: run this as root")

    assert wg.run([], {}) == 2
    assert capsys.readouterr().err.count("\n") == 1
    monkeypatch.setattr(wg, "start", refuse)
    assert wg.run(["wg0"], {}) == 5
    assert capsys.readouterr().err == (
        "meshwg-wg: The TUN device cannot be created: run this as root\n"
    )


def test_an_interrupted_start_has_the_status_of_a_signal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupt(options: Options) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(wg, "start", interrupt)
    assert wg.run(["wg0"], {}) == 130


def test_the_module_is_a_program_that_imports_nothing_for_help() -> None:
    program = (
        "import runpy, sys\n"
        "sys.argv = ['meshwg-wg', '--help']\n"
        "try:\n"
        "    runpy.run_module('meshwg.cli.wg', run_name='__main__')\n"
        "except SystemExit as end:\n"
        "    heavy = {'asyncio', 'click', 'cryptography', 'pydantic', 'aiohttp'}\n"
        "    sys.exit(end.code or ' '.join(heavy & set(sys.modules)) or 0)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == wg.USAGE


def test_running_needs_neither_pydantic_nor_netlink_nor_http_libraries() -> None:
    program = (
        "import sys, meshwg.cli.wg, meshwg.runtime.wg\n"
        "print({'click', 'pydantic', 'aiohttp', 'rich'} & set(sys.modules))"
    )
    result = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (result.stdout, result.stderr) == ("set()\n", "")
