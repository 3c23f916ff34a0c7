"""``meshwg-k8s cleanup`` takes the pods' network away, as often as it is asked to."""

from pathlib import Path

import pytest

from meshwg.cli.kubernetes import main
from meshwg.kubernetes.networklist import FILE


def test_a_list_is_removed_and_another_one_put_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Whatever rules this machine has are none of this test's business.
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / FILE).write_text("{}")
    (tmp_path / ".10-other.conflist.replaced").write_text("{}")
    for said in ("Removed the pods' network.", "There was none."):
        with pytest.raises(SystemExit) as ended:
            main(
                [
                    *("cleanup", "--cni-dir", str(tmp_path)),
                    *("--replaced", "10-other.conflist"),
                ]
            )
        assert ended.value.code == 0
        assert said in capsys.readouterr().out
    assert [each.name for each in tmp_path.iterdir()] == ["10-other.conflist"]
