"""What the steps of an experiment do; each can continue where it was stopped.

A step is identified by its name alone, and ``run_step(config, out, name)`` runs it in any process. Nothing is handed on in
memory: a step reads the files of the steps that it needs (``step_plan`` lists them), and writes its results into its
folders (``folders`` lists them).
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, cast

from step_envs.collection.config import CollectConfig
from step_envs.errors import DataError
from step_envs.run_folder import write_json
from step_envs.store import read_trajectories
from step_envs.training.experiments.arms import ARM_DESIGNS
from step_envs.training.experiments.episode_figures import measure_episode, measure_run
from step_envs.training.experiments.experiment_config import Arm, ExperimentConfig
from step_envs.training.experiments.folders import ExperimentFolders
from step_envs.training.experiments.step_plan import ExperimentStep
from step_envs.training.experiments.training_data import arm_training, load_data, read_tasks
from step_envs.training.experiments.worlds import experiment_world
from step_envs.training.exploration import play_all
from step_envs.training.filters import halve_tasks
from step_envs.training.finetuning import FinetuneConfig
from step_envs.training.recipes import Material, TrainingStart, Watch, make_recipe
from step_envs.trajectory import Trajectory

_SAMPLED_AGENT = "novice:error_rate=0.4"
_SCRIPTED_AGENT = "novice"


def run_step(config: ExperimentConfig, out: Path, name: str) -> dict[str, Any]:
    """Run a step, or the rest of it.

    Args:
        config: The experiment.
        out: Its folder, as an absolute path.
        name: Name of the step.

    Returns:
        Figures about what was done.
    """
    step = ExperimentStep.parse(name)
    return _StepRunner(config, ExperimentFolders(config, out, step.scope)).run(step)


class _StepRunner:
    """Runs the steps of one seed."""

    def __init__(self, config: ExperimentConfig, folders: ExperimentFolders) -> None:
        self._config = config
        self._folders = folders
        self._world = experiment_world(config.env)

    def run(self, step: ExperimentStep) -> dict[str, Any]:
        """Run a step and return its figures."""
        steps: dict[str, Callable[[str], dict[str, Any]]] = {
            "samples": self._samples,
            "play": self._play,
            "original": self._original,
            "pretrain": self._pretrain,
            "tasks": self._tasks,
            "golden": self._golden,
            "base": self._base,
            "gate": self._gate,
            "collect": self._collect,
            "explore": self._explore,
            "scripted": self._scripted,
            "value": self._value,
            "train": self._train,
            "evaluate": self._evaluate,
            "judge": self._judge,
        }
        return steps[step.kind](step.argument)

    # The original model.

    def _samples(self, _: str) -> dict[str, Any]:
        return self._play_text("samples", _SAMPLED_AGENT, "oracle")

    def _play(self, _: str) -> dict[str, Any]:
        assert self._config.pretraining is not None
        return self._play_text("play", "random", max_steps=self._config.pretraining.play_steps)

    def _play_text(
        self, purpose: Literal["samples", "play"], agent: str, teacher: str | None = None, **options: Any
    ) -> dict[str, Any]:
        made, draw = self._config.pretraining, self._folders.original_draw
        assert made is not None
        tasks = self._config.task_ids(purpose, draw)
        options = self._config.world_options(draw, **options)
        return self._play_tasks(
            self._folders.text / purpose, tasks, agent, teacher, options=options, episodes=getattr(made, purpose)
        )

    def _original(self, _: str) -> dict[str, Any]:
        made = self._config.pretraining
        if made is None:
            return {"model": str(self._folders.original)}
        from step_envs.training.tiny_model import learn_tokenizer, make_tiny_model

        # Corrected episodes contain words of every kind that an arm is trained on, so no arm needs more tokens for them.
        texts = [
            turn.content
            for purpose in ("play", "samples")
            for trajectory in _by_episode(self._folders.text / purpose)[: made.samples]
            for turn in trajectory.turns
        ]
        size = made.size.model_copy(update={"seed": made.size.seed + self._folders.original_draw})
        tokenizer = learn_tokenizer(texts, self._world.names(texts), size.vocabulary)
        make_tiny_model(tokenizer, size, self._folders.untrained)
        return {"tokens": len(tokenizer)}

    def _pretrain(self, _: str) -> dict[str, Any]:
        import datasets

        from step_envs.agents.local.checkpoint import load_tokenizer
        from step_envs.training.finetuning import finetune, remove_trainer_checkpoints
        from step_envs.training.tiny_model_text import copying_texts, language_rows

        made, draw = self._config.pretraining, self._folders.original_draw
        assert made is not None and made.training is not None and made.training.max_length is not None
        tokenizer = load_tokenizer(self._folders.untrained)
        play = _by_episode(self._folders.text / "play")
        names = self._world.copied_names(turn.content for trajectory in play for turn in trajectory.turns)
        texts = copying_texts(names, made.copying, seed=draw)
        rows = language_rows(tokenizer, play, texts, max_length=made.training.max_length)
        dataset = datasets.Dataset.from_dict({name: [row[name] for row in rows] for name in ("input_ids", "labels")})
        training, out = made.training.model_copy(update={"seed": draw}), self._folders.original
        finetune(dataset, model=self._folders.untrained, out=out, config=training, tokenizer=tokenizer)
        remove_trainer_checkpoints(out)
        return {"rows": len(rows), "tokens": sum(len(row["input_ids"]) for row in rows)}

    # Trajectories and the base agent.

    def _tasks(self, _: str) -> dict[str, Any]:
        draw = self._folders.draw
        u1, u2 = halve_tasks(self._config.task_ids("golden", draw), seed=draw)
        tasks = {"u1": u1, "u2": u2, "held_out": self._config.task_ids("held_out", draw)}
        write_json(self._folders.tasks, tasks)
        return {name: len(names) for name, names in tasks.items()}

    def _golden(self, part: str) -> dict[str, Any]:
        tasks = read_tasks(self._folders)
        return self._play_tasks(
            self._folders.data / "golden" / part, self._part((*tasks["u1"], *tasks["u2"]), part), "oracle"
        )

    def _base(self, _: str) -> dict[str, Any]:
        material = Material(load_data(self._config, self._folders, ["d1"]).d1())
        training = self._config.base.model_copy(update={"seed": self._folders.draw})
        return self._train_by("golden", material, self._folders.original, self._folders.base, training)

    def _gate(self, _: str) -> dict[str, Any]:
        gate = self._config.gate
        assert gate is not None
        found = measure_run([measure_episode(one) for one in read_trajectories(self._folders.evaluation("base"))])
        success = found.success.value or 0.0
        if not gate.met(success, found.invalid):
            low, high = gate.success
            raise DataError(
                f"The base agent in {self._folders.base} succeeds in {success:.0%} of the held-out tasks, and "
                f"{found.invalid:.0%} of its replies have no effect; the gate asks for {low:.0%} to {high:.0%} and at most "
                f"{gate.invalid:.0%}. Change base.max_steps or the model, or set gate.stop=false to train the arms all "
                "the same."
            )
        return {"success": success, "invalid": found.invalid}

    def _collect(self, part: str) -> dict[str, Any]:
        run, agent = self._folders.data / "collected" / part, self._agent(self._folders.base)
        return self._play_tasks(run, self._u2(part), agent, self._config.teacher)

    def _explore(self, part: str) -> dict[str, Any]:
        run = self._folders.data / "explored" / part
        return self._play_tasks(run, self._u2(part), self._agent(self._folders.base))

    def _scripted(self, part: str) -> dict[str, Any]:
        run = self._folders.data / "scripted" / part
        return self._play_tasks(run, self._u2(part), _SCRIPTED_AGENT, self._config.teacher)

    def _value(self, part: str) -> dict[str, Any]:
        from step_envs.credit.annotation import AnnotateConfig, annotate

        collected, run = self._folders.data / "collected" / part, self._folders.data / "valued" / part
        # One thread: the steps of an experiment already keep all processors busy.
        settings = AnnotateConfig(runs=(collected,), value="oracle", engine="threads", concurrency=1)
        figures = annotate(settings, run, resume=run.exists())
        return {"episodes": figures.trajectories, "values": figures.values}

    def _u2(self, part: str) -> tuple[str, ...]:
        """Return the tasks of U2 that the expert solves: for the others nobody could say what is right."""
        solved = {one.task_id for one in load_data(self._config, self._folders, ["golden"]).golden}
        return self._part([task for task in read_tasks(self._folders)["u2"] if task in solved], part)

    def _part(self, tasks: Sequence[str], part: str) -> tuple[str, ...]:
        return tuple(tasks)[int(part) :: self._config.workers]

    # The arms.

    def _train(self, name: str) -> dict[str, Any]:
        arm, folders = cast(Arm, name), self._folders
        training = arm_training(arm, load_data(self._config, folders, ARM_DESIGNS[arm].parts), self._config)
        start = folders.base if training.from_base else folders.original
        settings = training.config.model_copy(update={"seed": folders.seed})
        return self._train_by(training.recipe, training.material, start, folders.model(arm), settings)

    def _train_by(
        self, recipe: str, material: Material, model: Path, out: Path, settings: FinetuneConfig
    ) -> dict[str, Any]:
        from step_envs.agents.local.checkpoint import load_tokenizer
        from step_envs.training.finetuning import remove_trainer_checkpoints

        start = TrainingStart(
            model=model, tokenizer=load_tokenizer(model), config=settings, max_errors=self._config.max_errors
        )
        prepared = make_recipe(recipe).prepare(material, start)
        prepared.train(out, Watch())
        remove_trainer_checkpoints(out)
        write_json(out.parent / f"{out.name}-rows.json", {"record": prepared.record, **prepared.rows})
        return {"rows": prepared.rows["rows"], "tokens": prepared.rows["tokens"], "steps": settings.max_steps}

    def _evaluate(self, name: str) -> dict[str, Any]:
        arm, folders = cast(Arm | Literal["base"], name), self._folders
        model = folders.base if arm == "base" else folders.model(arm)
        return self._play_tasks(folders.evaluation(arm), tuple(read_tasks(folders)["held_out"]), self._agent(model))

    def _judge(self, name: str) -> dict[str, Any]:
        from step_envs.credit.oracle_value import OracleValue

        arm, folders = cast(Arm | Literal["base"], name), self._folders
        wanted = set(read_tasks(folders)["held_out"][: self._config.judged])
        function = OracleValue()
        try:
            values = {
                one.task_id: function.values(one)
                for one in _by_episode(folders.evaluation(arm))
                if one.task_id in wanted
            }
        finally:
            function.close()
        write_json(folders.values(arm), values)
        return {"episodes": len(values), "values": sum(value is not None for row in values.values() for value in row)}

    # Play.

    def _agent(self, model: Path) -> str:
        config = self._config
        return f"local:model={model},max_tokens={config.max_tokens},batch={config.concurrency}"

    def _play_tasks(
        self,
        run: Path,
        tasks: tuple[str, ...],
        agent: str,
        teacher: str | None = None,
        *,
        options: dict[str, Any] | None = None,
        episodes: int | None = None,
    ) -> dict[str, Any]:
        config = self._config
        settings = CollectConfig(
            env=config.env,
            env_options=config.world_options(self._folders.draw) if options is None else options,
            tasks=tasks,
            episodes=len(tasks) if episodes is None else episodes,
            agent=agent,
            teacher=teacher,
            max_errors=config.max_errors if teacher else None,
            style=config.style,
            seed=self._folders.draw,
        )
        figures = play_all(settings, run, concurrency=config.concurrency if agent.startswith("local:") else 1)
        return {"episodes": figures.kept, "successes": figures.successes}


def _by_episode(run: Path) -> list[Trajectory]:
    return sorted(read_trajectories(run), key=lambda one: one.episode or 0) if run.exists() else []
