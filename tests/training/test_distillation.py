"""On-policy distillation: whose tokens are trained, towards what, and that a stopped training ends as one that was not."""

import json
import re
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs the extra train")
transformers = pytest.importorskip("transformers", reason="needs the extra train")

from hypothesis import given
from hypothesis import strategies as st
from mask_checks import prompt_ids
from pydantic import ValidationError
from small_checkpoints import save_checkpoint
from small_tokenizers import make_tokenizer

from step_envs.agents.local.model import LocalModel
from step_envs.collection import collect
from step_envs.collection.config import CollectConfig
from step_envs.errors import DataError, StoreError
from step_envs.store import read_trajectories
from step_envs.training.distillation.config import DistillationConfig
from step_envs.training.distillation.loss import logits_at, token_divergence
from step_envs.training.distillation.on_policy import demonstrations, distill
from step_envs.training.distillation.optimizer import batch_losses, make_batch
from step_envs.training.distillation.rollouts import DistillationPlayer
from step_envs.training.distillation.sampled_sequences import SequenceRecorder
from step_envs.training.exploration import same_tasks

pytestmark = pytest.mark.train

TEMPLATES = ["chatml", "qwen3"]
"""One that only adds to its text, and one that takes thoughts out of earlier replies."""


@pytest.fixture(scope="module")
def golden(tmp_path_factory):
    """Six solved tasks of small households."""
    options = {"household": "small", "source": "generated"}
    config = CollectConfig(
        env="STeP-ALFWorld-v0", env_options=options, episodes=6, agent="oracle", teacher=None, style="plain"
    )
    out = tmp_path_factory.mktemp("golden") / "run"
    collect(config, out)
    # Played again, an episode has four steps at most: a model with random weights solves nothing in any number.
    return [
        one.model_copy(update={"protocol": one.protocol | {"env": options | {"max_steps": 4}}})
        for one in sorted(read_trajectories(out), key=lambda one: one.episode)
    ]


def checkpoint(folder, tokenizer, seed=0, **sizes):
    """A small model; another seed, other weights."""
    save_checkpoint(tokenizer, folder, max_position_embeddings=8192, **sizes)
    if seed:
        torch.manual_seed(seed)
        model = transformers.LlamaForCausalLM(transformers.AutoConfig.from_pretrained(folder))
        for parameter in model.parameters():
            # Far from the student, which with fresh weights says everything with about the same probability.
            torch.nn.init.normal_(parameter, std=0.3) if parameter.ndim > 1 else None
        model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module", params=TEMPLATES)
def models(request, tmp_path_factory):
    tokenizer = make_tokenizer("bytes", request.param)
    folder = tmp_path_factory.mktemp(request.param)
    return checkpoint(folder / "student", tokenizer), checkpoint(folder / "teacher", tokenizer, seed=7)


@pytest.fixture(scope="module")
def plain_models(tmp_path_factory):
    tokenizer, folder = make_tokenizer("bytes", "chatml"), tmp_path_factory.mktemp("plain")
    return checkpoint(folder / "student", tokenizer), checkpoint(folder / "teacher", tokenizer, seed=7)


@pytest.fixture(scope="module")
def trained_teacher(golden, plain_models, tmp_path_factory):
    """A model that has begun to say what experts say."""
    network, tokenizer = load(plain_models[0])
    texts = [tokenizer.apply_chat_template(one.messages(), tokenize=False) for one in golden]
    ids = [torch.tensor([tokenizer(text)["input_ids"][:400]]) for text in texts]
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2)
    for step in range(40):
        row = ids[step % len(ids)]
        network(input_ids=row, labels=row).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    folder = tmp_path_factory.mktemp("trained")
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def settings(**changes):
    usual = {
        "iterations": 3,
        "episodes": 2,
        "max_tokens": 8,
        "learning_rate": 3e-3,
        "warmup": 0,
        "schedule": "constant",
    }
    return DistillationConfig(**(usual | changes))


def figures_of(out):
    return json.loads((Path(out) / "distillation.json").read_text())["figures"]["iterations"]


def weights(folder):
    return transformers.AutoModelForCausalLM.from_pretrained(folder).state_dict()


def load(folder):
    network = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    return network, transformers.AutoTokenizer.from_pretrained(folder)


def play(golden, models, guidance=0.0, hints=None, **changes):
    """Play the tasks; return the two networks, the tokenizer, and the episodes."""
    (student, tokenizer), (teacher, _) = map(load, models)
    run = same_tasks(golden, "student")
    player = DistillationPlayer(
        run,
        LocalModel("student", student, tokenizer),
        LocalModel("teacher", teacher, tokenizer),
        settings(**changes),
        hints or {},
    )
    try:
        return student, teacher, tokenizer, player.play(run.episodes_to_play(), guidance)
    finally:
        player.close()


# The divergence.


@pytest.mark.parametrize("beta", [0.0, 0.3, 0.5, 0.9, 1.0])
def test_the_divergence_is_that_of_trl(beta):
    gkd = pytest.importorskip("trl.experimental.gkd", reason="needs the extra train")
    torch.manual_seed(0)
    student, teacher = 3 * torch.randn(7, 30), 3 * torch.randn(7, 30)
    by_trl = gkd.GKDTrainer.generalized_jsd_loss(student[None], teacher[None], beta=beta, reduction="sum")
    torch.testing.assert_close(token_divergence(student, teacher, beta).sum(), by_trl)
    assert token_divergence(student, student, beta).abs().max() < 1e-6
    assert (token_divergence(student, teacher, beta) > 0.1).all()


def test_the_reverse_divergence_is_small_for_a_student_that_says_one_of_what_the_teacher_says():
    one, both = torch.tensor([[20.0, 0, 0]]), torch.tensor([[20.0, 20.0, 0]])
    assert token_divergence(one, both, 1.0) == pytest.approx(0.693, abs=1e-3)
    assert token_divergence(one, both, 0.0) > 5, (
        "half of what the teacher says is as good as impossible for the student"
    )


@pytest.mark.parametrize("knows", [True, False])
def test_only_the_logits_that_predict_the_places_are_returned(plain_models, knows):
    network, _ = load(plain_models[0])
    ids = torch.arange(2, 14).reshape(2, 6)
    places = torch.tensor([[0, 0, 1, 0, 0, 1], [0, 1, 0, 0, 0, 0]]).bool()
    model = network if knows else _WithoutSlices(network)
    found = logits_at(model, ids, torch.ones_like(ids), places, 50)
    whole = network(input_ids=ids).logits
    torch.testing.assert_close(found, torch.stack([whole[0, 1], whole[0, 4], whole[1, 0]])[:, :50])


class _WithoutSlices(torch.nn.Module):
    """A model that cannot be asked for some of its logits."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, input_ids, attention_mask, use_cache):
        return self.inner(input_ids=input_ids, attention_mask=attention_mask, use_cache=use_cache)


# Whose tokens.

IDS = st.lists(st.integers(0, 3), min_size=1, max_size=5)


@given(turns=st.lists(st.tuples(IDS, IDS, st.booleans(), st.integers(0, 3)), min_size=1, max_size=6))
def test_every_sampled_token_is_kept_once_behind_what_was_seen(turns):
    """Whatever a template does to the history: as it was, shortened at its end, or with another beginning."""
    recorder, history, expected = SequenceRecorder(), [9], []
    for said, reply, guided, change in turns:
        history = history[:-change] + said if change < 3 else [8, *history, *said]
        history = history or [9]
        recorder.read(list(history), lambda seen=tuple(history): [7, *seen])
        if not guided:
            recorder.write(reply)
            expected += [(tuple(history), number) for number in range(len(reply))]
            seen = list(history)
            expected[-len(reply) :] = [(tuple(seen + reply[:at]), reply[at]) for at in range(len(reply))]
        history = history + reply
    found = []
    for one in recorder.sequences():
        assert one.teacher_prompt == (7, *one.prompt)
        assert one.sampled[-1]
        found += [(one.prompt + one.completion[:at], one.completion[at]) for at, mine in enumerate(one.sampled) if mine]
    assert found == expected


def test_the_sequences_are_what_the_student_saw_and_said(golden, models):
    """For a template that adds only, and for one that rewrites the history."""
    _, _, tokenizer, played = play(golden, models)
    assert len(played) == len(golden)
    for episode in played:
        turns = episode.trajectory.turns
        messages = [turn.model_dump(include={"role", "content"}) for turn in turns]
        replies = [at for at, turn in enumerate(turns) if turn.kind == "agent"]
        assert replies
        heads = [tuple(prompt_ids(tokenizer, messages, at)) for at in replies]
        runs = []
        for one in episode.sequences:
            for at, mine in enumerate(one.sampled):
                if mine and (at == 0 or not one.sampled[at - 1]):
                    runs.append(one.prompt + one.completion[:at])
        assert runs == heads, "each reply stands behind the prompt that a server would send"
        assert sum(sum(one.sampled) for one in episode.sequences) >= len(replies)
        assert all(one.teacher_prompt == one.prompt for one in episode.sequences)


@pytest.mark.parametrize("guidance", [0.0, 0.5])
@pytest.mark.parametrize("beta", [1.0, 0.5])
def test_no_other_token_carries_gradient(golden, models, guidance, beta):
    """The gradient of what the student predicts is exactly zero unless it sampled the next token itself."""
    student, teacher, tokenizer, played = play(golden, models, guidance)
    sequences = [one for episode in played for one in episode.sequences]
    batch = make_batch(sequences, 0, torch.device("cpu"))
    predictions = []

    def keep(module, arguments, output):
        output.retain_grad()
        predictions.append(output)

    student.model.norm.register_forward_hook(keep)
    losses, reverse = batch_losses(student, teacher, batch, beta=beta, vocabulary=len(tokenizer))
    losses.sum().backward()
    (predicted,) = predictions
    reached = predicted.grad[:, :-1].abs().sum(-1) > 0
    assert torch.equal(reached, batch.places[:, 1:])
    assert not predicted.grad[:, -1].any()
    assert len(losses) == len(reverse) == batch.places.sum() > 0
    assert not reverse.requires_grad
    assert all(parameter.grad is None for parameter in teacher.parameters())
    guided = [turn for episode in played for turn in episode.trajectory.turns if turn.kind == "expert"]
    own = [turn for episode in played for turn in episode.trajectory.turns if turn.kind == "agent"]
    assert bool(guided) == bool(guidance)
    # Every reply of the student ends in its place, and no reply of the teacher has one.
    sampled = sum(turn.usage.completion_tokens for turn in own)
    assert batch.places.sum() == sampled


def test_a_hint_reaches_the_teacher_and_no_prompt_of_the_student(golden, models):
    hints = {one.task_id: f"xyzzy {number} plugh" for number, one in enumerate(golden)}
    student, _, tokenizer, played = play(golden, models, 0.5, hints)
    for episode in played:
        hint = hints[episode.trajectory.task_id]
        for one in episode.sequences:
            assert "xyzzy" not in tokenizer.decode(one.prompt + one.completion)
            shown = tokenizer.decode(one.teacher_prompt)
            assert shown.count(hint) == 1
            assert shown.replace(f"\n\n{hint}", "") == tokenizer.decode(one.prompt)
        assert "xyzzy" not in episode.trajectory.to_json()
    # The same model with and without the hint: only the hint makes a difference.
    sequences = [one for episode in played for one in episode.sequences]
    batch = make_batch(sequences, 0, torch.device("cpu"))
    told, _ = batch_losses(student, student, batch, beta=1, vocabulary=len(tokenizer))
    same = batch._replace(teacher_ids=batch.ids, teacher_mask=batch.mask, teacher_places=batch.places)
    alone, _ = batch_losses(student, student, same, beta=1, vocabulary=len(tokenizer))
    assert alone.abs().max() < 1e-6 < told.max()


def test_padding_and_company_change_no_loss(golden, models):
    student, teacher, tokenizer, played = play(golden, models)
    sequences = [one for episode in played for one in episode.sequences][:5]

    def losses(rows):
        return batch_losses(
            student, teacher, make_batch(rows, 3, torch.device("cpu")), beta=1, vocabulary=len(tokenizer)
        )[0]

    alone = torch.cat([losses([one]) for one in sequences])
    torch.testing.assert_close(losses(sequences), alone, rtol=1e-4, atol=1e-5)


# The loop.


def test_the_student_comes_nearer_to_the_teacher(golden, plain_models, trained_teacher, tmp_path):
    seen = []
    out = distill(
        golden,
        student=plain_models[0],
        teacher=trained_teacher,
        out=tmp_path / "run",
        config=settings(iterations=8, episodes=6, updates=6, learning_rate=1e-2),
        on_iteration=seen.append,
    )
    figures = figures_of(out)
    assert [one["iteration"] for one in figures] == list(range(1, 9)) == [one.iteration for one in seen]
    first, last = (sum(one["kl"] for one in part) / 2 for part in (figures[:2], figures[-2:]))
    assert last < 0.7 * first, (first, last)
    assert all(one["loss"] == one["kl"] and one["tokens"] > 0 and one["gradient_norm"] > 0 for one in figures)
    assert not list(out.glob("checkpoint-*"))
    # The episodes are kept as any others, and the result is a checkpoint as any other.
    episodes = [one for file in sorted((out / "played").iterdir()) for one in read_trajectories(file)]
    assert [one.episode for one in episodes] == list(range(48))
    assert sum(turn.kind == "agent" for one in episodes for turn in one.turns) == sum(one["replies"] for one in figures)
    assert LocalModel.load(str(out), torch.device("cpu"), torch.float32).stops


def test_the_figures_are_those_of_the_models_alone(golden, plain_models, tmp_path):
    """The KL of the first iteration, computed from the episodes that were written, by nothing of ours."""
    out = distill(
        golden, student=plain_models[0], teacher=plain_models[1], out=tmp_path / "run", config=settings(iterations=1)
    )
    (student, _), (teacher, _) = map(load, plain_models)
    _, _, _, played = play(golden, plain_models)
    episodes = list(read_trajectories(next((out / "played").iterdir())))
    (found,) = figures_of(out)
    assert found["replies"] == sum(turn.kind == "agent" for one in episodes for turn in one.turns)
    assert (
        found["valid_actions"]
        == sum(bool(t.valid_action) for one in episodes for t in one.turns if t.kind == "agent") / (found["replies"])
    )
    total = count = 0
    for one in played[:2]:
        assert one.trajectory.turns == episodes[one.trajectory.episode].turns
        for sequence in one.sequences:
            ids = torch.tensor([[*sequence.prompt, *sequence.completion]])
            logs = [torch.log_softmax(net(ids).logits[0, :-1], -1) for net in (student, teacher)]
            each = (logs[0].exp() * (logs[0] - logs[1])).sum(-1)[len(sequence.prompt) - 1 :]
            mine = torch.tensor(sequence.sampled)
            total, count = total + each[mine].sum().item(), count + int(mine.sum())
    assert found["tokens"] == count
    assert found["kl"] == pytest.approx(total / count, rel=1e-4)


def test_a_training_stopped_midway_ends_as_one_that_was_not(golden, plain_models, tmp_path):
    def start(name, **options):
        return distill(
            golden,
            student=plain_models[0],
            teacher=plain_models[1],
            out=tmp_path / name,
            config=options.pop("config", settings(iterations=4, updates=2, guided=0.4, save_every=2)),
            **options,
        )

    def stop(figures):
        if figures.iteration == 3:
            raise KeyboardInterrupt

    whole = start("whole")
    with pytest.raises(KeyboardInterrupt):
        start("cut", on_iteration=stop)
    assert [folder.name for folder in (tmp_path / "cut").glob("checkpoint-*")] == ["checkpoint-2"]
    cut = start("cut")
    one, two = weights(whole), weights(cut)
    assert all(torch.equal(one[name], two[name]) for name in one)
    timeless = [[figures | {"seconds": 0} for figures in figures_of(out)] for out in (whole, cut)]
    assert timeless[0] == timeless[1]
    assert any(figures["guided_turns"] for figures in timeless[0][:2])
    assert not any(figures["guided_turns"] for figures in timeless[0][2:]), "from half of the iterations on, nothing"
    before = (cut / "model.safetensors").stat().st_mtime_ns
    assert start("cut") == cut
    assert (cut / "model.safetensors").stat().st_mtime_ns == before
    with pytest.raises(StoreError, match=r"cut holds a training with another config\.beta \(1\.0, not 0\.5\): name an"):
        start("cut", config=settings(iterations=4, updates=2, guided=0.4, save_every=2, beta=0.5))
    with pytest.raises(StoreError, match=r"cut holds a training with another fingerprint"):
        start("cut", hints={golden[0].task_id: "look"})
    other = start("other", config=settings(iterations=4, updates=2, guided=0.4, save_every=2, seed=1))
    assert not all(torch.equal(one[name], weights(other)[name]) for name in one)


def test_the_students_start_teaches_with_a_demonstration(golden, plain_models, tmp_path):
    hints = demonstrations(golden)
    assert set(hints) == {one.task_id for one in golden if one.success} == {one.task_id for one in golden}
    for one in golden:
        lines = hints[one.task_id].splitlines()
        assert lines[0] == "These actions solve the task, from its beginning:"
        assert lines[1:] == [turn.action for turn in one.turns if turn.kind == "expert"]
    out = distill(golden, student=plain_models[0], teacher=None, out=tmp_path / "run", config=settings(iterations=2))
    assert all(one["kl"] > 0 for one in figures_of(out))
    assert json.loads((out / "distillation.json").read_text())["teacher"] is None
    failed = [golden[0].model_copy(update={"success": False}), *golden[1:]]
    with pytest.raises(
        DataError, match=r"^1 of 6 tasks have no hint, '.*' for one: without a teacher, give hints for all of them, or"
    ):
        distill(failed, student=plain_models[0], teacher=None, out=tmp_path / "none")


def test_guidance_falls_to_nothing():
    config = settings(iterations=10, guided=0.8, guided_until=0.5)
    assert [round(config.guidance(number), 2) for number in range(10)] == [0.8, 0.64, 0.48, 0.32, 0.16, 0, 0, 0, 0, 0]


def test_what_cannot_be_distilled_is_refused(golden, plain_models, tmp_path):
    student, teacher = plain_models
    other = checkpoint(tmp_path / "other", make_tokenizer("words", "chatml"))
    with pytest.raises(DataError) as error:
        distill(golden, student=student, teacher=other, out=tmp_path / "a")
    assert re.fullmatch(
        rf"The teacher {other} has another vocabulary than the student {student} \([\d,]+ of [\d,]+ tokens have the same "
        r"id\): name a teacher with the same tokenizer\.",
        str(error.value),
    )
    assert not (tmp_path / "a").exists()
    with pytest.raises(DataError, match=r"^There is no trajectory whose task could be played\.$"):
        distill([], student=student, teacher=teacher, out=tmp_path / "b")
    with pytest.raises(DataError, match=r"'no/such-model' is neither a folder nor on this machine"):
        distill(golden, student=student, teacher="no/such-model", out=tmp_path / "c")
    with pytest.raises(DataError, match=r"^No episode has room for a reply: set a larger max_length, distil from"):
        distill(golden, student=student, teacher=teacher, out=tmp_path / "d", config=settings(max_length=8))
    mixed = [golden[0], golden[1].model_copy(update={"protocol": golden[1].protocol | {"style": "eto"}})]
    with pytest.raises(DataError, match=r"name runs of one world, collected with the same options\.$"):
        distill(mixed, student=student, teacher=teacher, out=tmp_path / "e")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").touch()
    with pytest.raises(StoreError, match=r"is not empty and holds no distillation\.json: name another folder\."):
        distill(golden, student=student, teacher=teacher, out=tmp_path / "full")
    with pytest.raises(ValidationError):
        settings(guided=1.0)


def test_a_wider_output_layer_of_the_same_tokenizer_is_no_other_vocabulary(golden, plain_models, tmp_path):
    """Models of one family pad their output layers to different widths."""
    network, tokenizer = load(plain_models[1])
    network.resize_token_embeddings(len(tokenizer) + 40)
    with torch.no_grad():
        # Numbers that would take all probability, if they were looked at.
        network.get_output_embeddings().weight[len(tokenizer) :] = 100.0
    network.save_pretrained(tmp_path / "wide")
    tokenizer.save_pretrained(tmp_path / "wide")
    found = [
        figures_of(
            distill(
                golden, student=plain_models[0], teacher=teacher, out=tmp_path / name, config=settings(iterations=1)
            )
        )[0]["kl"]
        for name, teacher in (("a", plain_models[1]), ("b", tmp_path / "wide"))
    ]
    assert found[0] == pytest.approx(found[1], rel=1e-5)
