"""Run the examples that train: fine-tuning here, and the dataset class for verl."""

from pathlib import Path

import pytest

for package in ("torch", "transformers", "trl", "datasets"):
    pytest.importorskip(package, reason="needs the extra train")

import collect_and_finetune
import teacher_sensitivity

from step_envs.collection.teacher_evaluation import evaluate_teacher

pytestmark = [pytest.mark.train, pytest.mark.slow]


def test_collect_and_finetune_learns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    losses = collect_and_finetune.run(tmp_path, steps=8)
    assert losses[-1] < losses[0] - 0.5
    assert (tmp_path / "trained" / "model.safetensors").is_file()
    assert (tmp_path / "trained" / "chat_template.jinja").is_file()
    assert "of them trained" in capsys.readouterr().out


def test_rows_for_verl_train_on_turns_with_loss(tmp_path: Path) -> None:
    import torch
    import verl_dataset
    from transformers import AutoTokenizer

    trajectories = collect_and_finetune.collected(tmp_path / "data", episodes=6)
    texts = [turn.content for trajectory in trajectories for turn in trajectory.turns]
    tokenizer = AutoTokenizer.from_pretrained(collect_and_finetune.tiny_model(texts, tmp_path / "model"))
    made = [
        verl_dataset.MaskedTrajectories(
            parquet_files=[str(tmp_path / "data")], tokenizer=tokenizer, config={"max_length": 2048, "pad_mode": mode}
        )
        for mode in ("no_padding", "right")
    ]
    assert len(made[0]) == len(made[1]) == len(trajectories)
    for index, trajectory in enumerate(trajectories):
        item, padded = made[0][index], made[1][index]
        assert set(item) == {"input_ids", "position_ids", "loss_mask"}
        assert {value.shape for value in padded.values()} == {torch.Size([2048])}
        size = len(item["input_ids"])
        assert int(padded["attention_mask"].sum()) == size
        assert all(torch.equal(padded[name][:size], value) for name, value in item.items())
        trained = tokenizer.decode(item["input_ids"][item["loss_mask"].bool()])
        said = [turn.content + "<|im_end|>" for turn in trajectory.turns if turn.loss]
        assert trained == "".join(said)


def test_teachers_are_compared_by_what_was_trained_on_their_data(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="needs the extra report")
    table = teacher_sensitivity.run(tmp_path, episodes=6, evaluated=2, steps=4)
    oracle, noisy = [
        line.split(" | ") for line in table.splitlines() if line.startswith(("| oracle", "| teacher_sens"))
    ]
    assert oracle[1].startswith("100.0 %") and oracle[2].startswith("100.0 %")
    assert not noisy[1].startswith("100.0 %") and not noisy[2].startswith("100.0 %")
    assert (oracle[5], noisy[5]) == ("eval-0", "eval-1")
    # What has been done is not done again, and the table is the same.
    assert teacher_sensitivity.run(tmp_path, episodes=6, evaluated=2, steps=4) == table


def test_a_noisy_teacher_errs_as_often_as_it_is_told_and_alike_in_any_order() -> None:
    def report(**options: float) -> list[float | None]:
        spec = "teacher_sensitivity.NoisyTeacher:" + ",".join(f"{name}={value}" for name, value in options.items())
        found = evaluate_teacher(spec, "STeP-ALFWorld-v0", env_options={"household": "small"}, episodes=25)
        return [found.precision.value, found.recall.value]

    assert report(miss=0, false_alarm=0) == [1.0, 1.0]
    assert report(miss=1, false_alarm=0) == [None, 0.0]
    precision, recall = report(miss=0.5, false_alarm=0)
    assert precision == 1.0 and recall is not None and 0.3 < recall < 0.7
    precision, recall = report(miss=0, false_alarm=0.5)
    assert recall == 1.0 and precision is not None and 0.2 < precision < 0.8
    assert report(miss=0.5, false_alarm=0.2, seed=1) == report(miss=0.5, false_alarm=0.2, seed=1)
    assert report(miss=0.5, false_alarm=0.2, seed=1) != report(miss=0.5, false_alarm=0.2, seed=2)
