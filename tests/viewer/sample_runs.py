"""Runs for the viewer to show: ordinary ones, and one in which every text tries to be more than text."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from step_envs.store import TrajectoryStore
from step_envs.trajectory import Actor, Trajectory, Turn, Usage, Verdict

MANUAL = "You tidy a house. Answer with 'Thought: ...' and 'Action: ...'."
HOSTILE = (
    "</script><script>window.hacked = 1</script>",
    "<img src=x onerror='window.hacked = 1'>",
    '"><svg onload=window.hacked=1>',
    "<!--<script>",
    "<!--DATA--><!--SCRIPT-->",
    "]]></style><style>*{display:none}</style>",
    "\u202edrawkcab\u202c \u2066isolate \u200bhidden\ufeff",
    "\x1b[31mred\x00\x07\x9b",
    "line\u2028separator\u2029",
    "javascript:window.hacked=1",
    "{{constructor.constructor('window.hacked=1')()}}",
    "\u05e9\u05dc\u05d5\u05dd \u0627\u0644\u0633\u0644\u0627\u0645",
    "Z\u0351\u036b\u0343\u036a\u0302\u036b\u033d\u034f\u0334\u0319\u0324\u031e\u0349\u035a\u032f\u031e\u0320\u034d",
    "\U000e0041\U000e0042tags",
    "x" * 3000,
)
TYPES = ("boil", "melt", "grow")


def reply(text: str, action: str, kind: str = "agent", loss: float = 1.0, **more: Any) -> Turn:
    return Turn(
        role="assistant", content=f"Thought: {text}\nAction: {action}", kind=kind, loss=loss, action=action, **more
    )  # type: ignore[arg-type]


def answer(text: str) -> Turn:
    return Turn(role="user", content=f"Observation: {text}", kind="observation")


def episode(number: int, *, better: bool = False, text: str = "a room", **changes: Any) -> Trajectory:
    """Make an episode: each third has an error that is corrected, each fourth fails, each fifth has no verdict once."""
    wrong = number % 3 == 0 and not better
    lost = number % 4 == 1 and not (better and number % 8 == 1)
    unsure = number % 5 == 2
    turns = [
        Turn(role="user", content=MANUAL, kind="instruction"),
        Turn(role="assistant", content="OK", kind="instruction"),
        Turn(role="user", content=f"Task {number}: boil the water. {text}", kind="instruction", score=0.0),
        reply(f"I look. {text}", "look", reward=0.25, score=0.25, verdict=Verdict(status="ok")),
        answer(f"A kitchen. {text}"),
    ]
    if wrong:
        verdict = Verdict(
            status="error", error="It was useless.", reason=f"It changes nothing. {text}", reflection="I take the pot.",
            corrected_action="take pot",
        )  # fmt: skip
        turns += [
            reply("I jump.", "jump", "error", 0.0, reward=0.0, score=0.25, verdict=verdict),
            answer("Nothing happens."),
            reply("It was useless. I take the pot.", "take pot", "correction", reward=0.25, score=0.5),
            answer("You take the pot."),
        ]
    if unsure:
        verdict = Verdict(status="unknown", reason="The endpoint did not answer.")
        turns += [
            reply("I wait.", "wait", "agent", 0.0, reward=0.0, score=0.5, verdict=verdict),
            answer("Time passes."),
        ]
    score = 0.5 if lost else 1.0
    turns += [
        reply("I boil it.", "boil water", reward=score - 0.25, score=score, verdict=Verdict(status="ok")),
        answer("zebra" if number == 7 else "It boils."),
    ]
    fields: dict[str, Any] = {
        "env_id": "STeP-SciWorld-v0",
        "task_id": f"{TYPES[number % 3]}/{number}",
        "task_type": TYPES[number % 3],
        "split": "train",
        "episode": number,
        "instruction": f"Task {number}: boil the water. {text}",
        "agent": Actor(name="novice"),
        "teacher": Actor(name="oracle"),
        "turns": tuple(turns),
        "score": score,
        "success": not lost,
        "reward": score,
        "steps": sum(turn.role == "assistant" for turn in turns) - 1,
        "terminated": not lost,
        "truncated": lost,
        "stop_reason": "max_steps" if lost else "success",
        "errors": int(wrong),
        "unknown_verdicts": int(unsure),
        "usage": Usage(prompt_tokens=100 * number, completion_tokens=10, seconds=1.5, cost=0.01 * number),
    }
    return Trajectory(**(fields | changes))


def ordinary_run(episodes: int, *, better: bool = False) -> Iterator[Trajectory]:
    return (episode(number, better=better) for number in range(episodes))


def hostile_run() -> Iterator[Trajectory]:
    """Make a run whose every text is hostile, task ids and names included."""
    names = ("__proto__", "constructor", "toString", "", "a&task=b#c?d=%2F", "..//../", *HOSTILE)
    for number, name in enumerate(names):
        text = HOSTILE[number % len(HOSTILE)]
        yield episode(
            3 * number, text=text, task_id=name, task_type=name, split=name,
            agent=Actor(name=text, model=name), teacher=Actor(name=name, params={"__proto__": text, name: text}),
            protocol={"__proto__": {"polluted": text}, text: [text]}, versions={"__proto__": text},
        )  # fmt: skip


def write_run(folder: Path, trajectories: Iterable[Trajectory]) -> Path:
    with TrajectoryStore(folder / "trajectories.jsonl") as store:
        lines = "\n".join(one.to_json() for one in trajectories)
        # One write for all: a run of thousands is not to wait for the disk after each line.
        store.append_line(lines)
    return folder
