"""TRL's GRPO plays our worlds, as tools and in ReAct text: the scores of our own evaluation, and an exact mask."""

import copy
import math
import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest
from own_evaluation import WORLDS, Script, played

torch = pytest.importorskip("torch", reason="needs the extra train")
trl = pytest.importorskip("trl", reason="needs the extra train")
datasets = pytest.importorskip("datasets", reason="needs the extra train")
from transformers.utils import get_json_schema

import step_envs.integrations.trl_rollouts as trl_rollouts
from step_envs.errors import DataError, UnknownNameError
from step_envs.integrations.chat_tasks import ChatTasks
from step_envs.integrations.token_record import TokenRecord
from step_envs.integrations.trl import POTENTIAL_WEIGHT, rows, tool_environment
from step_envs.integrations.trl_rollouts import ReActRollouts
from step_envs.integrations.trl_steps import StepGRPOTrainer, turn_advantages
from step_envs.training.tiny_model import TinyModelSize, learn_tokenizer, make_tiny_model

pytestmark = pytest.mark.train
ALFWORLD = WORLDS[0]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A tiny model with random weights, and room for the longest episode."""
    import transformers

    tokenizer = learn_tokenizer(["Observation: the box is empty.", "Thought: on.\nAction: open box 2"] * 9, ["box"])
    size = TinyModelSize(width=32, layers=2, heads=2, context=1 << 17)
    folder = make_tiny_model(tokenizer, size, tmp_path_factory.mktemp("model"))
    return transformers.AutoModelForCausalLM.from_pretrained(folder), tokenizer


def trainer(model: Any, **settings: Any) -> Any:
    """What a rollout function reads of the trainer."""
    usual = {"temperature": 1.0, "top_p": 1.0, "seed": 0, "max_completion_length": None, "chat_template_kwargs": None}
    accelerator = SimpleNamespace(unwrap_model=lambda one: one, process_index=0)
    args = SimpleNamespace(**(usual | settings))
    state = SimpleNamespace(global_step=0)
    return SimpleNamespace(accelerator=accelerator, model=model[0], processing_class=model[1], args=args, state=state)


class ScriptedModel(trl_rollouts.Batcher):
    """Answers as a script says, in tokens; the prompts are those of the model's own template."""

    script: Script
    cut_off = ""

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self._asked: dict[tuple[int, ...], Any] = {}
        make_prompt = model.prompt

        def remember(messages: Any) -> list[int]:
            ids = make_prompt(messages)
            self._asked[tuple(ids)] = messages
            return ids

        model.prompt = remember

    def submit(self, ask: Any) -> list[int]:
        reply = self.script.reply(self._asked[tuple(ask.ids)]) + self.cut_off
        ids = self.model.tokenizer(reply, add_special_tokens=False)["input_ids"]
        ask.ids += [*ids, self.model.tokenizer.eos_token_id]
        return ids


@pytest.mark.parametrize(
    ("world", "invented"), [*((world, "") for world in WORLDS), (ALFWORLD, "\nObservation: the world ends.")]
)
def test_rollouts_have_the_scores_of_our_own_evaluation_and_train_the_replies_alone(
    world: str, invented: str, model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = played(world)
    monkeypatch.setattr(trl_rollouts, "Batcher", ScriptedModel)
    monkeypatch.setattr(ScriptedModel, "script", own.script, raising=False)
    monkeypatch.setattr(ScriptedModel, "cut_off", invented)
    with ChatTasks(world, episodes=len(own.episodes), protocol="eto") as tasks:
        dataset = rows(tasks)
        made = ReActRollouts(tasks)([row["prompt"] for row in dataset], trainer(model))
    tokenizer = model[1]
    for index, row in enumerate(dataset):
        episode = own.episodes[row["task_id"]]
        found = {name: made[name][index] for name in ("success", "score", "reward", "steps")}
        assert found == own.metrics[row["task_id"]]
        assert made["begun_anew"][index] == 0
        replies = [turn.content for turn in episode.turns if turn.role == "assistant" and turn.kind != "instruction"]
        ids, mask = made["completion_ids"][index], made["env_mask"][index]
        trained = [number for number, mine in zip(ids, mask, strict=True) if mine]
        # What a reply invents behind its action is not trained, nor the token that ended it after that.
        end = "" if invented else tokenizer.eos_token
        assert tokenizer.decode(trained) == "".join(reply + end for reply in replies)
        whole = tokenizer.decode(made["prompt_ids"][index] + ids)
        shown = tokenizer.apply_chat_template(episode.messages()[:-1], tokenize=False)
        assert whole.removesuffix(tokenizer.eos_token) in shown
    assert made["logprobs"] is None


def test_a_prompt_that_changed_trains_no_reply_before_it() -> None:
    record = TokenRecord().read([1, 2, 3])
    record = record.write([4, 5, 9])
    grown = record.read([1, 2, 3, 4, 5, 9, 6])
    assert (grown.prompt_ids, grown.completion_ids, grown.env_mask) == ((1, 2, 3), (4, 5, 9, 6), (1, 1, 1, 0))
    assert grown.turns == ((0, 3),)
    # The reply was cut: what was cut leaves the sequence.
    cut = record.read([1, 2, 3, 4, 7, 8])
    assert (cut.completion_ids, cut.env_mask, cut.begun_anew) == ((4, 7, 8), (1, 0, 0), 0)
    assert cut.turns == ((0, 1),)
    # What stood before the reply changed: it is context now.
    changed = grown.write([7]).read([1, 2, 3, 5, 6, 7, 8])
    assert (changed.prompt_ids, changed.completion_ids, changed.begun_anew) == ((1, 2, 3, 5, 6, 7, 8), (), 1)
    again = changed.write([9])
    assert (again.completion_ids, again.env_mask) == ((9,), (1,))
    assert again.turns == ((0, 0), (0, 0), (0, 1))
    assert again.ids == (1, 2, 3, 5, 6, 7, 8, 9)


@pytest.mark.parametrize("world", WORLDS)
def test_tools_have_the_scores_of_our_own_evaluation(world: str) -> None:
    """The actions alone: a reply without one is no call."""
    own = played(world)
    with ChatTasks(world, episodes=len(own.episodes), protocol="eto", reply_format="tool-calls") as tasks:
        factory = tool_environment(tasks)
        environment = factory()
        for row in rows(tasks):
            environment.reset(**row)
            actions = [turn.action for turn in own.episodes[row["task_id"]].turns if turn.action is not None]
            for action in actions:
                said = environment.act(action)
            with tasks.begin(row["task_id"]) as episode:
                for action in actions:
                    if not episode.over:
                        last = episode.reply(f'<tool_call>{{"name": "act", "arguments": {{"action": "{action}"}}}}')
                assert said in (last, "The episode is over.")
                assert environment.get_reward() == episode.reward


def test_the_potential_tells_failures_apart() -> None:
    with ChatTasks(ALFWORLD, episodes=1, reply_format="tool-calls") as tasks:
        environment = tool_environment(tasks, "score+potential")()
        (row,) = rows(tasks)
        with tasks.begin(row["task_id"]) as episode:
            plan = episode._env.unwrapped.oracle.plan()
        found = []
        for steps in range(len(plan) + 1):
            environment.reset(**row)
            for action in plan[:steps]:
                environment.act(action)
            found.append(environment.get_reward())
    expected = [POTENTIAL_WEIGHT * steps / len(plan) for steps in range(len(plan))] + [1 + POTENTIAL_WEIGHT]
    assert found == pytest.approx(expected)


def grpo_config(folder: Any, **settings: Any) -> Any:
    return trl.GRPOConfig(
        output_dir=str(folder),
        num_generations=2,
        report_to=[],
        use_cpu=True,
        logging_steps=1,
        save_strategy="no",
        learning_rate=1e-2,
        **settings,
    )


def train(model: Any, folder: Any, reward: Any, trainer_class: Any, turns: int = 3, **settings: Any) -> Any:
    with ChatTasks(ALFWORLD, split="train", episodes=2, style="plain", env_options={"max_steps": turns}) as tasks:
        rollouts = ReActRollouts(tasks, reward, max_tokens=4)
        config = grpo_config(folder, per_device_train_batch_size=4, max_steps=2, max_completion_length=400)
        grpo = trainer_class(
            model=copy.deepcopy(model[0]),
            reward_funcs=[rollouts.reward],
            args=config,
            train_dataset=datasets.Dataset.from_list(rows(tasks)),
            processing_class=model[1],
            rollout_func=rollouts,
            **settings,
        )
        grpo.train()
    return grpo


@pytest.mark.parametrize("reward", ["score", "score+potential"])
def test_the_trainer_takes_steps(reward: Any, model: Any, tmp_path: Any) -> None:
    grpo = train(model, tmp_path, reward, trl.GRPOTrainer)
    logged = [line for line in grpo.state.log_history if f"rewards/{reward}/mean" in line]
    assert len(logged) == 2
    assert all(math.isfinite(line["loss"]) for line in logged)


def test_turns_from_the_same_state_are_compared() -> None:
    states = [["a", "b"], ["a", "c"], ["a", "b"]]
    rewards = [[0.0, 1.0], [0.0, 0.0], [0.5, 1.0]]
    found = turn_advantages(states, rewards, discount=0.5)
    # From a: 0.5, 0 and 1; from b twice the same; from c one alone.
    assert found == [
        pytest.approx([0.0, 0.0]),
        pytest.approx([-math.sqrt(1.5), 0.0]),
        pytest.approx([math.sqrt(1.5), 0.0]),
    ]


def test_a_turn_that_was_better_than_others_is_made_more_likely(
    model: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All episodes of the group are worth the same, so only turns tell them apart."""
    play, seen = trl_rollouts.ReActRollouts.__call__, []

    def one_good_turn(self: Any, prompts: Any, trainer: Any) -> Any:
        made = play(self, prompts, trainer)
        made["turn_rewards"] = [[float(index % 2)] for index in range(len(prompts))]
        seen.append(made)
        return made

    monkeypatch.setattr(trl_rollouts.ReActRollouts, "__call__", one_good_turn)
    grpo = train(model, tmp_path, "step", StepGRPOTrainer, turns=1)
    made = seen[0]
    logged = [line for line in grpo.state.log_history if "steps/compared" in line]
    assert len(logged) == 2 and all(line["reward_std"] == 0 and line["grad_norm"] > 0 for line in logged)
    assert len({states[0] for states in made["turn_states"]}) == 2, "one state for each task"

    def likelihood(one: Any, index: int) -> float:
        prompt, completion = made["prompt_ids"][index], made["completion_ids"][index]
        start, end = made["turn_spans"][index][0]
        ids = torch.tensor([prompt + completion[:end]])
        with torch.no_grad():
            scores = one.eval()(input_ids=ids).logits.log_softmax(-1)[0, len(prompt) + start - 1 : -1]
        return float(scores.gather(-1, ids[0, len(prompt) + start :, None]).sum())

    for index in range(4):
        grew = likelihood(grpo.model, index) > likelihood(model[0], index)
        assert grew == (index % 2 == 1), index


def test_the_reward_of_turns_asks_for_its_trainer(model: Any, tmp_path: Any) -> None:
    with ChatTasks(ALFWORLD, episodes=1) as tasks:
        prompts = [row["prompt"] for row in rows(tasks)]
        with pytest.raises(ValueError, match=r"The reward 'step' needs step_envs\.integrations\.trl_steps\.StepGRPO"):
            ReActRollouts(tasks, "step")(prompts, trainer(model))
    with (
        ChatTasks(ALFWORLD, episodes=1, reply_format="tool-calls") as tasks,
        pytest.raises(ValueError, match=r"TRL rewards a rollout of tools as a whole: take another reward, or use"),
    ):
        tool_environment(tasks, "step")
    with pytest.raises(ValueError, match=r"StepGRPOTrainer compares turns by their states: give it rollout_func=ReAct"):
        train(model, tmp_path, "score", StepGRPOTrainer)
    with pytest.raises(
        ValueError, match=r"step_weight must not be negative and discount from 0 to 1, got -1 and 0\.95\."
    ):
        StepGRPOTrainer(step_weight=-1)


class Wanderer(trl_rollouts.Batcher):
    """Always looks around."""

    def submit(self, ask: Any) -> list[int]:
        ids = self.model.tokenizer("Thought: I look.\nAction: look", add_special_tokens=False)["input_ids"]
        ask.ids += [*ids, self.model.tokenizer.eos_token_id]
        return ids


def test_guided_episodes_train_neither_errors_nor_the_teacher(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trl_rollouts, "Batcher", Wanderer)
    settings = {"episodes": 3, "style": "plain", "env_options": {"max_steps": 12}}
    with ChatTasks(ALFWORLD, **settings) as tasks, ChatTasks(ALFWORLD, **settings, teacher="oracle") as guided:
        rollouts = ReActRollouts(tasks, guided=guided, guidance=lambda step: 1.0 - step)
        prompts = [row["prompt"] for row in rows(tasks)]
        beginner = trainer(model)
        made = rollouts(prompts * 2, beginner)
        beginner.state.global_step = 1
        alone = rollouts(prompts, beginner)
        half = ReActRollouts(tasks, guided=guided, guidance=lambda step: 0.5)([prompts[0]] * 8, trainer(model))
    assert alone["corrected"] == [0.0] * 3 and all(count > 0 for count in made["corrected"])
    # GRPO compares the episodes of a task, and what a teacher gained is no merit of the model.
    assert len(set(half["corrected"])) == 1
    tokenizer = model[1]
    for index in range(3):
        completion = tokenizer.decode(made["completion_ids"][index])
        assert completion.count("Action: ") > completion.count("Action: look")
        trained = [t for t, mine in zip(made["completion_ids"][index], made["env_mask"][index], strict=True) if mine]
        # Every look but the first of its kind is an error, and the rest are the teacher's words.
        assert set(tokenizer.decode(trained).split(tokenizer.eos_token)) <= {"Thought: I look.\nAction: look", ""}
        assert 0 < made["trained_share"][index] < 1 == alone["trained_share"][index]
    with (
        ChatTasks(ALFWORLD, episodes=1) as tasks,
        pytest.raises(ValueError, match=r"Guided rollouts need both guided= \(tasks with a teacher\) and guidance="),
    ):
        ReActRollouts(tasks, guided=tasks)
    with (
        ChatTasks(ALFWORLD, episodes=1) as tasks,
        pytest.raises(
            ValueError, match=r"Guided rollouts need tasks with a teacher, ChatTasks\(\.\.\., teacher='oracle'"
        ),
    ):
        ReActRollouts(tasks, guided=tasks, guidance=lambda step: 0.5)
    with (
        ChatTasks(ALFWORLD, **settings) as tasks,
        ChatTasks(ALFWORLD, **settings, teacher="oracle") as guided,
        pytest.raises(ValueError, match=r"guidance must return a probability, from 0 to 1, got 2\.0 for step 0\."),
    ):
        ReActRollouts(tasks, guided=guided, guidance=lambda step: 2.0)(prompts, trainer(model))


def test_a_completion_has_a_limit(model: Any) -> None:
    with ChatTasks(ALFWORLD, episodes=2, style="plain") as tasks:
        prompts = [row["prompt"] for row in rows(tasks)]
        made = ReActRollouts(tasks, max_tokens=8)(prompts, trainer(model, max_completion_length=60))
        assert all(0 < len(ids) <= 60 for ids in made["completion_ids"])
        assert [sum(mask) > 0 for mask in made["env_mask"]] == [True, True]
        again = ReActRollouts(tasks, max_tokens=8)(prompts, trainer(model, max_completion_length=60))
        assert made == again
        other = ReActRollouts(tasks, max_tokens=8)(prompts, trainer(model, max_completion_length=60, seed=1))
        assert made["completion_ids"] != other["completion_ids"]


@pytest.mark.parametrize("kind", ["plain", "lora", "compiled"])
def test_a_token_is_sampled_in_the_context_that_it_is_trained_in(kind: str, model: Any) -> None:
    """At temperature 0 every trained token is the likeliest one after all tokens before it."""
    playing = copy.deepcopy(model[0])
    if kind == "lora":
        peft = pytest.importorskip("peft", reason="needs the extra train")
        config = peft.LoraConfig(
            task_type="CAUSAL_LM", target_modules=["q_proj", "v_proj"], r=4, init_lora_weights=False
        )
        playing = peft.get_peft_model(playing, config)
    elif kind == "compiled":
        playing = torch.compile(playing)
    with ChatTasks(ALFWORLD, split="train", episodes=2, style="plain", env_options={"max_steps": 4}) as tasks:
        prompts = [row["prompt"] for row in rows(tasks)] * 2
        made = ReActRollouts(tasks, max_tokens=6)(prompts, trainer((playing, model[1]), temperature=0.0))
    judge = getattr(playing, "_orig_mod", playing).eval()
    trained = 0
    for index in range(len(prompts)):
        prompt, completion = made["prompt_ids"][index], made["completion_ids"][index]
        with torch.no_grad():
            scores = judge(input_ids=torch.tensor([prompt + completion])).logits[0]
        for place, mine in enumerate(made["env_mask"][index]):
            row = scores[len(prompt) + place - 1]
            assert not mine or float(row.max() - row[completion[place]]) < 1e-4
            trained += mine
    assert trained > 20


def test_virtual_tokens_are_refused(model: Any) -> None:
    peft = pytest.importorskip("peft", reason="needs the extra train")
    config = peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2)
    tuned = peft.get_peft_model(copy.deepcopy(model[0]), config)
    with ChatTasks(ALFWORLD, episodes=1, style="plain") as tasks:
        prompts = [row["prompt"] for row in rows(tasks)]
        with pytest.raises(
            DataError, match=r"The model is tuned by virtual tokens \(PROMPT_TUNING\), with which token ids"
        ):
            ReActRollouts(tasks)(prompts, trainer((tuned, model[1])))


class Thinker(trl_rollouts.Batcher):
    """Thinks before each action, and thoughts are taken out of earlier replies."""

    def submit(self, ask: Any) -> list[int]:
        text = "<think>Let me see.</think>Thought: I look.\nAction: look"
        ids = self.model.tokenizer(text, add_special_tokens=False)["input_ids"]
        ask.ids += [*ids, self.model.tokenizer.eos_token_id]
        return ids


def test_thoughts_that_are_taken_out_leave_the_last_reply_to_train_and_it_is_said(
    model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trl_rollouts, "Batcher", Thinker)
    with ChatTasks(ALFWORLD, episodes=1, style="plain", env_options={"max_steps": 5}) as tasks:
        prompts = [row["prompt"] for row in rows(tasks)]
        rollouts = ReActRollouts(tasks)
        with pytest.warns(
            UserWarning, match=r"Only 20% of the tokens that the model sampled are trained, because the chat"
        ):
            made = rollouts(prompts, trainer(model))
    assert made["trained_share"] == [0.2]
    trained = [t for t, mine in zip(made["completion_ids"][0], made["env_mask"][0], strict=True) if mine]
    assert model[1].decode(trained) == "<think>Let me see.</think>Thought: I look.\nAction: look" + model[1].eos_token


def test_one_failing_episode_ends_the_rollout_and_leaves_everything_free(
    model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    class Failing(Wanderer):
        def submit(self, ask: Any) -> list[int]:
            asked.append(ask)
            if len(asked) == 5:
                raise RuntimeError("out of paper")
            return super().submit(ask)

    monkeypatch.setattr(trl_rollouts, "Batcher", Failing)
    model[0].train()
    with ChatTasks(ALFWORLD, episodes=4, style="plain", env_options={"max_steps": 200}) as tasks:
        with pytest.raises(RuntimeError, match=r"out of paper"):
            ReActRollouts(tasks)([row["prompt"] for row in rows(tasks)], trainer(model))
        assert len(asked) < 100, "the others went on to their ends"
        assert model[0].training
    model[0].eval()


def test_the_error_of_a_rollout_is_the_one_that_ended_it(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first episode begins only when the second has failed, and has no reply then."""
    failed, begin = threading.Event(), ChatTasks.begin

    class Failing(Wanderer):
        def submit(self, ask: Any) -> list[int]:
            failed.set()
            raise RuntimeError("out of paper")

    def late(self: ChatTasks, task_id: str, **named: Any) -> Any:
        if named and task_id == self.task_ids[0]:
            failed.wait(30)
            time.sleep(0.3)
        return begin(self, task_id, **named)

    monkeypatch.setattr(trl_rollouts, "Batcher", Failing)
    with ChatTasks(ALFWORLD, episodes=2, style="plain") as tasks:
        prompts = [row["prompt"] for row in rows(tasks)]
        monkeypatch.setattr(ChatTasks, "begin", late)
        with pytest.raises(RuntimeError, match=r"out of paper"):
            ReActRollouts(tasks)(prompts, trainer(model))


def test_the_trainer_calls_the_tool(tmp_path: Any) -> None:
    """The real trainer, with a template that calls tools; the model's words are scripted."""
    from trl.chat_template_utils import qwen2_5_chat_template

    tokenizer = learn_tokenizer(["Observation: the box is empty."] * 9, ["box"])
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    tokenizer.chat_template, tokenizer.eos_token = qwen2_5_chat_template, "<|im_end|>"
    folder = make_tiny_model(tokenizer, TinyModelSize(width=32, layers=1, heads=2, context=1 << 14), tmp_path / "model")
    said = [
        '<tool_call>\n{"name": "act", "arguments": {"action": "look"}}\n</tool_call><|im_end|>',
        "Enough.<|im_end|>",
    ]

    class Scripted(trl.GRPOTrainer):  # type: ignore[misc]
        def _generate_single_turn(self, prompt_ids: Any, *rest: Any, **named: Any) -> Any:
            spoken = said[min(self.asked, 1)]
            self.asked += 1
            ids = tokenizer(spoken, add_special_tokens=False)["input_ids"]
            return [list(ids) for _ in prompt_ids], None

    with ChatTasks(ALFWORLD, split="train", episodes=1, reply_format="tool-calls") as tasks:
        config = grpo_config(tmp_path / "out", per_device_train_batch_size=2, max_steps=1, max_completion_length=3000)
        grpo = Scripted(
            model=str(folder),
            args=config,
            train_dataset=datasets.Dataset.from_list(rows(tasks)),
            processing_class=tokenizer,
            environment_factory=tool_environment(tasks, "score+potential"),
        )
        grpo.asked = 0
        assert [tool["function"]["name"] for tool in map(get_json_schema, grpo.tools)] == ["act"]
        grpo.train()
    logged = next(line for line in grpo.state.log_history if "tools/call_frequency" in line)
    assert (logged["tools/call_frequency"], logged["tools/failure_frequency"]) == (1.0, 0.0)
    assert "rewards/ToolEnvironment/mean" in logged


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"use_vllm": True}, r"ReActRollouts samples with temperature and top_p alone: leave use_vllm=True out of"),
        ({"top_k": 5}, r"leave top_k=5 out of the trainer's configuration\."),
    ],
)
def test_settings_that_are_not_followed_are_refused(settings: Any, sentence: str, model: Any) -> None:
    with ChatTasks(ALFWORLD, episodes=1) as tasks, pytest.raises(ValueError, match=sentence):
        ReActRollouts(tasks)([row["prompt"] for row in rows(tasks)], trainer(model, **settings))


def test_wrong_arguments_are_named(model: Any) -> None:
    with ChatTasks(ALFWORLD, episodes=1) as tasks:
        for wrong in (0, -1, "a", True):
            with pytest.raises(ValueError, match=r"max_tokens must be an int of at least 1, got "):
                ReActRollouts(tasks, max_tokens=wrong)
        with pytest.raises(TypeError, match=r"The tasks of a rollout are a ChatTasks, got 'STeP-ALFWorld-v0'\."):
            ReActRollouts(ALFWORLD)
        with pytest.raises(ValueError, match=r"There is no prompt to play: the dataset is empty\."):
            ReActRollouts(tasks)([], trainer(model))
        with pytest.raises(UnknownNameError, match=r"Unknown reward 'scores'\. Did you mean 'score'"):
            ReActRollouts(tasks, "scores")
        with pytest.raises(
            ValueError, match=r"ask for replies of the form 'react', and TRL offers tools: make them with"
        ):
            tool_environment(tasks)
        with pytest.raises(ValueError, match=r"A prompt does not name its task: make the dataset with step_envs\."):
            ReActRollouts(tasks)([[{"role": "user", "content": "hello"}]], trainer(model))
    with ChatTasks(ALFWORLD, episodes=1, reply_format="tool-calls") as tasks:
        environment = tool_environment(tasks)()
        with pytest.raises(ValueError, match=r"The row has no column 'task_id': make the dataset with step_envs\."):
            environment.reset(prompt=[])
        assert environment.act("look") == "The episode is over."
