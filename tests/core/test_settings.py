"""The one rule by which layers of agent settings merge."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpool_flow.model import AgentConfig, Step, Workflow
from cpool_flow.pool_file import PoolFile
from cpool_flow.settings import Layer, layers_of, merge, system_prompt
from cpool_flow.slots import NamedSlot, SlotPool

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


# ---- which layers, and in which order -----------------------------------------------------------------------

PLACES = ("pool", "workflow", "skill mend", "slot reviewer", "profile deep", "step fix")


def layers_in(*places: str, **step: Any) -> list[Layer]:
    """The layers of the step `fix` where each of these places says which it is, by `model`, and `env` by its own name."""

    def says(place: str) -> dict[str, Any]:
        return {"model": place, "env": {place.split(" ")[0].upper(): place}} if place in places else {}

    workflow = {"config": says("workflow"), "profiles": {"deep": says("profile deep")}, "steps": [{"run": "x"}]}
    slot = NamedSlot("reviewer-1", "reviewer", config=AgentConfig.model_validate(says("slot reviewer")))
    written = {"name": "fix", "skill": "mend", "slot": "reviewer", "profile": "deep", "config": says("step fix")} | step
    return layers_of(
        Step.model_validate({key: value for key, value in written.items() if value is not None}),
        "fix",
        Workflow.model_validate(workflow),
        SlotPool(PoolFile.model_validate({"config": says("pool")}), (slot,)),
        AgentConfig.model_validate(says("skill mend")) if written["skill"] else None,
        slot if written["slot"] else None,
    )


@pytest.mark.parametrize("strongest", PLACES)
@pytest.mark.parametrize("weaker", PLACES)
def test_of_two_places_the_one_nearer_to_the_step_wins(weaker: str, strongest: str) -> None:
    if PLACES.index(weaker) >= PLACES.index(strongest):
        return
    merged = merge(layers_in(weaker, strongest))
    assert (merged.config.model, merged.sources["model"]) == (strongest, strongest)
    assert set((merged.config.env or {}).values()) == {weaker, strongest}


@pytest.mark.parametrize("place", PLACES)
def test_what_only_one_place_says_comes_from_there(place: str) -> None:
    merged = merge(layers_in(place))
    assert (merged.config.model, merged.sources["model"]) == (place, place)
    assert ("model" in merged.pooled) == (place == "pool")


def test_a_step_that_asks_for_no_slot_gets_the_settings_of_none() -> None:
    merged = merge(layers_in(*PLACES, slot=None, profile=None, config=None))
    assert merged.config.model == "skill mend"
    assert "SLOT" not in (merged.config.env or {})


@pytest.mark.parametrize(
    ("own", "pooled", "model"),
    [
        ({"model": "own"}, {"model": "pooled", "effort": "high"}, "own"),
        (None, {"model": "pooled"}, "pooled"),
        ({}, {"model": "pooled"}, None),
    ],
)
def test_a_profile_of_the_file_wins_whole_over_one_of_the_pool(own: Any, pooled: Any, model: str | None) -> None:
    workflow = Workflow.model_validate({"profiles": {"deep": own} if own is not None else {}, "steps": [{"run": "x"}]})
    pool = SlotPool(PoolFile.model_validate({"profiles": {"deep": pooled}}), ())
    merged = merge(layers_of(Step(prompt="x", profile="deep"), "fix", workflow, pool))
    assert (merged.config.model, merged.config.effort) == (model, None)


def test_tools_of_all_places_add_up_and_what_the_pool_takes_away_stays_away() -> None:
    pool = SlotPool(PoolFile.model_validate({"config": {"allowed_tools": ["Read"], "disallowed_tools": ["Bash"]}}), ())
    workflow = Workflow.model_validate({"config": {"allowed_tools": ["Edit", "Read"]}, "steps": [{"run": "x"}]})
    merged = merge(
        layers_of(Step.model_validate({"prompt": "x", "config": {"allowed_tools": ["Bash(git *)", "Glob"]}}), "s", workflow, pool)
    )
    assert (merged.config.allowed_tools, merged.config.disallowed_tools) == (("Read", "Edit", "Glob"), ("Bash",))
    assert merged.sources["allowed_tools"] == "pool, workflow, step s"


def test_who_asked_for_a_slot_is_told_who_it_is_before_all_else() -> None:
    slot = NamedSlot("reviewer-1", "reviewer", role="Senior reviewer", description="Reads twice.")
    assert system_prompt({"team": "a"}, AgentConfig(system_prompt="Be brief."), slot) == (
        "Your name is reviewer-1.\nYour role: Senior reviewer\nReads twice.\n\nBe brief.\n\nShared context:\n- team: a"
    )
    assert system_prompt({}, AgentConfig(), NamedSlot("slot-1")) == "Your name is slot-1."
