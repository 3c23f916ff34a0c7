"""What the lab found is written down whole, as data, pictures and a page."""

import json
from pathlib import Path

from netlab.report import write
from netlab.results import Report


def test_all_files_are_written(report: Report, tmp_path: Path) -> None:
    write(report, tmp_path / "report")

    written = json.loads((tmp_path / "report" / "matrix.json").read_text())
    (found,) = written["matrices"]
    assert written["schema"] == 1
    assert [kind["name"] for kind in found["kinds"]] == ["public", "all-symmetric"]
    assert {cell["expected"] for cell in found["cells"]} == {"direct", "relay"}
    assert all(cell["as_expected"] for cell in found["cells"])
    assert {"meshwg", "Python", "Linux"} <= set(written["versions"])
