"""Where in shell text a value may stand, which reference takes its place, and what is said where it may not."""

from __future__ import annotations

import pytest
from rendering import SCOPE, KeepingHost

from cpool_flow.template import TemplateError, parse_shell


def script(text: str) -> str:
    """The script that the shell gets, with `V1` for a reference to the first value, and so on."""
    return parse_shell(text).render(SCOPE, KeepingHost()).script.replace("CPOOL_VALUE_", "V")


def refusal(text: str) -> TemplateError:
    with pytest.raises(TemplateError) as refused:
        parse_shell(text)
    return refused.value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("gh pr diff {{ args.pr }}", 'gh pr diff "${V1}"'),
        ("echo '{{ args.v }}' \"{{ args.v }}\"", "echo ''\"${V1}\"'' \"${V2}\""),
        ("echo a{{ args.v }}b{{ args.v }}", 'echo a"${V1}"b"${V2}"'),
        ("echo 'it is \"{{ args.v }}\"'", "echo 'it is \"'\"${V1}\"'\"'"),
        ("X={{ args.v }} Y='{{ args.v }}' cmd", "X=\"${V1}\" Y=''\"${V2}\"'' cmd"),
        ("echo {{ args.v }} # it's {{ args.v }}\necho {{ args.v }}", 'echo "${V1}" # it\'s ${V2}\necho "${V3}"'),
        ("cat <<EOF\n'{{ args.v }}' \"{{ args.v }}\"\nEOF\n", "cat <<EOF\n'${V1}' \"${V2}\"\nEOF\n"),
        ("cat <<-EOF\n\t{{ args.v }}\n\tEOF\necho {{ args.v }}", 'cat <<-EOF\n\t${V1}\n\tEOF\necho "${V2}"'),
        ("cat <<A <<'B'\n{{ args.v }}\nA\n$x `\nB\necho {{ args.v }}", "cat <<A <<'B'\n${V1}\nA\n$x `\nB\necho \"${V2}\""),
        ("cat <<EOF\nEOF{{ args.v }}\n{{ args.v }}EOF\nEOF", "cat <<EOF\nEOF${V1}\n${V2}EOF\nEOF"),
        ('x="$(cat <<EOF\n{{ args.v }}\nEOF\n)" y={{ args.v }}', 'x="$(cat <<EOF\n${V1}\nEOF\n)" y="${V2}"'),
        ('echo "a $(echo "{{ args.v }}" {{ args.v }}) {{ args.v }}"', 'echo "a $(echo "${V1}" "${V2}") ${V3}"'),
        ("for f in {{ args.v }} x; do echo $f; done", 'for f in "${V1}" x; do echo $f; done'),
        ("case {{ args.v }} in {{ args.v }}*) echo {{ args.v }};; esac", 'case "${V1}" in "${V2}"*) echo "${V3}";; esac'),
        ("a=( {{ args.v }} [1]={{ args.v }} '{{ args.v }}' )", 'a=( "${V1}" [1]="${V2}" \'\'"${V3}"\'\' )'),
        ("cmd <<<{{ args.v }} <{{ args.v }}", 'cmd <<<"${V1}" <"${V2}"'),
        ("[[ {{ args.v }} == {{ args.v }} && -n {{ args.v }} ]]", '[[ "${V1}" == "${V2}" && -n "${V3}" ]]'),
        ("[[ ! ( -f {{ args.v }} ) ]]", '[[ ! ( -f "${V1}" ) ]]'),
        ("echo {a,b}{{ args.v }} ${h}{{ args.v }} $#{{ args.v }}", 'echo {a,b}"${V1}" ${h}"${V2}" $#"${V3}"'),
        ("diff <(cat {{ args.v }}) >(cat {{ args.v }})", 'diff <(cat "${V1}") >(cat "${V2}")'),
        ("f() { echo {{ args.v }}; }\nf {{ args.v }}", 'f() { echo "${V1}"; }\nf "${V2}"'),
        ("echo \\\n  {{ args.v }} \\\n  '{{ args.v }}'", "echo \\\n  \"${V1}\" \\\n  ''\"${V2}\"''"),
        ("{% if args.v %}echo {{ args.v }}\n{% else %}echo no\n{% endif %}true", 'echo "${V1}"\ntrue'),
        ("echo {% for i in args.items %}-x {{ i }} {% endfor %}; true", 'echo -x "${V1}" -x "${V2}" ; true'),
        ("echo '{% raw %}{{ x }}{% endraw %}' {{ args.v }}", "echo '{{ x }}' \"${V1}\""),
        ("echo $((1<<2)) $(( (1) )) {{ args.v }}", 'echo $((1<<2)) $(( (1) )) "${V1}"'),
        # What only looks like something else.
        ("echo a#b {{ args.v }}", 'echo a#b "${V1}"'),
        ('echo ""#b {{ args.v }}', 'echo ""#b "${V1}"'),
        ("echo if {{ args.v }} esac", 'echo if "${V1}" esac'),
        ("x=$(\\\n  echo {{ args.v }})", 'x=$(\\\n  echo "${V1}")'),
        ("echo {{ args.v }}>f 2{{ args.v }}>f", 'echo "${V1}">f 2"${V2}">f'),
        ('echo "$(-p case x in x) echo {{ args.v }};; esac)"', 'echo "$(-p case x in x) echo ${V1};; esac)"'),
        ("-- case x in\n{{ args.v }}", '-- case x in\n"${V1}"'),
        ("time -p -- echo {{ args.v }}", 'time -p -- echo "${V1}"'),
        ("((a[1] > 2)) && echo {{ args.v }}", '((a[1] > 2)) && echo "${V1}"'),
        ('(( "$n" > "${m}" )) && echo $(( "$n" + 1 )) {{ args.v }}', '(( "$n" > "${m}" )) && echo $(( "$n" + 1 )) "${V1}"'),
    ],
)
def test_a_value_becomes_a_reference_that_is_quoted_for_its_place(text, expected):
    assert script(text) == expected


ARITHMETIC = "is evaluated as arithmetic, which can run commands"
IN_CONDITION = "in `[[ ]]` may be evaluated, or be a command in sh"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("echo $(( {{ args.v }} ))", f"a value inside `$(( ))` {ARITHMETIC}"),
        ('echo $(( "{{ args.v }}" + 1 ))', f"a value inside `$(( ))` {ARITHMETIC}"),
        ("(( {{ args.v }} > 1 ))", f"a value inside `(( ))` {ARITHMETIC}"),
        ('(( "{{ args.v }}" ))', f"a value inside `(( ))` {ARITHMETIC}"),
        ("for ((i=0; i<{{ args.v }}; i++)); do true; done", f"a value inside `$(( ))` {ARITHMETIC}"),
        ("let x={{ args.v }}", "`let` evaluates this value as arithmetic, which can run commands"),
        ("a[{{ args.v }}]=1", f"a value in an array index {ARITHMETIC}"),
        ("a=( [{{ args.v }}]=1 )", f"a value in an array index {ARITHMETIC}"),
        ("echo ${a[{{ args.v }}]}", "a value inside `${ }`"),
        ('echo "${x:-{{ args.v }}}"', "a value inside `${ }`"),
        ("echo `cat {{ args.v }}`", "a value inside back-ticks: write `$( )` instead"),
        ("echo $'{{ args.v }}'", "a value inside `$'…'`, which expands nothing"),
        ("[[ {{ args.v }} -eq 1 ]]", "a value before `-eq` in `[[ ]]` may be evaluated"),
        ("[[ 1 -eq {{ args.v }} ]]", f"a value after `-eq` {IN_CONDITION}"),
        ("[[ -v {{ args.v }} ]]", f"a value after `-v` {IN_CONDITION}"),
        ("[[ $(echo {{ args.v }}) -eq 1 ]]", "a value before `-eq` in `[[ ]]` may be evaluated"),
        ("cat <<'EOF'\n{{ args.v }}\nEOF", "a value in a here-document with a quoted end word, which expands nothing: write `<<EOF`"),
        ("cat <<{{ args.v }}\n", "a value in the end word of a here-document"),
        ("cat <<EOF{{ args.v }}\n", "a value in the end word of a here-document"),
        ("echo \\{{ args.v }}", "a value right after a backslash"),
        ("echo {a,{{ args.v }}", "a value inside `{…}`, which bash expands and sh does not: quote the braces"),
        ("echo ~{{ args.v }}", "a value right after `~`: no user's home is looked up then"),
        ("{{ args.v }}=1", "a value cannot name a variable"),
        ("{{ args.v }}() { true; }", "`(` after a value"),
        ("for {{ args.v }} in a; do true; done", "a value cannot name the variable of `for`"),
        ("{ true; } {{ args.v }}", "a value after a compound command"),
        ("cmd >&{{ args.v }}", "a value right after `>&` or `<&` may be the number of a descriptor or a file: write `>file 2>&1`"),
        ("cmd &>f {{ args.v }}", "a value after `&>file`, which is a command of its own in sh: write `>file 2>&1`"),
        ("{% if args.v %}echo '{% endif %}{{ args.v }}'", "does not end in the shell state in which it began"),
        ('{% for i in args.items %}echo "{% endfor %}{{ args.v }}', "does not end in the shell state in which it began"),
    ],
)
def test_a_value_where_no_quoting_is_safe_is_refused(text, reason):
    assert reason in refusal(text).message


@pytest.mark.parametrize(
    "text",
    [
        # Two shells, two readings: where one sees the text of a command, the other is within the quotes around it.
        'echo "$(time case x in x) echo {{ args.v }};; esac)"',
        'echo "$(time -p { case x in x) echo {{ args.v }};; esac; })"',
        'echo "$(select x do case x in x) echo {{ args.v }};; esac; done)"',
        'echo "$(function f { case x in x) echo {{ args.v }};; esac; })"',
        'echo "$(function f case x in x) echo {{ args.v }};; esac)"',
        'echo "$([[ a == b) -n {{ args.v }} ]])"',
        "echo ${x:-$'a\\'}'} {{ args.v }} '",
        # A continued line makes one word, or one operator, of two.
        "echo $(\\\n( {{ args.v }} ))",
        "echo $(\\\n\\\n( {{ args.v }} ))",
        "echo $({% if args.v %}\\\n{% endif %}( {{ args.v }} ))",
        "(\\\n( {{ args.v }} ))",
        "echo <\\\n<EOF\n{{ args.v }}\nEOF",
        "ca\\\nse x in x) echo {{ args.v }};; esac",
        # In sh, `[[` is a command that ends at the next operator.
        "[[ x =~ a|{{ args.v }} ]]",
        "[[ x =~ a|b{{ args.v }} ]]",
        '[[ x =~ "a"|{{ args.v }} ]]',
        "[[ a || ! {{ args.v }} ]]",
        "[[ a && ! ! {{ args.v }} ]]",
        "[[ a ||\n! {{ args.v }} ]]",
        "[[ a || eval == {{ args.v }} ]]",
        "[[ a || ! eval == {{ args.v }} ]]",
        "[[ a ||\neval == {{ args.v }} ]]",
        "[[ a || ( eval == {{ args.v }} )\n]]",
        "[[ x =~ a|eval == {{ args.v }} ]]",
        "[[ a || alias == {{ args.v }} ]]",
        # What is text in one kind of bash is a pattern or another text in another.
        "!(echo {{ args.v }})",
        "alias e='echo \"'\ne {{ args.v }}",
        "command alias e='echo \"'\ne {{ args.v }}",
        "builtin alias e='echo \"'\ne {{ args.v }}",
        "echo @(a|{{ args.v }})",
        "coproc case x in x) echo {{ args.v }};; esac",
        "echo $[ {{ args.v }} ]",
        "echo ${ echo {{ args.v }}; }",
    ],
)
def test_a_value_where_shells_may_read_the_text_in_two_ways_is_refused(text):
    assert refusal(text).offset >= text.index("{")


RUNS = "runs this value as a command"


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ("timeout 5 {{ args.v }}", f"`timeout` {RUNS}"),
        ("timeout -k 1s 5 {{ args.v }} x", f"`timeout` {RUNS}"),
        ("nice -n 5 {{ args.v }}", f"`nice` {RUNS}"),
        ("env -u A B=c {{ args.v }}", f"`env` {RUNS}"),
        ("xargs -n 1 {{ args.v }}", f"`xargs` {RUNS}"),
        ("sudo -u {{ args.v }} {{ args.v }}", f"`sudo` {RUNS}"),
        ("strace {{ args.v }}", f"`strace` {RUNS}"),
        ("find . -name x -exec {{ args.v }} \\;", f"`find -exec` {RUNS}"),
        ("find . -exec sh -c {{ args.v }} \\;", "`sh` parses this value as a program"),
        ("timeout 5 bash -c {{ args.v }}", "`bash` parses this value as a program"),
    ],
)
def test_a_value_that_a_command_runs_is_warned_of(text, warning):
    assert [found.message for found in parse_shell(text).warnings] == [warning]


@pytest.mark.parametrize(
    "text",
    [
        "find . -name {{ args.v }}",
        "find {{ args.v }} -type f -exec cat {} \\;",
        "timeout {{ args.v }} make",
        "timeout -s {{ args.v }} 5 make",
        "nice -n {{ args.v }} make {{ args.v }}",
        "env A={{ args.v }} make {{ args.v }}",
        "xargs -I {{ args.v }} echo {{ args.v }}",
        "sudo apt-get install {{ args.v }}",
        "docker run . {{ args.v }}",
    ],
)
def test_a_value_that_a_command_takes_as_data_is_not_warned_of(text):
    assert parse_shell(text).warnings == ()


def test_a_block_whose_branches_agree_on_other_quotes_than_it_began_in_is_refused():
    found = refusal('echo {% if args.v %}"a {% else %}"b {% endif %}{{ args.v }}"')
    assert (found.offset, found.message) == (8, "a template block that does not end in the shell state in which it began")
