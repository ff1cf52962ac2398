"""How good is a teacher: known mistakes, known answers, and intervals that hold."""

import json
from typing import Any

import own_world  # noqa: F401  (registers Coin-v0)
import pytest
from chat_server import Answer, ChatServer, verdict
from typer.testing import CliRunner

from step_envs.cli import app
from step_envs.collection.teacher_evaluation import Judgement, TeacherReport, evaluate_teacher, make_report
from step_envs.endpoint import CostLedger, Gateway, Price
from step_envs.errors import EndpointDownError
from step_envs.trajectory import Usage, Verdict
from step_envs.wrappers.teachers import OracleTeacher, Teacher, TeacherContext
from step_envs.wrappers.teachers.making import TEACHERS


def measured(spec: str, **options: Any) -> TeacherReport:
    return evaluate_teacher(spec, "Coin-v0", **({"episodes": 12, "error_rate": 0.4, "seed": 1} | options))


class Blunderer(Teacher):
    """Knows what is wrong and always eats the coin, or where it cannot, walks off."""

    def judge(self, context: TeacherContext) -> Verdict:
        label = OracleTeacher().judge(context)
        if label.status != "error":
            return label
        action = "eat coin" if context.env.accepts("eat coin") else label.corrected_action
        return label.model_copy(update={"corrected_action": action})


def test_the_oracle_agrees_with_itself() -> None:
    found = measured("oracle")
    assert found.errors > 10
    assert found.steps > found.errors
    assert (found.precision.value, found.recall.value, found.f1.value) == (1.0, 1.0, 1.0)
    assert found.back_on_track.value == 1.0
    assert found.unknown.value == 0.0
    assert found.recall.low is not None
    assert found.recall.low < 1.0
    assert (found.tokens_per_step, found.cost_per_step) == (0.0, None)


def test_a_teacher_that_sees_errors_where_there_are_none() -> None:
    strict = measured("oracle:strict=true")
    assert strict.recall.value == 1.0
    assert strict.errors == measured("oracle").errors


def test_corrections_are_tried_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TEACHERS, "blunderer", f"{__name__}:Blunderer")
    found = measured("blunderer")
    assert found.precision.value == found.recall.value == 1.0
    assert found.back_on_track.value is not None
    assert 0 < found.back_on_track.value < 1


def test_a_model_that_says_ok_to_everything_and_one_that_says_nothing() -> None:
    with ChatServer([Answer(verdict())]) as server:
        gateway = Gateway(ledger=CostLedger(prices={"m": Price(input=2, output=2)}))
        kind = measured(f"openai:model=m,base_url={server.url}", gateway=gateway, concurrency=4)
    assert (kind.precision.value, kind.recall.value, kind.f1.value) == (None, 0.0, 0.0)
    assert kind.unknown.value == 0.0
    assert kind.tokens_per_step > 100
    assert kind.cost_per_step == pytest.approx(2e-6 * kind.tokens_per_step)
    with ChatServer([Answer("hm")]) as server:
        silent = measured(f"openai:model=m,base_url={server.url}", gateway=Gateway(), episodes=3)
    assert silent.unknown.value == 1.0
    assert silent.recall.value == 0.0


def test_a_teacher_that_does_not_answer_is_not_measured() -> None:
    with (
        ChatServer([Answer("gone", status=503)]) as server,
        pytest.raises(EndpointDownError, match="has failed 5 requests in a row"),
    ):
        measured(f"openai:model=m,base_url={server.url},max_retries=0", gateway=Gateway())
    assert len(server.requests) == 5


def test_all_teachers_are_asked_about_the_same_steps() -> None:
    with ChatServer([Answer(verdict())]) as server:
        model = measured(f"openai:model=m,base_url={server.url}", gateway=Gateway(), concurrency=3)
    oracle = measured("oracle")
    assert (model.steps, model.errors) == (oracle.steps, oracle.errors)


def judgements(*pairs: tuple[str, str]) -> list[Judgement]:
    return [Judgement(label, said, None, Usage()) for label, said in pairs]  # type: ignore[arg-type]


def test_figures_by_hand() -> None:
    found = make_report(
        "t",
        "e",
        [
            judgements(("error", "error"), ("ok", "error"), ("ok", "ok")),
            judgements(("error", "unknown"), ("error", "error"), ("unknown", "error")),
        ],
    )
    assert (found.steps, found.errors) == (5, 3)
    assert found.precision.value == pytest.approx(2 / 3)
    assert found.recall.value == pytest.approx(2 / 3)
    assert found.f1.value == pytest.approx(2 / 3)
    assert found.unknown.value == pytest.approx(1 / 5)
    assert make_report("t", "e", [[]]).f1.value is None


def test_the_command() -> None:
    with ChatServer([Answer(verdict())]) as server:
        teachers = ["--teacher", "oracle", "--teacher", f"openai:model=m,base_url={server.url}"]
        options = ["teacher-eval", *teachers, "--env", "Coin-v0", "--episodes", "3", "--error-rate", "0.5"]
        shown = CliRunner().invoke(app, [*options, "--json"])
        assert shown.exit_code == 0, shown.output
        first, second = json.loads(shown.stdout)
        assert first["recall"][0] == 1.0
        assert second["recall"][0] == 0.0
        table = CliRunner().invoke(app, options, env={"COLUMNS": "160"})
    assert table.exit_code == 0
    assert "Precision" in table.stdout
    wrong = CliRunner().invoke(app, ["teacher-eval", "--teacher", "orakel", "--env", "Coin-v0"])
    assert wrong.exit_code == 2
