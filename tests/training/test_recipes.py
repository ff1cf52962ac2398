"""What each recipe trains on, read from the gradient: the replies that the method wants, and no other token."""

import itertools
from collections import Counter

import gymnasium as gym
import pytest

torch = pytest.importorskip("torch", reason="needs the extra train")
pytest.importorskip("transformers", reason="needs the extra train")
pytest.importorskip("datasets", reason="needs the extra train")
pytest.importorskip("trl", reason="needs the extra train")

from small_checkpoints import save_checkpoint
from small_tokenizers import make_tokenizer

from step_envs.agents.base import make_agent
from step_envs.collection.rollouts import rollout
from step_envs.credit import make_value_function, step_advantages
from step_envs.credit.annotation import with_values
from step_envs.errors import DataError, UnknownNameError
from step_envs.file_reading import read_json
from step_envs.store import read_trajectories
from step_envs.training.finetuning import FinetuneConfig
from step_envs.training.recipes import RECIPES, Material, TrainingStart, Watch, make_recipe
from step_envs.wrappers import ReActWrapper, RecordTrajectory, TeacherMonitorWrapper
from step_envs.wrappers.teachers import OracleTeacher

pytestmark = [pytest.mark.train, pytest.mark.slow]

COIN = "own_world:Coin-v0"
END = "<|im_end|>"
NO_LIMITS = {"min_score": 0.0, "max_errors": 100}


def play(agent, episodes, teacher=None, **options):
    made = ReActWrapper(gym.make(COIN, **options), style="plain")
    env = RecordTrajectory(made) if teacher is None else TeacherMonitorWrapper(made, teacher, max_errors=3)
    try:
        return [rollout(env, make_agent(agent), seed=seed, episode=seed) for seed in range(episodes)]
    finally:
        env.close()


@pytest.fixture(scope="module")
def material():
    golden = play("oracle", 6)
    explored = play("novice:error_rate=0.5", 12, max_steps=8)
    reflected = play("novice:error_rate=0.4", 8, OracleTeacher(strict=True))
    assert any(one.success for one in explored) and not all(one.success for one in explored)
    assert any(one.errors for one in reflected)
    return Material([*golden, *explored, *reflected])


@pytest.fixture(scope="module")
def valued(material):
    function = make_value_function("oracle")
    try:
        return Material([with_values(one, function.values(one), function.describe()) for one in material.trajectories])
    finally:
        function.close()


@pytest.fixture(scope="module")
def tokenizer():
    return make_tokenizer("bytes", "chatml")


@pytest.fixture(scope="module")
def checkpoint(tokenizer, tmp_path_factory):
    return save_checkpoint(tokenizer, tmp_path_factory.mktemp("model"))


def start(checkpoint, tokenizer, batch_size=1000, **limits):
    settings = FinetuneConfig(max_steps=1, batch_size=batch_size, learning_rate=1e-2, logging_steps=1, warmup=0.0)
    return TrainingStart(model=checkpoint, tokenizer=tokenizer, config=settings, **limits)


class CaughtError(Exception):
    """Ends a training before its first step."""


def trained_texts(prepared, tokenizer, out):
    """Return what the gradient of one batch of all rows reaches: each stretch of tokens as text, with its count."""
    caught = []

    def catch(trainer):
        caught.append(trainer)
        raise CaughtError

    with pytest.raises(CaughtError):
        prepared.train(out, Watch(catch))
    (trainer,) = caught
    model, seen, ids = trainer.model.train(), [], []
    # The policy is another model than its reference, as it is after some steps.
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.05 * torch.randn_like(parameter)

    def keep(module, arguments, output):
        output.retain_grad()
        seen.append(output)

    def remember(module, arguments, options):
        ids.append(options["input_ids"])

    model.model.norm.register_forward_hook(keep)
    model.register_forward_pre_hook(remember, with_kwargs=True)
    batch = trainer.data_collator(list(trainer.train_dataset))
    trainer.compute_loss(model, batch).backward()
    (hidden,), (given,) = seen, ids
    texts = Counter()
    for row, reached in zip(given, hidden.grad.abs().sum(-1) > 0, strict=True):
        # What stands at a place was predicted at the place before.
        trained = [False, *reached[:-1].tolist()]
        for is_trained, places in itertools.groupby(range(len(row)), key=trained.__getitem__):
            if is_trained:
                for text in tokenizer.decode(row[list(places)]).split(END):
                    texts[text.strip()] += bool(text.strip())
    return +texts


def replies(trajectories, *kinds):
    return Counter(turn.content for one in trajectories for turn in one.turns if turn.kind in kinds)


def approved(trajectories):
    """The replies of agents that a teacher found right, or that no teacher watched."""
    return Counter(
        turn.content
        for one in trajectories
        for turn in one.turns
        if turn.kind == "agent" and (one.teacher is None or turn.verdict.status == "ok")
    )


def successes(trajectories, most_errors=2):
    return [one for one in trajectories if one.success and one.errors <= most_errors]


def test_golden_trains_on_what_the_expert_did(material, checkpoint, tokenizer, tmp_path):
    prepared = make_recipe("golden").prepare(material, start(checkpoint, tokenizer))
    assert trained_texts(prepared, tokenizer, tmp_path / "model") == replies(material.golden, "expert")
    assert prepared.kept == len(material.golden)
    assert prepared.dropped["of an agent"] == len(material.explored) + len(material.reflected)


@pytest.mark.parametrize("masking", ["partial", "none", "drop"])
def test_step_trains_on_errors_only_without_a_mask(masking, material, checkpoint, tokenizer, tmp_path):
    recipe = make_recipe(f"step:masking={masking}")
    found = trained_texts(
        recipe.prepare(material, start(checkpoint, tokenizer, max_errors=2)), tokenizer, tmp_path / "model"
    )
    kept = successes(material.trajectories)
    wanted = replies(kept, "expert", "correction") + approved(kept)
    assert found == wanted + (replies(kept, "error") if masking == "none" else Counter())
    assert replies(kept, "error")


@pytest.mark.parametrize("thought", ["plan", "none"])
def test_corrections_lose_their_reflection_and_keep_their_action(thought, material, checkpoint, tokenizer, tmp_path):
    recipe = make_recipe(f"corrections:thought={thought}")
    limited = start(checkpoint, tokenizer, max_errors=2)
    found = trained_texts(recipe.prepare(material, limited), tokenizer, tmp_path / "model")
    kept = successes(material.trajectories)
    said = [
        (before.verdict, turn)
        for one in kept
        for before, turn in zip(one.turns, one.turns[2:], strict=False)
        if turn.kind == "correction"
    ]
    assert said
    plain = Counter(
        f"Thought: {verdict.reflection if thought == 'plan' else ''}\nAction: {turn.action}" for verdict, turn in said
    )
    assert found == replies(kept, "expert") + approved(kept) + plain
    assert not any(verdict.error in text for verdict, _ in said for text in found)


def test_scripted_errors_leave_out_what_models_did(material, checkpoint, tokenizer, tmp_path):
    of_models = [
        one.model_copy(update={"agent": one.agent.model_copy(update={"model": "m"})}) for one in material.reflected
    ]
    mixed = Material([*material.golden, *material.reflected[:4], *of_models[4:]])
    limited = start(checkpoint, tokenizer, max_errors=2)
    prepared = make_recipe("scripted-errors").prepare(mixed, limited)
    kept = successes([*material.golden, *material.reflected[:4]])
    wanted = replies(kept, "expert", "correction") + approved(kept)
    assert trained_texts(prepared, tokenizer, tmp_path / "model") == wanted
    assert prepared.dropped["of an agent that is a model"] == len(of_models) - 4


def test_dagger_trains_on_the_oracles_action_in_every_state(material, checkpoint, tokenizer, tmp_path):
    found = trained_texts(
        make_recipe("dagger:max_labels=null").prepare(material, start(checkpoint, tokenizer)),
        tokenizer,
        tmp_path / "model",
    )
    wanted = replies(material.golden, "expert")
    # By hand: the same world is played in step with the record, and the oracle asked before each reply.
    with gym.make(COIN) as env:
        world = env.unwrapped
        for one in material.explored:
            world.reset(options={"task_id": one.task_id})
            for turn in one.turns:
                if turn.kind != "agent":
                    continue
                action = world.oracle.next_action()
                if action is not None:
                    same = action == turn.action
                    wanted[turn.content if same else f"Thought: {world.oracle.thought(action)}\nAction: {action}"] += 1
                world.step(turn.action)
    assert found == wanted
    every, few, again, other = (
        [turn.content for one in make_recipe(spec).choose(material, given).kept for turn in one.turns if turn.loss]
        for given in [start(checkpoint, tokenizer)]
        for spec in (
            "dagger:max_labels=null",
            "dagger:max_labels=1",
            "dagger:max_labels=1",
            "dagger:max_labels=1,seed=1",
        )
    )
    assert few == again != other
    assert not Counter(few) - Counter(every) and len(few) < len(every)


def test_rejection_sampling_keeps_different_successes(material, checkpoint, tokenizer, tmp_path):
    twice = Material([*material.trajectories, *material.explored])
    prepared = make_recipe("rejection-sampling:per_task=null").prepare(twice, start(checkpoint, tokenizer))
    won = {}
    for one in successes(material.explored):
        won.setdefault((one.task_id, tuple(turn.action for turn in one.turns)), one)
    wanted = replies(material.golden, "expert") + replies(won.values(), "agent")
    assert trained_texts(prepared, tokenizer, tmp_path / "model") == wanted
    assert prepared.dropped["the same as another success"] == 2 * len(successes(material.explored)) - len(won)
    one_each = make_recipe("rejection-sampling:per_task=1").prepare(twice, start(checkpoint, tokenizer))
    assert one_each.kept == len(material.golden) + len({task for task, _ in won})


def test_steca_trains_from_the_correction_on_and_weighs_by_advantage(material, valued, checkpoint, tokenizer, tmp_path):
    limited = start(checkpoint, tokenizer, **NO_LIMITS)
    selection = make_recipe("steca:temperature=0.05").choose(valued, limited)
    assert len(selection.kept) == len(valued.trajectories)
    weights = set()
    for one, before in zip(selection.kept, valued.trajectories, strict=True):
        corrections = [at for at, turn in enumerate(one.turns) if turn.kind == "correction"]
        for at, (turn, advantage) in enumerate(zip(before.turns, step_advantages(before), strict=True)):
            wanted = turn.loss
            if turn.kind in ("agent", "correction") and advantage is not None:
                wanted *= min(1.0, float(torch.tensor(advantage / 0.05, dtype=torch.float64).exp()))
            if corrections and at < corrections[0]:
                wanted = 0.0
            assert one.turns[at].loss == pytest.approx(wanted)
            weights.add(round(one.turns[at].loss, 3))
    assert len(weights) > 2
    prepared = make_recipe("steca").prepare(valued, limited)
    wanted = Counter(turn.content for one in selection.kept for turn in one.turns if turn.loss > 1e-6)
    assert trained_texts(prepared, tokenizer, tmp_path / "model") == wanted
    with pytest.raises(DataError, match=r"None of the \d+ trajectories of an agent has values: write them"):
        make_recipe("steca").prepare(material, limited)
    # One episode that nobody could value costs no other.
    some = Material([*valued.trajectories, material.reflected[0]])
    assert make_recipe("steca").choose(some, limited).dropped["without values"] == 1


def test_eto_compares_the_replies_of_both_episodes(material, checkpoint, tokenizer, tmp_path):
    prepared = make_recipe("eto:extra_rounds=null").prepare(material, start(checkpoint, tokenizer))
    pairs, _ = make_recipe("eto:extra_rounds=null").pairs(material)
    wanted = Counter(
        message.content for pair in pairs for side in (pair.chosen, pair.rejected) for message in side if message.loss
    )
    assert prepared.kept == len(pairs) > 0 and prepared.dropped["under a teacher"] == len(material.reflected)
    found = trained_texts(prepared, tokenizer, tmp_path / "model")
    assert found == wanted
    agents = replies(material.explored, "agent") + replies(material.golden, "expert")
    assert set(found) <= set(agents)


def test_ipr_compares_two_replies_in_the_same_state(material, checkpoint, tokenizer, tmp_path):
    recipe = make_recipe("ipr:episodes=false")
    pairs, _ = recipe.pairs(material)
    found = trained_texts(recipe.prepare(material, start(checkpoint, tokenizer)), tokenizer, tmp_path / "model")
    assert found == Counter(side[0].content for pair in pairs for side in (pair.chosen, pair.rejected))
    assert set(found) & set(replies(material.reflected, "error"))
    assert make_recipe("ipr").prepare(material, start(checkpoint, tokenizer)).kept > len(pairs)


SPECS = {"distillation": "distillation:episodes=2,max_tokens=16", "sdft": "sdft:max_tokens=8"}
"""Options that make a recipe fast; what these two train is also tested in files of their own."""


# A model with random weights has no better and worse episodes: GRPO is tested with one that has learnt.
@pytest.mark.parametrize("name", [name for name in RECIPES if name not in ("grpo", "spa-rl")])
def test_every_recipe_trains_a_step_and_says_what_it_is(name, valued, checkpoint, tokenizer, tmp_path):
    recipe = make_recipe(SPECS.get(name, name))
    assert recipe.name == name
    assert all((recipe.card.title, recipe.card.signal, recipe.card.data, recipe.card.loss))
    prepared = recipe.prepare(valued, start(checkpoint, tokenizer, batch_size=4 if name in SPECS else 1000))
    assert prepared.kept and prepared.lines and prepared.rows["rows"]
    folder = prepared.train(tmp_path / "model", Watch())
    record = read_json(folder / prepared.record)
    assert record["complete"] and record["figures"]["seconds"] > 0
    before, after = (torch.cat([p.flatten() for p in load(one).parameters()]) for one in (checkpoint, folder))
    assert not torch.equal(before, after)


def load(folder):
    import transformers

    return transformers.AutoModelForCausalLM.from_pretrained(folder)


def test_what_a_recipe_cannot_use_is_said(material, checkpoint, tokenizer):
    given = start(checkpoint, tokenizer)
    only_golden = Material(material.golden)
    for spec, words in {
        "eto": r"The recipe 'eto' makes no pair of the trajectories \(6 golden, 0 reflected, 0 explored\)",
        "ipr:episodes=false": r"The recipe 'ipr' makes no pair of the trajectories \(6 golden",
    }.items():
        with pytest.raises(DataError, match=words):
            make_recipe(spec).prepare(only_golden, given)
    with pytest.raises(DataError, match=r"The recipe 'golden' keeps none of the trajectories \(0 golden, 0 refl"):
        make_recipe("golden").prepare(Material([]), given)
    packed = TrainingStart(checkpoint, tokenizer, FinetuneConfig(packing=True, max_length=512))
    with pytest.raises(ValueError, match=r"'eto' does not train on rows that can be packed: leave packing away"):
        make_recipe("eto").prepare(material, packed)
    lora = FinetuneConfig(lora_rank=4)
    with pytest.raises(ValueError, match="LoRA makes an adapter: add merge_lora, or leave lora_rank away"):
        make_recipe("eto:iterations=2").prepare(material, TrainingStart(checkpoint, tokenizer, lora))
    with pytest.raises(ValueError, match="The recipe 'distillation' does not know lora_rank: leave it away"):
        make_recipe("distillation").prepare(material, TrainingStart(checkpoint, tokenizer, lora))
    with pytest.raises(ValueError, match="A batch of 3 replies cannot be split into 2 from each state"):
        make_recipe("sdft").prepare(material, start(checkpoint, tokenizer, batch_size=3))
    with pytest.raises(ValueError, match="A step plays 8 tasks and the trajectories have"):
        make_recipe("grpo").prepare(Material(material.golden[:2]), given)
    with pytest.raises(UnknownNameError, match=r"Unknown recipe 'stecca'\. Did you mean 'steca' or 'step'"):
        make_recipe("stecca")
    with pytest.raises(ValueError, match="The recipe 'golden' cannot be made from 'masking=none'"):
        make_recipe("golden:masking=none")
    for spec in (
        "eto:iterations=1.5",
        "eto:max_tokens=0",
        "sdft:generations=0",
        "steca:temperature=0",
        "dagger:max_labels=0",
        "rejection-sampling:per_task=0",
        "corrections:thought=x",
    ):
        with pytest.raises(ValueError, match="must be"):
            make_recipe(spec)


@pytest.mark.parametrize("name", ["eto", "ipr"])
def test_iterations_explore_pair_and_train(name, material, checkpoint, tokenizer, tmp_path):
    recipe = make_recipe(f"{name}:iterations=2,repeats=2,max_tokens=400,concurrency=12")
    golden = Material(material.golden)
    prepared = recipe.prepare(golden, start(checkpoint, tokenizer))
    tasks = {one.task_id for one in golden.golden}
    assert (prepared.kept, prepared.rows["episodes"]) == (len(tasks), 4 * len(tasks))
    started = []
    folder = prepared.train(tmp_path / "model", Watch(started.append))
    assert len(started) == 2 and (folder / prepared.record).exists()
    names = {"eto": ["explored"], "ipr": ["explored", "reflected"]}[name]
    agents = []
    for iteration in ("1", "2"):
        for run in names:
            played = list(read_trajectories(tmp_path / "model-iterations" / iteration / run))
            assert Counter(one.task_id for one in played) == dict.fromkeys(tasks, 2)
            assert {one.teacher is not None for one in played} == {run == "reflected"}
            agents.append(played[0].agent.model)
    # The second iteration plays with what the first one made.
    assert agents[0] == str(checkpoint) and agents[-1] == str(tmp_path / "model-iterations" / "1" / "model")
    # A second call plays and trains nothing again.
    recipe.prepare(golden, start(checkpoint, tokenizer)).train(tmp_path / "model", Watch(started.append))
    assert len(started) == 2
