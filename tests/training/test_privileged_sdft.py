"""TRL's SDFTTrainer on our rows: it trains the completion alone, and only the teacher's prompt holds the context."""

import pytest

torch = pytest.importorskip("torch", reason="needs the extra train")
transformers = pytest.importorskip("transformers", reason="needs the extra train")
datasets = pytest.importorskip("datasets", reason="needs the extra train")
sdft = pytest.importorskip("trl.experimental.sdft", reason="needs the extra train")

from small_checkpoints import save_checkpoint
from small_tokenizers import make_tokenizer
from test_preference_pairs import WORLDS, play

from step_envs.exports import export
from step_envs.training.distillation.privileged_context import privileged_rows

pytestmark = pytest.mark.train


class Watch(transformers.TrainerCallback):
    """Keeps what TRL prepares, and the gradient of what the student predicts."""

    def __init__(self):
        self.batches, self.predicted = [], []

    def on_self_distillation_batch_prepared(self, args, state, control, **batch):
        self.batches.append({name: batch[name] for name in ("prompt_ids", "completion_ids", "teacher_input_ids")})

    def keep(self, module, arguments, output):
        if output.requires_grad:
            output.retain_grad()
            self.predicted.append(output)


def test_sdft_trains_the_completion_alone_and_shows_the_context_to_the_teacher_alone(tmp_path):
    episodes = play(WORLDS[0], "novice:error_rate=0.5", intervene="before")
    rows, _ = privileged_rows(episodes)
    export(episodes, tmp_path / "rows.jsonl", "privileged")
    data = datasets.load_dataset(
        "json", data_files=str(tmp_path / "rows.jsonl"), split="train", cache_dir=str(tmp_path)
    )
    assert len(data) == len(rows)
    tokenizer = make_tokenizer("bytes", "chatml")
    tokenizer.pad_token = "</s>"
    checkpoint = save_checkpoint(tokenizer, tmp_path / "model", max_position_embeddings=8192)
    watch = Watch()
    trainer = sdft.SDFTTrainer(
        model=str(checkpoint),
        args=sdft.SDFTConfig(
            output_dir=str(tmp_path / "out"),
            max_steps=2,
            per_device_train_batch_size=2,
            num_generations=2,
            # TRL's default cuts the beginning of longer prompts: the manual and the task.
            max_prompt_length=None,
            max_completion_length=8,
            distillation_mode="full_logits",
            num_loss_tokens_to_skip=0,
            learning_rate=1e-3,
            use_cpu=True,
            bf16=False,
            report_to=[],
            logging_steps=1,
            save_strategy="no",
            gradient_checkpointing=False,
        ),
        train_dataset=data,
        processing_class=tokenizer,
        callbacks=[watch],
    )
    start = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    trainer.model.model.norm.register_forward_hook(watch.keep)
    trainer.train()
    logs = [entry for entry in trainer.state.log_history if "grad_norm" in entry]
    assert len(logs) == 2
    assert all(entry["grad_norm"] > 0 for entry in logs)
    assert any(not torch.equal(start[name], value) for name, value in trainer.model.state_dict().items())
    assert len(watch.batches) == len(watch.predicted) == 2
    contexts = {row.privileged_context for row in rows}
    prompts = {tokenizer.apply_chat_template([m.model_dump() for m in r.prompt], tokenize=False) for r in rows}
    for batch, predicted in zip(watch.batches, watch.predicted, strict=True):
        end = batch["prompt_ids"].shape[1]
        reached = predicted.grad.abs().sum(-1) > 0
        assert predicted.shape[1] == end + batch["completion_ids"].shape[1]
        assert not reached[:, : end - 1].any(), "no token of the prompt is trained"
        assert reached[:, end - 1 : -1].any(1).all(), "the completion is"
        for student, teacher in zip(batch["prompt_ids"], batch["teacher_input_ids"], strict=True):
            shown = tokenizer.decode(student[student != tokenizer.pad_token_id])
            assert any(shown.startswith(prompt) for prompt in prompts), "the prompt is whole"
            assert not any(context in shown for context in contexts)
            assert any(context in tokenizer.decode(teacher) for context in contexts)
