"""What the recipes that train on preference pairs share: the losses, and the loop of exploring, pairing and training."""

from abc import abstractmethod
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, TypedDict, Unpack

from typing_extensions import override

from step_envs.agents.local.checkpoint import load_tokenizer
from step_envs.errors import DataError
from step_envs.training.exploration import explore, same_tasks
from step_envs.training.preferences.pair_data import PairReport, PreferencePair
from step_envs.training.preferences.tuning import (
    RECORD,
    PreferenceConfig,
    PreferenceLoss,
    encode_pairs,
    preference_tune,
)
from step_envs.training.recipes.base import (
    PreparedTraining,
    Recipe,
    TrainingStart,
    Watch,
    check_whole_number,
    trainer_settings,
)
from step_envs.training.recipes.material import Material
from step_envs.training.validation import split_tasks


class PreferenceOptions(TypedDict, total=False):
    """Options of all recipes on pairs.

    Attributes:
        beta: How strongly the model is held to the one that it starts from.
        loss_type: Name of the loss; ``sigmoid`` is DPO's.
        sft_weight: Weight of the negative log-likelihood of the chosen replies, which is added to the loss.
        iterations: Explore, pair and train this often, each time with the model of the time before; the runs need only hold
            golden trajectories then. 0 trains once on the pairs of the runs.
        repeats: Episodes of each task in an iteration.
        temperature: Sampling temperature of these episodes.
        max_tokens: Most tokens of a reply in them.
        concurrency: Episodes that are played at once.
    """

    beta: float
    loss_type: PreferenceLoss
    sft_weight: float
    iterations: int
    repeats: int
    temperature: float
    max_tokens: int
    concurrency: int


class PreferenceRecipe(Recipe):
    """A recipe that trains on preference pairs.

    Args:
        **options: See ``PreferenceOptions``; by default ``beta=0.1, loss_type="sigmoid", iterations=0, repeats=1,
            temperature=1.0, max_tokens=256, concurrency=64``, and ``sft_weight`` as the recipe has it.

    Raises:
        ValueError: An option is out of range.
    """

    trainer = "preference_tune"
    writes_thoughts = True
    no_validation = "has no validation split with iterations, because each makes pairs of its own"
    sft_weight: ClassVar[float] = 0.0
    explorations: ClassVar[Mapping[str, Mapping[str, Any]]] = {"explored": {}}
    """The runs of an iteration: name -> settings of the collection."""

    def __init__(self, **options: Unpack[PreferenceOptions]) -> None:
        given: PreferenceOptions = {
            "beta": 0.1,
            "loss_type": "sigmoid",
            "sft_weight": self.sft_weight,
            "iterations": 0,
            "repeats": 1,
            "temperature": 1.0,
            "max_tokens": 256,
            "concurrency": 64,
            **options,
        }
        values: dict[str, Any] = {**given}
        self._losses = {name: values[name] for name in ("beta", "loss_type", "sft_weight")}
        PreferenceConfig.model_validate(self._losses)  # raises an error if one of them does not fit
        for name, least in (("iterations", 0), ("repeats", 1), ("concurrency", 1), ("max_tokens", 1)):
            check_whole_number(name, values[name], least)
        if not isinstance(given["temperature"], int | float) or given["temperature"] < 0:
            raise ValueError(f"temperature must be a number of at least 0, got {given['temperature']!r}.")
        self.options = given
        self.validates = not given["iterations"]

    @abstractmethod
    def pairs(self, material: Material) -> tuple[list[PreferencePair], PairReport]:
        """Make the pairs, and report what was left out."""

    @override
    def prepare(self, material: Material, start: TrainingStart) -> PreparedTraining:
        config = PreferenceConfig.model_validate(trainer_settings(start.config, self.name) | self._losses)
        if self.options["iterations"]:
            return self._prepare_iterations(material, start, config)
        pairs, report = self._some_pairs(material)
        split = split_tasks(pairs, start.validation, config.seed)
        # Encoded here to be counted; the training encodes them again, from the same pairs.
        _, rows = encode_pairs(split.trained, start.tokenizer, max_length=config.max_length, thoughts=start.thoughts)
        facts, lines = None, rows.lines()
        if split.held_out:
            try:
                _, held_out = encode_pairs(
                    split.held_out, start.tokenizer, max_length=config.max_length, thoughts=start.thoughts
                )
            except DataError as error:
                raise DataError(f"The validation split gives no row, take another seed or share: {error}") from error
            facts = split.facts(start.validation, config.seed) | {"rows": held_out.model_dump()}
            lines.append(
                f"Validation: {len(split.tasks):,} of {split.of:,} tasks are not trained on, {held_out.rows:,} pairs."
            )

        def train(out: Path, watch: Watch) -> Path:
            return self._tune(split.trained, start.model, out, start, config, watch, split.held_out or None)

        return PreparedTraining(
            kept=len(pairs),
            dropped=report.left_out,
            unit="pairs",
            rows=rows.model_dump(),
            lines=lines,
            train=train,
            record=RECORD,
            validation=facts,
        )

    def _some_pairs(self, material: Material) -> tuple[list[PreferencePair], PairReport]:
        pairs, report = self.pairs(material)
        if not pairs:
            found = ", ".join(f"{count} {part}" for part, count in material.counts().items())
            reasons = "; ".join(f"{count} {reason}" for reason, count in sorted((+report.left_out).items()))
            end = f": {reasons}." if reasons else "."
            raise DataError(f"The recipe {self.name!r} makes no pair of the trajectories ({found}){end}")
        return pairs, report

    @staticmethod
    def _tune(
        pairs: list[PreferencePair],
        model: Path,
        out: Path,
        start: TrainingStart,
        config: PreferenceConfig,
        watch: Watch,
        held_out: list[PreferencePair] | None = None,
    ) -> Path:
        return preference_tune(
            pairs,
            model=model,
            out=out,
            config=config,
            validation=held_out,
            tokenizer=start.tokenizer,
            thoughts=start.thoughts,
            on_trainer=watch.on_trainer,
        )

    def _prepare_iterations(
        self, material: Material, start: TrainingStart, config: PreferenceConfig
    ) -> PreparedTraining:
        number = self.options["iterations"]
        if number > 1 and config.lora_rank is not None and not config.merge_lora:
            raise ValueError(
                "An iteration starts from the whole model of the one before, and LoRA makes an adapter: add merge_lora, or "
                "leave lora_rank away."
            )
        own = load_tokenizer(start.model).chat_template
        if start.tokenizer.chat_template != own:
            raise ValueError(
                "With iterations, the model plays with its own chat template: save a copy of it with the other template, "
                "and start from there."
            )
        golden = start.select(material.golden)
        tasks = same_tasks(golden.kept, "random").tasks or ()  # raises an error if they are of different worlds
        dropped = golden.dropped + Counter({"of an agent": len(material.trajectories) - len(material.golden)})

        def train(out: Path, watch: Watch) -> Path:
            from step_envs.agents.local.shared import release_models

            model = start.model
            for iteration in range(1, number + 1):
                # Beside the result, because a training claims an empty folder.
                folder = out.with_name(f"{out.name}-iterations") / str(iteration)
                played = [
                    one
                    for name, settings in self.explorations.items()
                    for one in explore(
                        same_tasks(
                            golden.kept,
                            self._agent(model),
                            repeats=self.options["repeats"],
                            seed=config.seed + iteration,
                            **settings,
                        ),
                        folder / name,
                        concurrency=self.options["concurrency"],
                    )
                ]
                release_models()
                pairs, _ = self._some_pairs(Material([*golden.kept, *played]))
                won = sum(one.success for one in played)
                watch.on_line(f"Iteration {iteration}: {won} of {len(played)} episodes succeeded, {len(pairs)} pairs.")
                result = out if iteration == number else folder / "model"
                model = self._tune(pairs, model, result, start, config, watch)
            return model

        return PreparedTraining(
            kept=len(tasks),
            dropped=dropped,
            unit="tasks",
            rows={"tasks": len(tasks), "iterations": number, "episodes": number * len(tasks) * self.options["repeats"]},
            lines=[
                f"{number} iterations: the model plays {len(tasks):,} tasks, {self.options['repeats']} times each, and is "
                "trained on the pairs."
            ],
            train=train,
            record=RECORD,
        )

    def _agent(self, model: Path) -> str:
        if "," in str(model):
            raise ValueError(f"The folder {model} has a comma in its name, which options are told apart by: rename it.")
        options = self.options
        return (
            f"local:model={model},temperature={options['temperature']},max_tokens={options['max_tokens']},"
            f"batch={options['concurrency']}"
        )
