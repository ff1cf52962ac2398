"""A teacher that is asked about some steps only: which ones, what becomes of the others, and what is recorded."""

import json
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import own_world  # noqa: F401  (registers Coin-v0)
import pytest
from coin_runs import HERE, without_time

from step_envs.agents import NoviceAgent
from step_envs.collection import rollout
from step_envs.collection.collector import collect
from step_envs.collection.config import CollectConfig
from step_envs.collection.progress import Progress
from step_envs.report.gathering import gather
from step_envs.report.measure import errors_by_step, verdicts
from step_envs.store import read_trajectories
from step_envs.trajectory import Trajectory, Turn, Verdict
from step_envs.wrappers import ReActWrapper, TeacherMonitorWrapper
from step_envs.wrappers.teachers import Teacher, TeacherContext
from step_envs.wrappers.teaching_schedule import ScheduledSteps, TeachingSchedule

FAR = {"task_id": "coin/study/hall"}


class Yes(Teacher):
    """Calls every step right, and counts them."""

    def __init__(self) -> None:
        self.asked: list[str | None] = []

    def judge(self, context: TeacherContext) -> Verdict:
        self.asked.append(context.action)
        return Verdict(status="ok")


def judged_steps(teach: str, steps: int = 12, seed: int | None = 5) -> list[int]:
    scheduled = ScheduledSteps(TeachingSchedule.parse(teach))
    scheduled.begin(seed)
    return [step for step in range(1, steps + 1) if scheduled.next_is_judged()]


def looks(teach: str, number: int, seed: int = 5, **options: Any) -> tuple[Trajectory, Yes]:
    teacher = Yes()
    env = TeacherMonitorWrapper(ReActWrapper(gym.make("Coin-v0")), teacher, teach=teach, **options)
    env.reset(seed=seed, options=FAR)
    for _ in range(number):
        env.step("Thought: so\nAction: look")
    return env.trajectory, teacher


def replies(trajectory: Trajectory) -> list[Turn]:
    return [turn for turn in trajectory.turns if turn.role == "assistant" and turn.kind != "instruction"]


@pytest.mark.parametrize(
    ("teach", "steps"),
    [
        ("all", list(range(1, 13))),
        ("every:3", [3, 6, 9, 12]),
        ("first:2", [1, 2]),
        ("after:9", [10, 11, 12]),
        ("share:1", list(range(1, 13))),
        ("falling:0", [1]),
        ("falling:1", list(range(1, 13))),
    ],
)
def test_each_rule_picks_its_steps(teach: str, steps: list[int]) -> None:
    assert judged_steps(teach) == steps


def test_shares_are_drawn_by_the_seed() -> None:
    assert judged_steps("share:0.5", 60) == judged_steps("share:0.5", 60)
    assert judged_steps("share:0.5", 60, seed=6) != judged_steps("share:0.5", 60)
    counts = [len(judged_steps("share:0.25", 100, seed)) for seed in range(100)]
    assert 0.22 < sum(counts) / 10_000 < 0.28
    # What a higher share judges holds what a lower one does.
    assert set(judged_steps("share:0.3", 60)) < set(judged_steps("share:0.6", 60))


def test_a_falling_share_falls() -> None:
    steps = [step for seed in range(400) for step in judged_steps("falling:0.8", 10, seed)]
    shares = [steps.count(step) / 400 for step in range(1, 11)]
    assert shares[0] == 1
    assert [round(0.8**k, 2) for k in range(10)] == pytest.approx(shares, abs=0.08)


def test_without_a_seed_the_draws_go_on() -> None:
    scheduled = ScheduledSteps(TeachingSchedule.parse("share:0.5"))
    found = []
    for seed in (3, None, None, 3):
        scheduled.begin(seed)
        found.append([scheduled.next_is_judged() for _ in range(40)])
    assert found[0] == found[3]
    assert found[1] != found[0] and found[1] != found[2]


@pytest.mark.parametrize(
    ("teach", "sentence"),
    [
        ("xyz", "Unknown rule of teach 'xyz'. Known: all, after, every, falling, first, share."),
        ("evry:3", "Unknown rule of teach 'evry'. Did you mean 'every'?"),
        ("all:3", "In teach='all:3', the rule 'all' takes no number."),
        ("share", "In teach='share', the number must be above 0 and at most 1."),
        ("share:1.5", "In teach='share:1.5', the number must be above 0 and at most 1."),
        ("falling:nan", "In teach='falling:nan', the number must be from 0 to 1."),
        ("every:0", "In teach='every:0', the number must be a whole number from 1."),
        ("share:0", "In teach='share:0', the number must be above 0 and at most 1."),
        ("first:0", "In teach='first:0', the number must be a whole number from 1."),
        ("first:2.5", "In teach='first:2.5', the number must be a whole number from 1."),
        ("after:-1", "In teach='after:-1', the number must be a whole number from 0."),
    ],
)
def test_what_is_no_schedule_is_refused(teach: str, sentence: str) -> None:
    with pytest.raises(ValueError) as error:
        TeacherMonitorWrapper(ReActWrapper(gym.make("Coin-v0")), Yes(), teach=teach)
    assert str(error.value) == sentence
    with pytest.raises(ValueError, match="teach"):
        CollectConfig(env="own_world:Coin-v0", episodes=1, teach=teach)


@pytest.mark.parametrize("text", ["all", "every:3", "share:0.5", "falling:0.3333333333333333", "first:1", "after:7"])
def test_a_schedule_is_written_as_it_is_read(text: str) -> None:
    assert str(TeachingSchedule.parse(text)) == text
    assert TeachingSchedule.parse(str(TeachingSchedule.parse(text))) == TeachingSchedule.parse(text)


@pytest.mark.parametrize("intervene", ["after", "before"])
def test_a_step_that_was_not_judged_has_no_verdict_and_no_weight(intervene: str) -> None:
    trajectory, teacher = looks("every:2", 4, intervene=intervene)
    assert len(teacher.asked) == 2
    assert [(turn.kind, turn.loss, turn.verdict is None) for turn in replies(trajectory)] == [
        ("agent", 0.0, True),
        ("agent", 1.0, False),
        ("agent", 0.0, True),
        ("agent", 1.0, False),
    ]
    assert trajectory.unknown_verdicts == 0
    assert trajectory.protocol["teach"] == "every:2"
    assert Trajectory.from_json(trajectory.to_json()) == trajectory


def test_a_record_of_an_earlier_version_is_read() -> None:
    trajectory, _ = looks("all", 1)
    old = json.loads(trajectory.to_json())
    del old["protocol"]["teach"]
    for turn in old["turns"]:
        if turn["verdict"]:
            del turn["verdict"]["category"]
    read = Trajectory.from_json(json.dumps(old))
    assert read.turns == trajectory.turns


def test_the_step_that_completes_the_task_is_right_in_every_schedule() -> None:
    teacher = Yes()
    env = TeacherMonitorWrapper(ReActWrapper(gym.make("Coin-v0")), teacher, teach="after:1000")
    env.reset(seed=1, options=FAR)
    over = False
    while not over:
        *_, over, _, _ = env.step(f"Thought: so\nAction: {env.unwrapped.oracle.next_action()}")  # type: ignore[attr-defined]
    assert env.trajectory.success and not teacher.asked
    assert [turn.loss for turn in replies(env.trajectory)][-2:] == [0.0, 1.0]


def test_thoughts_before_a_step_that_was_not_judged_are_not_trained() -> None:
    teacher = Yes()
    env = TeacherMonitorWrapper(ReActWrapper(gym.make("Coin-v0"), think_actions=True), teacher, teach="every:2")
    env.reset(seed=1, options=FAR)
    for action in ("think: where", "look", "think: there", "look"):
        env.step(f"Action: {action}")
    assert [turn.loss for turn in replies(env.trajectory)] == [0.0, 0.0, 1.0, 1.0]
    assert teacher.asked == ["look"]


def test_an_agent_is_judged_on_the_same_steps_whoever_teaches() -> None:
    found = []
    for rate in (0.0, 0.9):
        env = TeacherMonitorWrapper(ReActWrapper(gym.make("Coin-v0")), Yes(), teach="share:0.5")
        played = rollout(env, NoviceAgent(error_rate=rate), seed=11, task_id=FAR["task_id"])
        found.append([turn.verdict is not None for turn in replies(played)][:-1])
    shortest = min(map(len, found))
    assert shortest > 1 and found[0][:shortest] == found[1][:shortest]


def test_every_engine_and_a_resumed_run_judge_the_same_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(HERE))
    monkeypatch.setenv("PYTHONPATH", ":".join([str(HERE), *sys.path]))
    asked = CollectConfig(
        env="own_world:Coin-v0", episodes=20, agent="novice:error_rate=0.4", teach="share:0.5", concurrency=3, seed=4
    )
    figures = collect(asked, tmp_path / "threads")
    assert figures.unjudged > 10 and figures.judged > 10
    collect(asked.with_changes(episodes=7, concurrency=1), tmp_path / "resumed")
    again = collect(asked, tmp_path / "resumed", resume=True)
    collect(asked.with_changes(engine="processes"), tmp_path / "processes")
    assert (
        without_time(tmp_path / "threads") == without_time(tmp_path / "resumed") == without_time(tmp_path / "processes")
    )
    # Also where the figures are read back from the folder.
    assert again.unjudged == figures.unjudged and again.categories == figures.categories
    summary = json.loads((tmp_path / "threads" / "summary.json").read_text())
    own = [turn for one in read_trajectories(tmp_path / "threads") for turn in replies(one) if turn.kind == "agent"]
    assert summary["unjudged_steps"] == sum(turn.verdict is None for turn in own)
    assert all(turn.loss == 0 for turn in own if turn.verdict is None)
    assert sum(summary["error_categories"].values()) == summary["errors"]


def test_a_report_counts_steps_that_were_not_judged_and_does_not_call_them_fit_to_train_on(tmp_path: Path) -> None:
    config = CollectConfig(env="own_world:Coin-v0", episodes=12, agent="novice:error_rate=0.4", teach="share:0.3")
    figures = collect(config, tmp_path / "run")
    run = gather([tmp_path / "run"])[0]
    found = verdicts(run)
    turns = [turn for one in read_trajectories(tmp_path / "run") for turn in replies(one)]
    assert found.unjudged == figures.unjudged > 0
    assert found.trained.value == pytest.approx(sum(turn.loss > 0 for turn in turns) / len(turns))
    # The engine's own word on the last step is no verdict of the teacher.
    assert figures.successes and found.judged == figures.judged > 0
    assert found.judged < sum(turn.verdict is not None for turn in turns)
    # What was not judged is not counted as right.
    judged = [turn for turn in turns if turn.verdict is not None]
    assert sum(number for _, number, _ in errors_by_step(run)) == len(judged)


@pytest.mark.parametrize("teach", ["after:1000", "every:1000"])
def test_a_schedule_that_judged_no_step_is_named(teach: str, tmp_path: Path) -> None:
    config = CollectConfig(env="own_world:Coin-v0", episodes=4, agent="novice:error_rate=0.4", teach=teach)
    figures = collect(config, tmp_path)
    assert figures.judged == 0 and figures.successes
    assert figures.of_no_use() == (
        f"The teacher was asked about none of the {figures.unjudged} steps: have it judge more of them by teach (--teach), "
        "or name no teacher."
    )
    # Before the end nobody knows that none will be judged.
    assert figures.of_no_use(ended=False) is None
    assert collect(config.with_changes(teach="every:2", episodes=8), tmp_path / "some").of_no_use() is None


def test_a_thought_is_not_judged_by_the_teacher_because_its_step_was_right() -> None:
    env = TeacherMonitorWrapper(ReActWrapper(gym.make("Coin-v0"), think_actions=True), Yes(), teach="all")
    env.reset(seed=1, options=FAR)
    for action in ("think: where", "look"):
        env.step(f"Action: {action}")
    progress = Progress(planned=1)
    progress.add(env.trajectory)
    assert (progress.judged, progress.unjudged) == (1, 0)


def test_a_teacher_that_judges_before_the_step_also_judges_the_last_one() -> None:
    for intervene, unasked in (("after", 1), ("before", 0)):
        teacher = Yes()
        env = TeacherMonitorWrapper(ReActWrapper(gym.make("Coin-v0")), teacher, intervene=intervene)
        played = rollout(env, NoviceAgent(error_rate=0.0), seed=1, task_id=FAR["task_id"])
        progress = Progress(planned=1)
        progress.add(played)
        assert played.success and progress.judged == len(teacher.asked) == len(replies(played)) - unasked


def test_a_category_of_a_step_that_is_right_is_no_error() -> None:
    class Wordy(Teacher):
        def judge(self, context: TeacherContext) -> Verdict:
            return Verdict(status="ok", category="planning")

    env = TeacherMonitorWrapper(ReActWrapper(gym.make("Coin-v0")), Wordy())
    env.reset(seed=1, options=FAR)
    env.step("Action: look")
    progress = Progress(planned=1)
    progress.add(env.trajectory)
    assert progress.judged == 1 and progress.summary()["error_categories"] == {}


def test_a_schedule_without_a_teacher_is_refused(tmp_path: Path) -> None:
    sentence = r"teach='share:0\.5' \(--teach\) needs a teacher, and there is none: name one, or leave teach out\."
    for teacher in (None, "none"):
        with pytest.raises(ValueError, match=sentence):
            CollectConfig(env="own_world:Coin-v0", episodes=1, teacher=teacher, teach="share:0.5")
    without = CollectConfig(env="own_world:Coin-v0", episodes=1, teacher=None, teach="all")
    without.write(tmp_path / "config.json")
    assert CollectConfig.read(tmp_path / "config.json") == without
