"""The settings of commands whose library functions take arguments instead of one object of settings."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from step_envs.collection.run_settings import BudgetSetting, PricesSetting
from step_envs.training.evaluation import EvalConfig


class EvalSettings(EvalConfig):
    """What ``step-envs eval`` plays.

    Attributes:
        recovery: Start inside an error, and also at the same place without it.
        after: Steps of the oracle before the error; None draws a number.
    """

    recovery: bool = False
    after: int | None = Field(None, ge=0)

    @model_validator(mode="after")
    def _after_needs_recovery(self) -> "EvalSettings":
        if self.after is not None and not self.recovery:
            raise ValueError("--after says where the error of --recovery comes: add --recovery, or leave it out.")
        return self

    def evaluation(self) -> EvalConfig:
        """Return the settings of the evaluation alone."""
        values = dict(self)
        return EvalConfig.model_validate({name: values[name] for name in EvalConfig.model_fields})


class TeacherEvalSettings(BaseModel):
    """What ``step-envs teacher-eval`` measures.

    Attributes:
        teacher: The teachers.
        env: Ids of the environments.
        env_options: Further keyword arguments of the environments.
        split: The split; None is the default of each environment.
        episodes: Episodes for each environment.
        error_rate: Rate of the novice's mistakes.
        concurrency: Episodes played at once.
        seed: Decides tasks and mistakes.
        budget: The most that all of it may spend on models; None means no limit.
        prices: US dollars per million tokens of each model.
        cache: Response cache; None asks for every verdict again.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    teacher: tuple[str, ...] = Field(min_length=1)
    env: tuple[str, ...] = Field(("STeP-SciWorld-v0",), min_length=1)
    env_options: dict[str, Any] = Field(default_factory=dict)
    split: str | None = None
    episodes: int = Field(20, ge=1)
    error_rate: float = Field(0.3, ge=0, le=1)
    concurrency: int = Field(2, ge=1)
    seed: int = Field(0, ge=0)
    budget: BudgetSetting = None
    prices: PricesSetting = Field(default_factory=dict)
    cache: Path | None = None


class ExportSettings(BaseModel):
    """What ``step-envs export`` writes.

    Attributes:
        runs: Run folders or trajectory files.
        format: Name of the format.
        outcome: Only episodes with one of these outcomes; None writes all.
        max_errors: The most errors under the outcomes ``kept`` and ``dropped``; None is the environment's own number.
        overwrite: Replace what is there.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    runs: tuple[Path, ...] = Field(min_length=1)
    format: str = "messages"
    outcome: tuple[str, ...] | None = None
    max_errors: int | None = Field(None, ge=0)
    overwrite: bool = False
