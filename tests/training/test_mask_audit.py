"""What is trained, by kind of turn: kinds of tokens, gradients that are exactly zero, and no trace in the training."""

import json

import pytest

torch = pytest.importorskip("torch", reason="needs the extra train")
transformers = pytest.importorskip("transformers", reason="needs the extra train")
pytest.importorskip("trl", reason="needs the extra train")

import gymnasium as gym
from small_checkpoints import save_checkpoint
from small_tokenizers import make_tokenizer

import step_envs  # noqa: F401
from step_envs.agents.base import make_agent
from step_envs.collection.rollouts import rollout
from step_envs.training.dataset import build_dataset
from step_envs.training.finetuning import FinetuneConfig, finetune
from step_envs.training.mask_audit import Document, choose_documents, measure_kinds, plan_audits
from step_envs.training.tokens import IGNORED
from step_envs.training.turn_kinds import KINDS
from step_envs.wrappers import ReActWrapper, TeacherMonitorWrapper
from step_envs.wrappers.teachers import OracleTeacher

pytestmark = pytest.mark.train


@pytest.fixture(scope="module")
def trajectories():
    env = gym.make("STeP-ALFWorld-v0", source="generated", household="small", thoughts="brief")
    env = TeacherMonitorWrapper(ReActWrapper(env, style="plain"), OracleTeacher())
    played = [rollout(env, make_agent("novice:error_rate=0.3"), seed=seed) for seed in range(10)]
    return [one for one in played if one.success and one.errors][:4]


@pytest.fixture(scope="module")
def tokenizer():
    return make_tokenizer("bytes", "chatml")


@pytest.fixture(scope="module")
def checkpoint(tokenizer, tmp_path_factory):
    sizes = {"hidden_size": 16, "intermediate_size": 32, "attention_dropout": 0.1, "max_position_embeddings": 8192}
    return save_checkpoint(tokenizer, tmp_path_factory.mktemp("model"), **sizes)


def config(**changes):
    return FinetuneConfig(**{"max_steps": 2, "batch_size": 2, "learning_rate": 1e-3, "logging_steps": 1} | changes)


def audits(out):
    return json.loads((out / "audit.json").read_text())


def text_by_kind(rows, tokenizer, row):
    ids, codes = rows["input_ids"][row], rows["kinds"][row]
    return {
        kind: tokenizer.decode([number for number, code in zip(ids, codes, strict=True) if code == place])
        for place, kind in enumerate(KINDS, 1)
    }


def test_every_token_has_the_kind_of_its_turn(trajectories, tokenizer):
    rows, report = build_dataset(trajectories, tokenizer, kinds=True)
    for row, trajectory in enumerate(trajectories):
        found = text_by_kind(rows, tokenizer, row)
        for kind in KINDS:
            want = "".join(turn.content + "<|im_end|>" for turn in trajectory.turns if turn.kind == kind)
            assert "".join(found[kind].split()) == "".join(want.split())
    assert report.trained_by_kind["error"] == 0 < report.tokens_by_kind["error"]
    assert report.trained_by_kind["correction"] == report.tokens_by_kind["correction"]
    assert f"error 0 of {report.tokens_by_kind['error']:,}" in "\n".join(report.lines())
    _, unmasked = build_dataset(trajectories, tokenizer, kinds=True, masking="none")
    assert unmasked.trained_by_kind["error"] == unmasked.tokens_by_kind["error"] == report.tokens_by_kind["error"]
    _, without = build_dataset(trajectories, tokenizer, kinds=True, masking="drop")
    assert "error" not in without.tokens_by_kind


@pytest.mark.parametrize("masking", ["partial", "none", "drop"])
@pytest.mark.parametrize("length", [None, 1500])
@pytest.mark.parametrize("template", ["chatml", "qwen3"])
def test_kinds_change_nothing_about_the_rows(trajectories, masking, length, template):
    tokenizer = make_tokenizer("bytes", template)
    arguments = {"masking": masking, "max_length": length}
    plain, report = build_dataset(trajectories, tokenizer, **arguments)
    rows, audited = build_dataset(trajectories, tokenizer, **arguments, kinds=True)
    assert rows.remove_columns("kinds")[:] == plain[:]
    assert audited.model_dump(exclude={"tokens_by_kind", "trained_by_kind"}) == report.model_dump(
        exclude={"tokens_by_kind", "trained_by_kind"}
    )
    for row in rows:
        assert len(row["kinds"]) == len(row["labels"])
        assert all(code for code, label in zip(row["kinds"], row["labels"], strict=True) if label != IGNORED)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"packing": True, "max_length": 4500},
        {"lora_rank": 2, "lora_dropout": 0.1},
        {"gradient_checkpointing": True},
        {"loop": "small"},
        {"loop": "small", "packing": True, "max_length": 4500},
    ],
    ids=["padded", "packed", "lora", "checkpointing", "small", "small-tokens"],
)
@pytest.mark.parametrize("weight", [0.0, 0.5])
def test_errors_have_exactly_no_gradient_and_the_audit_leaves_no_trace(
    trajectories, tokenizer, checkpoint, tmp_path, changes, weight
):
    rows, _ = build_dataset(trajectories[:2], tokenizer, error_weight=weight, kinds=True)
    assert ("weights" in rows.column_names) == bool(weight)
    states = []
    for name, audit in (("with", True), ("without", False)):
        out = finetune(rows, model=checkpoint, out=tmp_path / name, config=config(**changes, audit=audit))
        file = "adapter_model.safetensors" if "lora_rank" in changes else "model.safetensors"
        states.append((out / file).read_bytes())
        assert (out / "audit.png").exists() == (out / "audit.json").exists() == audit
    assert states[0] == states[1]
    found = audits(tmp_path / "with")
    for kind in ("agent", "correction"):
        assert all(point["grad_norm"] > 0 and point["loss"] > 0 for point in found[kind])
    assert all((point["grad_norm"] == 0.0) == (weight == 0) and point["loss"] > 0 for point in found["error"])
    history = json.loads((tmp_path / "with" / "trainer_state.json").read_text())["log_history"]
    assert {"loss", "grad_norm", "loss/error", "grad_norm/error"} <= set(history[0])


def test_the_parts_add_up_to_the_gradient_of_the_loss(checkpoint):
    model = transformers.AutoModelForCausalLM.from_pretrained(checkpoint).train(False)
    ids, kinds = torch.arange(20, 60), torch.tensor([0, 0, 2, 2, 0, 4, 4, 3, 3, 3] * 4)
    weights = (kinds > 0).float() * torch.where(kinds == 4, 0.5, 1.0)
    parts = measure_kinds(model, [Document(ids, weights, kinds)])
    assert all(parameter.grad is None for parameter in model.parameters())
    logits = model(input_ids=ids[None]).logits[0, :-1]
    losses = torch.nn.functional.cross_entropy(logits, ids[1:], reduction="none")
    for code, kind in enumerate(KINDS, 1):
        mine = kinds[1:] == code
        assert (f"loss/{kind}" in parts) == bool(mine.any())
        if mine.any():
            assert parts[f"loss/{kind}"] == pytest.approx(losses[mine].mean().item(), rel=1e-5)
            model.zero_grad()
            ((losses * weights[1:])[mine].sum() / weights[1:].sum()).backward(retain_graph=True)
            norm = torch.stack([one.grad.norm() for one in model.parameters()]).norm().item()
            assert parts[f"grad_norm/{kind}"] == pytest.approx(norm, rel=1e-4)


def test_audits_do_about_a_twentieth_of_the_work():
    for rows in (1, 2, 8, 64):
        for logging_steps in (1, 10, 25, 500):
            plan = plan_audits(rows, logging_steps)
            assert plan.interval % logging_steps == 0 and 1 / rows <= plan.share <= 1
            assert plan.share * 3 / plan.interval <= 0.0501
            assert plan.is_due(logging_steps, logging_steps)


def test_documents_with_errors_are_chosen_first():
    def document(*codes):
        kinds = torch.tensor(codes)
        return Document(kinds, kinds, kinds)

    plain, wrong, long = document(1, 1, 1, 1), document(2, 3, 4, 0), document(*[1] * 40)
    assert choose_documents([plain, wrong, long], 0.1) == [wrong]
    assert len(choose_documents([plain, wrong, long], 1.0)) == 3
