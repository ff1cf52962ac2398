"""Run the examples that train: fine-tuning here, and the dataset class for verl."""

from pathlib import Path

import pytest

for package in ("torch", "transformers", "trl", "datasets"):
    pytest.importorskip(package, reason="needs the extra train")

import collect_and_finetune

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
