"""Why episodes have no trajectory, as ``collect``, ``eval`` and ``view`` say it."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from step_envs.cli import app
from step_envs.cli.render import failure_lines
from step_envs.collection.failures import FailedEpisode, FailureGroups, failure_advice

AGENT = '''
from step_envs.agents import OracleAgent


class Faulty(OracleAgent):
    """Fails in every second episode."""

    def act(self, env):
        number = env.get_wrapper_attr("trajectory").episode or 0
        if number % 2:
            raise KeyError(f"no plan for request {number}")
        return super().act(env)
'''


def test_reasons_that_differ_in_numbers_are_one() -> None:
    failures = FailureGroups(
        [
            FailedEpisode(4, "boil/4", "ValueError: no\n room"),
            FailedEpisode(7, "boil/7", "TimeoutError: The episode took longer than 30 s."),
            FailedEpisode(None, "melt/1", "TimeoutError: The episode took longer than 31 s."),
        ]
    )
    assert failure_lines(failures) == [
        "3 episodes without a trajectory; --resume plays them again:",
        "  2 x TimeoutError: The episode took longer than 30 s.",
        "      for example episode 7, boil/7. Give episodes more time with --episode-seconds, or play fewer at once with "
        "--concurrency.",
        "  1 x ValueError: no room",
        "      episode 4, boil/4. The traceback is in failures.jsonl; where the cause is gone, --resume plays these "
        "episodes again.",
    ]
    assert failure_lines(FailureGroups()) == []


def test_only_the_most_frequent_reasons_are_listed() -> None:
    words = "abcdefgh"
    failures = FailureGroups(FailedEpisode(at, "boil/1", f"ValueError: {word}") for at, word in enumerate(words))
    assert failure_lines(failures)[-1] == "  and 3 other reasons; see failures.jsonl"


@pytest.mark.parametrize(
    ("reason", "begins"),
    [
        ("http://x/v1 has failed 5 requests in a row: the endpoint is down", "Look at the server of the model"),
        ("This model's maximum context length is 4096 tokens", "Give the model a longer context window"),
        ("The teacher gave no usable verdict.", "Try the teacher alone"),
        ("ClusterError: a worker process ended", "The machine may be short of memory"),
    ],
)
def test_what_to_do_depends_on_the_reason(reason: str, begins: str) -> None:
    assert failure_advice(reason).startswith(begins)


def test_the_end_of_collect_and_view_name_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line = json.dumps({"episode": 9, "task_id": "boil/9", "reason": "KeyError: 9", "detail": ""})
    run = tmp_path / "run"
    (tmp_path / "faulty_agent.py").write_text(AGENT)
    monkeypatch.syspath_prepend(tmp_path)
    options = ["--env", "own_world:Coin-v0", "--episodes", "4", "--agent", "faulty_agent.Faulty", "--out", str(run)]
    done = CliRunner().invoke(app, ["collect", *options, "--engine", "threads"])
    assert done.exit_code == 1, done.output
    assert "2 episodes without a trajectory; --resume plays them again:\n" in done.stdout
    assert "  2 x KeyError: 'no plan for request " in done.stdout
    with (run / "failures.jsonl").open("a") as file:
        file.write(f"{line}\n")
    shown = CliRunner().invoke(app, ["view", str(run)])
    assert "3 episodes without a trajectory" in shown.stdout and "1 x KeyError: 9" in shown.stdout
    assert '"reason":"KeyError: 9"' in (run / "view.html").read_text()
