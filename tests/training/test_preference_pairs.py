"""Pairs: both sides start from the same bytes, the right turns count, and what was left out is said."""

import hashlib

import gymnasium as gym
import pytest

import step_envs  # noqa: F401
from step_envs.agents.base import make_agent
from step_envs.collection.rollouts import rollout
from step_envs.errors import DataError, StoreError
from step_envs.training import PreferencePair, read_pairs, reply_pair, step_pairs, trajectory_pairs, write_pairs
from step_envs.training.masking import begins_at
from step_envs.training.preferences.pairs import is_error
from step_envs.trajectory import Actor, Trajectory, Turn, Verdict
from step_envs.wrappers import ReActWrapper, RecordTrajectory, TeacherMonitorWrapper
from step_envs.wrappers.teacher_monitor import NOT_CARRIED_OUT
from step_envs.wrappers.teachers import OracleTeacher

WORLDS = ("STeP-ALFWorld-v0", "STeP-WebShop-v0", "STeP-SciWorld-v0")
# Tasks of a few steps, whose oracle is fast.
TASKS = {"STeP-SciWorld-v0": ["find-non-living-thing/85", "find-plant/3"]}
SEEDS = range(2)


def task_of(env_id, seed):
    return TASKS[env_id][seed] if env_id in TASKS else None


def play(env_id, agent, *, intervene=None, **options):
    made = ReActWrapper(gym.make(env_id, **options))
    env = (
        RecordTrajectory(made)
        if intervene is None
        else TeacherMonitorWrapper(made, OracleTeacher(), intervene=intervene, max_errors=4)
    )
    try:
        return [
            rollout(env, make_agent(agent), seed=seed, task_id=task_of(env_id, seed), episode=seed) for seed in SEEDS
        ]
    finally:
        env.close()


@pytest.fixture(scope="module", params=WORLDS)
def env_id(request):
    return request.param


@pytest.fixture(scope="module")
def watched(env_id):
    """Episodes with errors, judged after they ran and before."""
    return {how: play(env_id, "novice:error_rate=0.5", intervene=how) for how in ("after", "before")}


@pytest.fixture(scope="module")
def alone(env_id):
    return {
        "failed": play(env_id, "novice:error_rate=0.9", max_steps=6),
        "golden": play(env_id, "oracle"),
    }


def play_by_hand(env, trajectory, turn):
    """Take another environment to the state before a turn, by nothing but actions and undoing; return its bytes."""
    world = env.unwrapped
    world.reset(options={"task_id": trajectory.task_id})
    replies = [at for at, one in enumerate(trajectory.turns) if one.role == "assistant" and one.kind != "instruction"]
    for at in replies[: replies.index(turn)]:
        before = world.snapshot()
        reply, answer = trajectory.turns[at], trajectory.turns[at + 1].content
        if NOT_CARRIED_OUT in answer:
            continue
        if reply.action is None:
            world.pass_step(answer)
        else:
            world.step(reply.action)
        failed = world.terminated and not trajectory.success
        if reply.kind == "error" and (reply.verdict.undo or failed):
            world.restore(before)
    return world.snapshot()


def test_both_sides_of_a_step_start_from_the_same_bytes(env_id, watched):
    episodes = {how: {one.episode: one for one in some} for how, some in watched.items()}
    for how, of_number in episodes.items():
        pairs, report = step_pairs(of_number.values(), lambda: gym.make(env_id))
        assert pairs
        assert report.candidates == sum(one.errors for one in of_number.values()) > 0
        assert report.candidates == report.pairs + report.left_out.total()
        with gym.make(env_id) as other:
            for pair in pairs:
                trajectory = of_number[pair.episode]
                snapshot = play_by_hand(other, trajectory, pair.turn)
                assert hashlib.sha256(snapshot).hexdigest() == pair.state
                wrong = trajectory.turns[pair.turn]
                assert (wrong.kind, wrong.content) == ("error", pair.rejected[0].content)
                # From these bytes, the chosen reply brings success nearer.
                world = other.unwrapped
                right = next(
                    line.removeprefix("Action: ") for line in pair.chosen[0].content.splitlines() if "Action: " in line
                )
                for action, distance in ((right, pair.chosen_distance), (wrong.action, pair.rejected_distance)):
                    assert world.oracle.distance(snapshot, after=[action]) == distance
                assert pair.chosen_distance is not None
                assert pair.rejected_distance is None or pair.chosen_distance < pair.rejected_distance
                if how == "before":
                    assert pair.chosen_source == "correction"
                    assert right == wrong.verdict.corrected_action
                elif pair.chosen_source == "correction":
                    assert pair.rejected_distance is None, "an error that ran is only undone where no way is left"


def test_only_the_two_replies_of_a_step_count(watched, env_id):
    episodes = watched["after"]
    pairs, _ = step_pairs(episodes)
    for pair in pairs:
        trajectory = episodes[pair.episode]
        assert [(one.role, one.content) for one in pair.prompt] == [
            (turn.role, turn.content) for turn in trajectory.turns[: pair.turn]
        ]
        assert not any(one.loss for one in pair.prompt)
        assert [(one.role, one.loss) for one in (*pair.chosen, *pair.rejected)] == [("assistant", 1.0)] * 2
        # The history that both sides share holds no error of this step, so the chosen thought may not speak of one.
        verdict = trajectory.turns[pair.turn].verdict
        assert verdict.error not in pair.chosen[0].content
        assert verdict.reason not in pair.chosen[0].content


def test_the_best_success_is_set_against_every_worse_episode(alone, env_id):
    everything = [*alone["failed"], *alone["golden"]]
    pairs, report = trajectory_pairs(everything, make_env=lambda: gym.make(env_id))
    golden = {one.task_id: one for one in alone["golden"] if one.success}
    failed = [one for one in alone["failed"] if one.task_id in golden and one.score < golden[one.task_id].score]
    assert len(pairs) == report.pairs == len(failed) > 0
    assert report.candidates == report.pairs + report.left_out.total()
    with gym.make(env_id) as other:
        for pair in pairs:
            other.reset(options={"task_id": pair.task_id})
            assert hashlib.sha256(other.unwrapped.snapshot()).hexdigest() == pair.state
            best, worse = golden[pair.task_id], next(one for one in failed if one.task_id == pair.task_id)
            assert (pair.chosen_source, pair.chosen_score, pair.rejected_score) == ("expert", best.score, worse.score)
            head = begins_at(best)
            assert [one.content for one in pair.prompt] == [turn.content for turn in worse.turns[:head]]
            for side, trajectory in ((pair.chosen, best), (pair.rejected, worse)):
                assert side[0].role == side[-1].role == "assistant"
                assert [one.loss for one in side] == [float(one.role == "assistant") for one in side]
                assert [one.content for one in side] == [one.content for one in trajectory.turns[head:-1]]


def made(score, *replies, kind="agent", success=None, task="coin", teacher=None, stop="max_steps", **changes):
    """An episode by hand; a reply is ``(kind, text, loss)`` or a text."""
    turns = [Turn(role="user", content="Find a coin.", kind="instruction")]
    for reply in replies:
        kind_of, text, loss = reply if isinstance(reply, tuple) else (kind, reply, 1.0)
        verdict = Verdict(status="error", corrected_action="look") if kind_of == "error" else None
        turns.append(
            Turn(role="assistant", content=text, kind=kind_of, loss=loss, action=text, score=score, verdict=verdict)
        )
        turns.append(Turn(role="user", content="Observation: on.", kind="observation"))
    fields = {
        "env_id": "box",
        "task_id": task,
        "task_type": "coin",
        "split": "train",
        "instruction": "Find a coin.",
        "agent": Actor(name="me"),
        "teacher": teacher,
        "turns": tuple(turns),
        "score": score,
        "success": score == 1 if success is None else success,
        "reward": score,
        "steps": len(replies),
        "terminated": False,
        "truncated": True,
        "stop_reason": stop,
        "errors": sum(is_error(turn) for turn in turns),
        "unknown_verdicts": 0,
    }
    return Trajectory(**fields | changes)


def test_which_turns_count_on_which_side():
    teacher = Actor(name="oracle")
    best = made(
        1.0, ("error", "a", 0.0), ("correction", "b", 1.0), ("agent", "c", 1.0), ("agent", "d", 0.0), teacher=teacher
    )
    worse = made(
        0.0, ("expert", "p", 1.0), ("error", "q", 0.0), ("correction", "r", 1.0), ("agent", "s", 0.0), teacher=teacher
    )
    (pair,), _ = trajectory_pairs([best, worse])
    weights = {
        side: {one.content: one.loss for one in getattr(pair, side) if one.role == "assistant"} for side in SIDES
    }
    assert weights["chosen"] == {"a": 0.0, "b": 1.0, "c": 1.0, "d": 0.0}
    # With a teacher, a turn without weight is one without verdict: the agent's own all the same.
    assert weights["rejected"] == {"p": 0.0, "q": 1.0, "r": 0.0, "s": 1.0}
    # Without one, it broke off.
    (pair,), _ = trajectory_pairs([best, made(0.0, "x", ("agent", "cut of", 0.0))])
    assert [one.loss for one in pair.rejected] == [1.0, 0.0, 0.0]


SIDES = ("chosen", "rejected")


def test_the_best_has_the_highest_score_then_the_fewest_steps_and_is_golden_if_asked():
    slow, fast, golden = made(1.0, "a", "b"), made(1.0, "c"), made(1.0, *"efg", kind="expert")
    worst, middle = made(0.0, "x"), made(0.5, "y", success=False)
    pairs, report = trajectory_pairs([slow, middle, fast, golden, worst])
    assert [(pair.chosen[0].content, pair.rejected[0].content) for pair in pairs] == [("c", "x"), ("c", "y")]
    assert report.left_out == {"not lower in score": 2}
    pairs, _ = trajectory_pairs([slow, middle, fast, golden, worst], golden_only=True, max_pairs=1)
    assert [(pair.chosen[0].content, pair.chosen_source, pair.rejected[0].content) for pair in pairs] == [
        ("e", "expert", "x")
    ]
    pairs, report = trajectory_pairs([fast, middle, worst], min_gap=0.6)
    assert [pair.rejected[0].content for pair in pairs] == ["x"]
    assert report.left_out == {"closer in score than min_gap": 1}


def test_a_rejected_episode_can_be_cut_some_rounds_behind_the_chosen_one():
    (pair,), report = trajectory_pairs([made(1.0, "a"), made(0.0, *"pqrs")], extra_rounds=1)
    assert [one.content for one in pair.rejected] == ["p", "Observation: on.", "q"]
    assert report.lines()[-1] == "1 rejected trajectories are longer than extra_rounds allows: shortened."


def test_every_candidate_that_gives_no_pair_is_counted_with_its_reason():
    other_head = made(0.0, "h").model_copy(
        update={"turns": (Turn(role="user", content="Another manual.", kind="instruction"), *made(0.0, "h").turns[1:])}
    )
    pairs, report = trajectory_pairs(
        [
            made(1.0, "a"),
            made(0.0, "x"),
            made(0.0, "x"),
            made(0.0, "u", stop="unknown_verdict"),
            made(0.0, "v", kind="expert"),
            made(0.0, "w", protocol={"env": {"simplification": "easy"}}),
            other_head,
            made(0.0, "z", task="another"),
        ]
    )
    assert len(pairs) == 1
    assert report.left_out == {
        "the same as another pair": 1,
        "cut off before the episode ended": 1,
        "without a whole reply of the agent": 1,
        "played in a world with other options": 1,
        "with other instructions": 1,
        "of a task without a success that can be chosen": 1,
    }
    assert report.candidates == 7
    assert report.lines()[0] == "1 pairs from 7 candidates in 8 trajectories of 2 tasks."
    assert report.lines()[1] == "Pairs by who wrote the chosen side: agent 1."


def test_an_episode_that_the_world_does_not_repeat_is_left_out():
    (episode,) = play("STeP-ALFWorld-v0", "novice:error_rate=0.5", intervene="after")[:1]
    assert episode.errors
    at = next(at for at, turn in enumerate(episode.turns) if turn.kind == "observation")
    turns = list(episode.turns)
    turns[at] = turns[at].model_copy(update={"content": "Observation: You see a dragon 1."})
    pairs, report = step_pairs([episode.model_copy(update={"turns": tuple(turns)})])
    assert (pairs, report.left_out) == ([], {"in an episode that the world does not repeat": episode.errors})
    with pytest.raises(DataError, match=r"^A trajectory of STeP-ALFWorld-v0 cannot be replayed in STeP-WebShop-v0\.$"):
        step_pairs([episode], lambda: gym.make("STeP-WebShop-v0"))
    with pytest.raises(TypeError, match=r"^make_env makes a step_envs text environment, got CartPoleEnv\.$"):
        step_pairs([episode], lambda: gym.make("CartPole-v1"))


def test_a_teacher_that_is_wrong_can_be_overruled():
    """With ``confirmed``, a correction that the oracle finds no better than the error gives no pair."""

    class WrongTeacher(OracleTeacher):
        """Corrects right steps to a useless one."""

        def judge(self, context):
            return Verdict(status="error", error="No.", reason="No.", reflection="I look.", corrected_action="look")

    env = TeacherMonitorWrapper(
        ReActWrapper(gym.make("STeP-ALFWorld-v0")), WrongTeacher(), intervene="before", max_errors=2
    )
    episode = rollout(env, make_agent("oracle"), seed=0)
    env.close()
    pairs, _ = step_pairs([episode])
    assert pairs[0].chosen[0].content == "Thought: I look.\nAction: look"
    assert pairs[0].chosen_distance >= pairs[0].rejected_distance
    kept, report = step_pairs([episode], confirmed=True)
    assert kept == []
    assert report.left_out["not confirmed by the oracle"] == len(pairs)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_gap": 2}, r"^min_gap must be from 0 to 1, got 2\.$"),
        ({"max_pairs": 0}, r"^max_pairs must be at least 1 or None, got 0\.$"),
        ({"extra_rounds": -1}, r"^extra_rounds must not be negative, got -1\.$"),
    ],
)
def test_options_that_cannot_be(options, message):
    with pytest.raises(ValueError, match=message):
        trajectory_pairs([], **options)


def test_a_pair_that_compares_nothing_is_refused():
    (pair,), _ = trajectory_pairs([made(1.0, "a"), made(0.0, "x")])
    fields = pair.model_dump()
    reply = {"role": "assistant", "content": "b", "loss": 1.0}
    for changes, message in (
        ({"prompt": [reply]}, "a message of the prompt cannot carry loss: both sides share it"),
        ({"chosen": [{"role": "user", "content": "b"}, reply]}, "the chosen side must begin with a reply"),
        ({"rejected": [reply | {"loss": 0.0}]}, "no message of the rejected side carries loss, so there is nothing to"),
        ({"rejected": fields["chosen"]}, "both sides are the same"),
        ({"rejected": [reply, {"role": "user", "content": "o", "loss": 1.0}]}, "a message of role 'user' cannot carry"),
    ):
        with pytest.raises(ValueError, match=message):
            PreferencePair(**fields | changes)


def test_pairs_are_read_back(tmp_path):
    pairs, _ = trajectory_pairs([made(1.0, "a"), made(0.0, "x\ud800")])
    file = tmp_path / "pairs.jsonl"
    file.write_text("".join(f"{pair.model_dump_json()}\n" for pair in pairs), encoding="utf-8")
    assert list(read_pairs(file)) == pairs
    file.write_text('{"env_id": "box"}\n')
    with pytest.raises(
        StoreError, match=r"^Line 1 of .*pairs\.jsonl is not a preference pair: Field required \(at task_id"
    ):
        list(read_pairs(file))


def test_a_pair_of_any_two_replies_says_where_both_start(env_id, tmp_path):
    env = ReActWrapper(gym.make(env_id))
    env.reset(seed=0, options={"task_id": task_of(env_id, 0)} if task_of(env_id, 0) else None)
    world, turns = env.unwrapped, list(env.conversation.turns)
    right, wrong = world.oracle.next_action(), "look around the gizmo"
    way, state = world.oracle.distance(), world.snapshot()
    replies = [
        Turn(role="assistant", content=f"Thought: on.\nAction: {action}", kind="agent", action=action, score=0.0)
        for action in (right, wrong)
    ]
    pair = reply_pair(world, state, turns, *replies, episode=3)
    assert world.snapshot() == state
    assert (pair.env_id, pair.task_id, pair.kind) == (env_id, world.open_snapshot(state).task_id, "step")
    assert pair.state == hashlib.sha256(state).hexdigest()
    assert [message.content for message in pair.prompt] == [turn.content for turn in turns]
    assert (pair.turn, pair.episode, pair.chosen_source, pair.rejected_source) == (len(turns), 3, "agent", "agent")
    assert (pair.chosen_distance, pair.rejected_distance) == (way - 1, way)
    assert pair.confirmed and not reply_pair(world, state, turns, *reversed(replies)).confirmed
    write_pairs([pair, pair], tmp_path / "pairs.jsonl")
    assert list(read_pairs(tmp_path / "pairs.jsonl")) == [pair, pair]
    with pytest.raises(ValueError, match="both sides are the same"):
        reply_pair(world, state, turns, replies[0], replies[0])
    env.close()
