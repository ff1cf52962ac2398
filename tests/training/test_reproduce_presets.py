"""What an experiment is made of: tasks that do not mix, one compute for all arms, changes that are checked."""

import pytest
from pydantic import ValidationError

from step_envs.alfworld.generation.task_ids import parse_task_id, split_of_seed
from step_envs.errors import UnknownNameError
from step_envs.training.experiments.presets import ARMS, PRESETS, preset, with_changes
from step_envs.training.experiments.stages import plan_steps


@pytest.mark.parametrize("name", PRESETS)
def test_tasks_of_different_purposes_are_different_tasks(name):
    chosen = preset(name)
    tasks = {purpose: chosen.task_ids(purpose) for purpose in ("golden", "play", "samples", "held_out")}
    assert len(tasks["golden"]) == chosen.tasks and len(tasks["held_out"]) == chosen.held_out
    every = [task for names in tasks.values() for task in names]
    assert len(set(every)) == len(every)
    for purpose, names in tasks.items():
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
        assert {f"evaluate:{arm}:{seed}" for arm in ARMS} <= done


def test_the_presets_are_as_large_as_they_say():
    cpu, gpu = preset("cpu"), preset("gpu")
    assert len(cpu.seeds) >= 2 and cpu.held_out >= 300 and cpu.workers == 2
    assert len(gpu.seeds) >= 3 and gpu.held_out >= 500 and gpu.tasks >= 20_000 and gpu.household == "full"
    with pytest.raises(UnknownNameError, match=r"Unknown preset 'cpus'\. Did you mean 'cpu'"):
        preset("cpus")


def test_a_named_model_takes_the_place_of_one_from_nothing():
    chosen = preset("cpu", model="runs/some-model")
    assert chosen.pretraining is None and chosen.model == "runs/some-model" and chosen.style == "eto"
    assert "pretrain" not in {step.name for step in plan_steps(chosen)}
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
    ],
)
def test_what_does_not_go_together_is_refused(changes, message):
    with pytest.raises(ValidationError, match=message):
        with_changes(preset("cpu"), changes)
