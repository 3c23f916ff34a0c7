"""``meshwg-k8s``: its commands, and what it says where its packages are missing."""

import pytest

from meshwg.cli.kubernetes import main
from meshwg.cli.kubernetes.group import missing


def test_its_commands_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    assert "agent" in capsys.readouterr().out


def test_a_missing_package_is_named_with_what_installs_it() -> None:
    error = missing(ModuleNotFoundError("No module", name="lightkube.core"))
    assert "pip install 'meshwg[kubernetes]'" in str(error)
    assert error.exit_status == 2


def test_a_fault_of_this_program_is_not_taken_for_that() -> None:
    with pytest.raises(ModuleNotFoundError):
        missing(ModuleNotFoundError("No module", name="meshwg.nothing"))
