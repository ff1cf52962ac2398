"""Reinforcement learning as recipes: GRPO with the rewards of the worlds, and SPA-RL with those of a progress estimator.

They are made of the tasks in the trajectories, not of the trajectories: the model plays these tasks itself, in the worlds
and with the prompts in which they were recorded. They stand here and not beside the other recipes because they play through
``ReActRollouts``.
"""

from collections import Counter
from pathlib import Path
from typing import Any

from typing_extensions import override

from step_envs.collection.config import CollectConfig
from step_envs.credit.value_functions import ValueFunction, make_value_function
from step_envs.errors import missing_package
from step_envs.integrations.chat_tasks import ChatTasks
from step_envs.integrations.trl import check_reward, rows
from step_envs.specs import nested_spec
from step_envs.training.exploration import same_tasks, world_fingerprint
from step_envs.training.finetuning import FinetuneConfig
from step_envs.training.recipes.base import (
    PreparedTraining,
    Recipe,
    RecipeCard,
    RecipeRecord,
    TrainingStart,
    Watch,
    check_whole_number,
    trainer_settings,
)
from step_envs.training.recipes.material import Material
from step_envs.training.trainer_setup import (
    claim_folder,
    lora_config,
    shared_options,
    train_and_save,
)

RECORD = "grpo.json"
"""File in the folder of a checkpoint: its settings, and whether the training is complete."""
_LEARNING_RATE = 1e-6
_NOT_GRPOS = ("max_length",)


class Grpo(Recipe):
    """Has the model play tasks several times each, and makes the better episodes of each task more likely.

    Args:
        reward: ``score``, ``score+potential`` or ``step``; see ``step_envs.integrations.trl``.
        tasks: Tasks of an optimizer step.
        generations: Episodes of each of them.
        max_tokens: Most tokens of a reply.
        max_episode_tokens: Most tokens of an episode after its first prompt, observations included.
        temperature: Sampling temperature.
        beta: Weight of the divergence from the model at the start.

    Raises:
        UnknownNameError: There is no such reward.
        ValueError: An option is out of range.
    """

    name = "grpo"
    trainer = "GRPOTrainer"
    command = "runs/golden"
    card = RecipeCard(
        title="GRPO",
        paper="2402.03300",
        signal="the reward of an episode, beside others of the same task; with `reward=step` also the reward after a turn, "
        "beside other turns from the same snapshot (GiGPO, 2505.10978)",
        data="the tasks of the golden runs (of all, if there are none), which the model plays",
        loss="policy gradient over the sampled tokens, each in the context in which it was sampled",
        difference="a potential from the oracle tells failures apart; states are compared by their bytes",
    )

    def __init__(
        self,
        *,
        reward: str = "score",
        tasks: int = 8,
        generations: int = 8,
        max_tokens: int = 128,
        max_episode_tokens: int | None = None,
        temperature: float = 1.0,
        beta: float = 0.0,
    ) -> None:
        check_reward(reward)
        for name, value, least in (("tasks", tasks, 1), ("generations", generations, 2), ("max_tokens", max_tokens, 1)):
            check_whole_number(name, value, least)
        if max_episode_tokens is not None:
            check_whole_number("max_episode_tokens", max_episode_tokens, 1)
        if temperature <= 0 or beta < 0:
            raise ValueError(f"temperature must be above 0 and beta at least 0, got {temperature} and {beta}.")
        self.options: dict[str, Any] = {
            "reward": reward,
            "tasks": tasks,
            "generations": generations,
            "max_tokens": max_tokens,
            "max_episode_tokens": max_episode_tokens,
            "temperature": temperature,
            "beta": beta,
        }

    def values(self) -> ValueFunction | None:
        """Return the value function that rewards single turns; None rewards them by the change in score."""
        return None

    @override
    def prepare(self, material: Material, start: TrainingStart) -> PreparedTraining:
        settings = {"learning_rate": _LEARNING_RATE} | trainer_settings(start.config, self.name)
        config = FinetuneConfig.model_validate(settings)
        run = same_tasks(material.to_play(), "random")
        number = len(run.tasks or ())
        if number < self.options["tasks"]:
            raise ValueError(
                f"A step plays {self.options['tasks']} tasks and the trajectories have {number}: name more runs, or give "
                f"the recipe tasks={number}."
            )

        def train(out: Path, watch: Watch) -> Path:
            return self._train(run, start, config, out, watch)

        played = self.options["tasks"] * self.options["generations"]
        return PreparedTraining(
            kept=number,
            dropped=Counter(),
            unit="tasks",
            rows={"rows": number, "episodes_per_step": played},
            lines=[
                f"The model plays {self.options['tasks']} of {number:,} tasks at a time, {played} episodes, and takes a "
                f"step after {config.accumulate} of these rounds."
            ],
            train=train,
            record=RECORD,
        )

    def _train(self, run: CollectConfig, start: TrainingStart, config: FinetuneConfig, out: Path, watch: Watch) -> Path:
        try:
            import datasets
            from transformers import set_seed

            from step_envs.integrations.trl_rollouts import ReActRollouts
        except ImportError as error:
            raise missing_package(error.name or "trl", "Training by GRPO", "train") from error
        tasks = ChatTasks(
            run.env,
            tasks=run.tasks,
            style=run.style,
            reply_format=run.reply_format,
            tolerant=run.tolerant,
            think_actions=run.think_actions,
            env_options=run.env_options,
        )
        values = self.values()
        with tasks:
            dataset = datasets.Dataset.from_list(rows(tasks))
            record = RecipeRecord(
                model=str(start.model),
                rows=len(dataset),
                fingerprint=world_fingerprint(run),
                config=config,
                options=self.options,
            )
            if claim_folder(out, record, RECORD):
                return out
            set_seed(config.seed)
            rollouts = ReActRollouts(
                tasks, self.options["reward"], max_tokens=self.options["max_tokens"], values=values
            )
            trainer = self._make_trainer(start, config, out, dataset, rollouts)
            watch.on_trainer(trainer)
            try:
                train_and_save(trainer, out, start.tokenizer, config, record, RECORD)
            finally:
                if values is not None:
                    values.close()
        return out

    def _make_trainer(
        self, start: TrainingStart, config: FinetuneConfig, out: Path, dataset: Any, rollouts: Any
    ) -> Any:
        import torch
        from trl import GRPOConfig, GRPOTrainer

        from step_envs.integrations.trl_steps import StepGRPOTrainer

        shared = shared_options(config, out, torch.cuda.is_available())
        options = {name: value for name, value in shared.items() if name not in _NOT_GRPOS}
        options |= {
            "per_device_train_batch_size": self.options["tasks"] * self.options["generations"],
            "num_generations": self.options["generations"],
            "max_completion_length": self.options["max_episode_tokens"],
            "temperature": self.options["temperature"],
            "beta": self.options["beta"],
        }
        steps = self.options["reward"] == "step"
        trainer_class = StepGRPOTrainer if steps else GRPOTrainer
        compared: dict[str, Any] = {"compare": "state" if rollouts.values is None else "task"} if steps else {}
        return trainer_class(
            model=str(start.model.resolve()),  # an adapter writes it down
            reward_funcs=rollouts.reward,
            args=GRPOConfig(**options | config.trainer),
            train_dataset=dataset,
            processing_class=start.tokenizer,
            rollout_func=rollouts,
            peft_config=lora_config(config),
            **compared,
        )


class SpaRl(Grpo):
    """Trains as ``grpo`` does, with what each turn contributed to the value of the state as its reward.

    Args:
        values: The value function: ``estimator:model=FOLDER`` for SPA-RL's learned estimator. Write a semicolon for every
            comma inside it.
        **options: Those of ``grpo``, apart from ``reward``.

    Raises:
        ValueError: An option is out of range.
    """

    name = "spa-rl"
    trainer = "StepGRPOTrainer"
    command = "runs/golden"
    card = RecipeCard(
        title="SPA-RL",
        paper="2505.20732",
        signal="what a step contributed to the outcome, by an estimator that learned from outcomes",
        data="the tasks of the golden runs, which the model plays; the estimator is trained on a run before",
        loss="policy gradient over the sampled tokens; each turn's advantage from its own and later contributions",
        difference="GRPO's comparison of turns in place of PPO's value network; any value function can take the "
        "estimator's place",
    )

    def __init__(
        self,
        values: str = "oracle",
        *,
        tasks: int = 8,
        generations: int = 8,
        max_tokens: int = 128,
        max_episode_tokens: int | None = None,
        temperature: float = 1.0,
        beta: float = 0.0,
    ) -> None:
        super().__init__(
            reward="step",
            tasks=tasks,
            generations=generations,
            max_tokens=max_tokens,
            max_episode_tokens=max_episode_tokens,
            temperature=temperature,
            beta=beta,
        )
        self.options["values"] = values
        make_value_function(nested_spec(values)).close()  # raises an error if there is none of this name

    @override
    def values(self) -> ValueFunction | None:
        return make_value_function(nested_spec(self.options["values"]))
