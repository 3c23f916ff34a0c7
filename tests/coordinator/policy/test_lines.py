"""The lines that errors name are those at which the words stand."""

from coordinator.policy.lines import Lines
from tests.coordinator.policy.policies import EXAMPLE


def test_tables_keys_and_texts_are_found() -> None:
    lines = Lines(EXAMPLE)

    assert lines.of_table("groups") == 3
    assert lines.of_table("allow", 1) == 18
    assert lines.of_key("", "version") == 1
    assert lines.of_key("allow", "ports", 0) == 15
    assert lines.of_text("allow", "to", "tag:web", 1) == 20


def test_a_text_of_a_list_over_several_lines_has_its_own() -> None:
    text = "[groups]\nsre = [\n  \"alice\",\n  # one more\n  'bob',\n]\n"

    assert Lines(text).of_text("groups", "sre", "bob") == 5


def test_what_is_not_found_has_the_line_of_what_contains_it() -> None:
    lines = Lines(EXAMPLE)

    assert lines.of_text("allow", "to", "nobody", 0) == 14
    assert lines.of_key("allow", "nothing", 1) == 18
    assert lines.of_table("nothing") == 1


def test_headers_inside_texts_of_several_lines_are_none() -> None:
    text = '[[allow]]\nnote = """\n[[allow]]\n"""\n[[allow]]\n'

    assert Lines(text).of_table("allow", 1) == 5


def test_tables_written_in_one_line_have_that_line() -> None:
    assert Lines("\nallow = [{from = []}]").of_table("allow", 0) == 2
