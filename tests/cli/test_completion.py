"""``meshwg completion``: scripts that shells accept, and what they ask for."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from meshwg.cli.group import run
from tests.cli.daemon import FakeDaemon, a_peer, a_report, serving


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_asks_the_program_itself(
    shell: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status_of("completion", shell) == 0
    script = capsys.readouterr().out
    assert f"_MESHWG_COMPLETE={shell}_complete" in script


def test_another_shell_is_wrong_usage() -> None:
    assert status_of("completion", "tcsh") == 2


def test_bash_completes_commands(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status_of("completion", "bash")
    program = tmp_path / "meshwg"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m meshwg "$@"\n')
    program.chmod(0o755)
    script = (
        f"{capsys.readouterr().out}\n"
        "compopt() { :; }\n"
        "COMP_WORDS=(meshwg net); COMP_CWORD=1\n"
        f"_meshwg_completion {program}\n"
        'echo "${COMPREPLY[@]}"\n'
    )
    bash = shutil.which("bash")
    assert bash is not None

    done = subprocess.run(
        [bash, "-c", script], capture_output=True, text=True, check=True
    )

    assert (done.stdout, done.stderr) == ("netcheck\n", "")


def test_zsh_completes_commands_as_often_as_it_is_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    zsh = shutil.which("zsh")
    if zsh is None:
        pytest.skip("needs zsh: install Debian's package 'zsh'")
    status_of("completion", "zsh")
    (tmp_path / "_meshwg").write_text(capsys.readouterr().out)
    program = tmp_path / "meshwg"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m meshwg "$@"\n')
    program.chmod(0o755)
    script = (
        f"fpath=({tmp_path}); autoload -Uz _meshwg\n"
        "_describe() { print -l $described }; compadd() { print -l $plain }\n"
        f"words=({program} net); CURRENT=2\n"
        "_meshwg; _meshwg; _meshwg\n"
    )

    done = subprocess.run(
        [zsh, "-fc", script], capture_output=True, text=True, check=True
    )

    words = [line.partition(":")[0] for line in done.stdout.splitlines()]
    assert (words, done.stderr) == (3 * ["netcheck"], "")


def test_names_of_peers_are_completed(tmp_path: Path) -> None:
    daemon = FakeDaemon()
    daemon.report = a_report(a_peer(), a_peer(name="bill"), a_peer(name="carol"))
    path = str(tmp_path / "sock")
    words = f"meshwg\nping\n--control-socket\n{path}\nb"
    surroundings = {"_MESHWG_COMPLETE": "bash_complete", "COMP_WORDS": words}
    with serving(daemon, tmp_path / "sock"):
        done = subprocess.run(
            [sys.executable, "-c", "from meshwg.cli import main; main()"],
            env=os.environ | surroundings | {"COMP_CWORD": "4"},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.stdout.split() == ["plain,bob", "plain,bill"]


def status_of(*arguments: str) -> object:
    with pytest.raises(SystemExit) as ended:
        run(arguments)
    return ended.value.code
