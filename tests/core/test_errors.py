"""A problem as people read it, and the word that was meant."""

from __future__ import annotations

import pytest

from cpool_flow.errors import InvalidInput, Location, Problem, did_you_mean, listed, nearest, printable, render_problem, render_problems


def test_a_problem_has_its_place_its_line_a_caret_a_hint_and_help() -> None:
    problem = Problem(
        "step `deploy` needs unknown step `biuld`", Location("release.yaml", 14, 13, 5), "did you mean `build`?", "see the docs"
    )
    assert render_problem(problem, {"release.yaml": "\n" * 13 + "    needs: [biuld]\r\n"}) == (
        "error: step `deploy` needs unknown step `biuld`\n"
        "  --> release.yaml:14:13\n"
        "   |\n"
        "14 |     needs: [biuld]\n"
        "   |             ^^^^^ did you mean `build`?\n"
        "help: see the docs"
    )


@pytest.mark.parametrize("sources", [{}, {"flow.yaml": "one line\n"}])
def test_a_place_whose_line_is_not_there_is_named_all_the_same(sources: dict[str, str]) -> None:
    problem = Problem("gone", Location("flow.yaml", 5, 1), hint="did you mean x?", warning=True)
    assert render_problem(problem, sources) == "warning: gone\n  --> flow.yaml:5:1\nhint: did you mean x?"


def test_a_problem_without_a_place_is_its_words() -> None:
    assert (
        render_problem(Problem("no workflow `helo`", hint="did you mean `hello`?"), {})
        == "error: no workflow `helo`\nhint: did you mean `hello`?"
    )


def test_of_a_long_line_the_part_around_the_place_is_shown() -> None:
    lines = render_problem(Problem("here", Location("f", 1, 1001, 4)), {"f": "x" * 1000 + "HERE" + "y" * 1000}).splitlines()
    assert len(lines[3]) == len("1 | ") + 160
    assert lines[3][lines[4].index("^") : lines[4].rindex("^") + 1] == "HERE"


def test_what_a_terminal_would_obey_is_shown_and_the_caret_stands_below_it() -> None:
    lines = render_problem(Problem("a\x1b[2Jb", Location("a\nb", 1, 4, 2)), {"a\nb": "\t\x1b[é\u202e"}).splitlines()
    assert lines[:2] == ["error: a\\x1b[2Jb", "  --> a\\nb:1:4"]
    assert lines[3:] == ["1 | \\t\\x1b[é\\u202e", "  |        ^^^^^^^"]


def test_problems_are_counted_by_kind_where_there_are_several() -> None:
    one, two, odd = Problem("one"), Problem("two"), Problem("odd", warning=True)
    assert render_problems([one], {}) == "error: one"
    assert render_problems([one, two, odd], {}) == "error: one\n\nerror: two\n\nwarning: odd\n\n2 errors, 1 warning"


def test_problems_are_sorted_by_file_line_and_column() -> None:
    places = [("b", 1, 1), ("a", 10, 1), ("a", 2, 9), ("a", 2, 1)]
    error = InvalidInput([Problem("x", Location(*place)) for place in places] + [Problem("anywhere")])
    assert [str(problem.location) for problem in error.problems] == ["None", "a:2:1", "a:2:9", "a:10:1", "b:1:1"]


@pytest.mark.parametrize(
    ("word", "choices", "meant"),
    [
        ("biuld", ["test", "build"], "build"),
        ("V", ["w", "v"], "v"),
        ("zebra", ["test", "build"], None),
        ("", ["a"], None),
        ("a", [], None),
    ],
)
def test_the_nearest_word_is_found_where_one_is_near(word: str, choices: list[str], meant: str | None) -> None:
    assert nearest(word, choices) == meant
    assert did_you_mean(word, choices) == (f"did you mean `{meant}`?" if meant else None)


def test_of_very_many_words_those_are_compared_that_begin_alike() -> None:
    words = [f"{letter}tep_number_{number}" for letter in "st" for number in range(20_000)]
    assert nearest("step_number_9999x", words) == "step_number_9999"


def test_a_list_of_names_is_cut() -> None:
    assert listed(["a", "b"]) == "`a`, `b`"
    assert listed([]) == "none"
    assert listed("abc", most=2) == "`a`, `b`, …"


def test_printable_text_has_no_controls_no_marks_of_direction_and_no_breaks() -> None:
    assert printable("a\x00\x1b\n\u202e\u2028b é 日本") == "a\\x00\\x1b\\n\\u202e\\u2028b é 日本"
