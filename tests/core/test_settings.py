"""The one rule by which layers of agent settings merge."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from cpool_flow.model import AgentConfig
from cpool_flow.settings import Layer, merge, system_prompt

TOOLS = st.lists(st.sampled_from(["Bash", "Bash(git log *)", "Edit", "Write", "mcp__github__get"]), max_size=4)
CONFIGS = st.fixed_dictionaries({}, optional={"model": st.sampled_from("abc"), "allowed_tools": TOOLS, "disallowed_tools": TOOLS})


def layer(source: str, **values: Any) -> Layer:
    return Layer(source, AgentConfig.model_validate(values))


def test_the_last_layer_that_says_something_wins_for_scalars() -> None:
    merged = merge([layer("workflow", model="sonnet", max_turns=5), layer("skill review", model="opus"), layer("step fix", effort="high")])
    assert (merged.config.model, merged.config.max_turns, merged.config.effort) == ("opus", 5, "high")
    assert merged.sources == {"model": "skill review", "max_turns": "workflow", "effort": "step fix"}


def test_false_is_a_value_and_unset_is_none() -> None:
    merged = merge([layer("workflow", strict_mcp_config=True), layer("step", strict_mcp_config=False)])
    assert merged.config.strict_mcp_config is False
    assert merge([]).config == AgentConfig()


def test_allowed_tools_add_up_in_order_without_duplicates() -> None:
    merged = merge([layer("workflow", allowed_tools=["Read", "Edit"]), layer("step", allowed_tools=["Edit", "Bash(git log *)"])])
    assert merged.config.allowed_tools == ("Read", "Edit", "Bash(git log *)")
    assert merged.sources["allowed_tools"] == "workflow, step"


def test_a_tool_that_a_weak_layer_disallows_no_strong_layer_can_allow() -> None:
    merged = merge([layer("workflow", disallowed_tools=["Bash"]), layer("step", allowed_tools=["Bash", "Bash(git log *)", "Edit"])])
    assert merged.config.allowed_tools == ("Edit",)
    assert merged.config.disallowed_tools == ("Bash",)


def test_a_disallowed_pattern_takes_only_itself_away() -> None:
    merged = merge([layer("workflow", allowed_tools=["Bash", "Bash(rm *)"]), layer("step", disallowed_tools=["Bash(rm *)"])])
    assert merged.config.allowed_tools == ("Bash",)


def test_mcp_servers_merge_by_name_and_the_last_wins_whole() -> None:
    merged = merge(
        [
            layer("workflow", mcp_servers={"github": {"command": "a", "env": {"X": "1"}}, "docs": {"url": "d"}}),
            layer("step", mcp_servers={"github": {"command": "b"}}),
        ]
    )
    assert merged.config.mcp_servers == {"github": {"command": "b"}, "docs": {"url": "d"}}
    assert merged.sources == {"mcp_servers.github": "step", "mcp_servers.docs": "workflow"}


def test_environment_variables_merge_by_name() -> None:
    merged = merge([layer("workflow", env={"A": "1", "B": 2}), layer("step", env={"B": 3})])
    assert merged.config.env == {"A": "1", "B": "3"}


def test_plain_lists_do_not_add_up() -> None:
    merged = merge([layer("workflow", add_dirs=["../a"], command=["x"]), layer("step", add_dirs=["../b"])])
    assert (merged.config.add_dirs, merged.config.command) == (("../b",), ("x",))


@given(st.lists(CONFIGS, max_size=4))
def test_merging_in_two_steps_is_merging_in_one(configs: list[dict[str, Any]]) -> None:
    layers = [layer(f"layer {number}", **config) for number, config in enumerate(configs)]
    halfway = Layer("halfway", merge(layers[:2]).config)
    assert merge([halfway, *layers[2:]]).config == merge(layers).config


@given(st.lists(CONFIGS, max_size=4))
def test_nothing_is_both_allowed_and_disallowed(configs: list[dict[str, Any]]) -> None:
    merged = merge([layer("layer", **config) for config in configs]).config
    assert not set(merged.allowed_tools or ()) & set(merged.disallowed_tools or ())


def test_the_system_prompt_holds_the_configured_text_and_the_context_sorted_by_key() -> None:
    text = system_prompt({"team": "payments", "rules": ["a", 1], "note": "two\nlines"}, AgentConfig(system_prompt="Be brief."))
    assert text == 'Be brief.\n\nShared context:\n- note: "two\\nlines"\n- rules: ["a", 1]\n- team: payments'


def test_without_text_and_context_there_is_no_system_prompt() -> None:
    assert system_prompt({}, AgentConfig()) is None
