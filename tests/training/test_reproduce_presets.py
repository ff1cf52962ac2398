"""What an experiment is made of: tasks that do not mix, one compute for all arms, changes that are checked."""

import pytest
from pydantic import ValidationError

from step_envs.alfworld.generation.task_ids import parse_task_id, split_of_seed
from step_envs.errors import UnknownNameError
from step_envs.training.experiments.experiment_config import STEP_ARMS
from step_envs.training.experiments.presets import PRESETS, preset, with_changes
from step_envs.training.experiments.step_plan import ExperimentStep, plan_steps
from step_envs.training.experiments.worlds import EXPERIMENT_WORLDS


@pytest.mark.parametrize("name", PRESETS)
def test_tasks_of_different_purposes_are_different_tasks(name):
    chosen = preset(name)
    purposes = ("golden", "play", "samples", "held_out")
    tasks = {(purpose, draw): chosen.task_ids(purpose, draw) for purpose in purposes for draw in (0, 1)}
    assert len(tasks["golden", 0]) == chosen.tasks and len(tasks["held_out", 0]) == chosen.held_out
    every = [task for names in tasks.values() for task in names]
    assert len(set(every)) == len(every)
    for (purpose, _), names in tasks.items():
        splits = {split_of_seed(parse_task_id(task).seed) for task in names}
        assert splits == {"valid_unseen" if purpose == "held_out" else "train"}


@pytest.mark.parametrize("name", PRESETS)
def test_every_step_comes_after_what_it_needs(name):
    steps = plan_steps(preset(name))
    done = set()
    for step in steps:
        assert set(step.needs) <= done, step
        done.add(step.name)
    assert len(done) == len(steps)
    for seed in preset(name).seeds:
        assert {f"evaluate:{arm}@seed-{seed}" for arm in STEP_ARMS} <= done
    assert all(ExperimentStep.parse(step.name).name == step.name for step in steps)


def test_the_presets_are_as_large_as_they_say():
    cpu, gpu = preset("cpu"), preset("gpu")
    assert len(cpu.seeds) >= 2 and cpu.held_out >= 300 and cpu.workers == 2
    assert (
        len(gpu.seeds) >= 3 and gpu.held_out >= 500 and gpu.tasks >= 20_000 and gpu.env_options["household"] == "full"
    )
    with pytest.raises(UnknownNameError, match=r"Unknown preset 'cpus'\. Did you mean 'cpu'"):
        preset("cpus")


def test_a_named_model_takes_the_place_of_one_from_nothing():
    chosen = preset("cpu", model="runs/some-model")
    assert chosen.pretraining is None and chosen.model == "runs/some-model" and chosen.style == "eto"
    assert "pretrain" not in {step.kind for step in plan_steps(chosen)}
    assert chosen.training.learning_rate == 2e-5
    # The loop for tiny models is not for this one; a step has as many tokens as before.
    small, large = preset("cpu").training, chosen.training
    assert (small.loop, large.loop) == ("small", "trl")
    assert small.batch_size * small.accumulate == large.batch_size * large.accumulate


def test_a_preset_can_be_changed_in_part():
    changed = with_changes(preset("cpu"), {"training.max_steps": 2500, "arms": ["d1", "step"], "seeds": [7]})
    assert changed.training.max_steps == 2500 and changed.arms == ("d1", "step") and changed.seeds == (7,)
    assert changed.base == preset("cpu").base
    with pytest.raises(UnknownNameError, match=r"'training\.max_step'\. Did you mean 'training\.max"):
        with_changes(preset("cpu"), {"training.max_step": 3})
    with pytest.raises(UnknownNameError, match=r"Unknown part of the preset 'seeds\.0'"):
        with_changes(preset("cpu"), {"seeds.0": 3})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"base.max_steps": 5000}, "below training.max_steps"),
        ({"base.max_steps": None}, "need max_steps"),
        ({"training.batch_size": 3}, "base and training must have the same batch_size, or"),
        ({"training.loop": "trl"}, "base and training must have the same loop, or"),
        ({"training.lora_rank": 8}, "lora_rank must not be set"),
        ({"training.save_steps": 33}, "multiple of logging_steps"),
        ({"pretraining": None}, "either a model is named, or pretraining"),
        ({"tasks": 3}, "greater than or equal to 12"),
        ({"arms": ["d2"]}, "arms"),
        ({"seeds": [1, 1]}, "every seed once"),
        ({"seeds": [100]}, "seeds go from 0 to 99"),
        ({"env_options.max_steps": 3}, "leave it out of env_options"),
        ({"gate.success": [0.7, 0.4]}, "the lower one first"),
        ({"pretraining.training": None}, "play and copying are what is trained on"),
        ({"env": "STeP-Chess-v0"}, "Unknown world of an experiment"),
    ],
)
def test_what_does_not_go_together_is_refused(changes, message):
    with pytest.raises(ValidationError, match=message):
        with_changes(preset("cpu"), changes)


@pytest.mark.parametrize("env", EXPERIMENT_WORLDS)
def test_each_world_has_tasks_for_every_preset_and_seed(env):
    """Held-out tasks are those of a split of their own, and another seed draws others."""
    chosen = preset("smoke", env=env)
    assert chosen.env == env
    golden, held_out = ({draw: chosen.task_ids(purpose, draw) for draw in (0, 1)} for purpose in ("golden", "held_out"))
    for draw in (0, 1):
        assert len(set(golden[draw])) == chosen.tasks and len(set(held_out[draw])) == chosen.held_out
        assert not set(golden[draw]) & set(held_out[draw])
        assert chosen.task_ids("golden", draw) == golden[draw]
    assert golden[0] != golden[1] and held_out[0] != held_out[1]


def test_what_seeds_share_is_done_once():
    for shared, once in (
        ("nothing", set()),
        ("original", {"original", "play"}),
        ("data", {"original", "play", "base", "collect"}),
    ):
        names = [step.name for step in plan_steps(with_changes(preset("smoke"), {"shared": shared}))]
        for kind in ("original", "play", "base", "collect", "train"):
            scopes = {name.partition("@")[2] for name in names if name.partition("@")[0].partition(":")[0] == kind}
            assert scopes == ({"shared"} if kind in once else {"seed-0", "seed-1"}), (shared, kind)


def test_the_gate_comes_before_the_arms_where_it_may_stop():
    steps = {step.name: step for step in plan_steps(with_changes(preset("smoke"), {"gate.stop": True}))}
    assert steps["gate@seed-1"].needs == ("evaluate:base@seed-1",)
    assert "gate@seed-1" in steps["train:step@seed-1"].needs
    assert not any(step.kind == "gate" for step in plan_steps(preset("smoke")))
