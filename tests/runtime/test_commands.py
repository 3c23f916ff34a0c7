"""What the commands answer, and how they refuse."""

from meshwg.runtime import commands


def test_names_in_errors_are_few() -> None:
    assert commands._shortened(["a", "b"]) == "a, b"
    many = commands._shortened([f"node-{n}" for n in range(1000)])
    assert len(many) < 300
    assert many.endswith(", ...")
