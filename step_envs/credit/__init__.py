"""Credit: what each step of an episode was worth.

``annotate`` writes values into the trajectories of a run. They come from a value function: the environment's oracle, an
agent that continues from the state, an estimator that was learned from outcomes, or one of your own.
"""

from step_envs.credit.advantages import step_advantages
from step_envs.credit.annotation import AnnotateConfig, AnnotationFigures, annotate
from step_envs.credit.episode_replay import make_world, replay
from step_envs.credit.progress_estimator import ProgressEstimator
from step_envs.credit.step_reward_teacher import StepRewardTeacher
from step_envs.credit.step_rewards import contribution_rewards
from step_envs.credit.value_agreement import SumAgreement, ValueAgreement, agreement
from step_envs.credit.value_functions import Moment, StateValueFunction, ValueFunction, make_value_function

__all__ = [
    "AnnotateConfig",
    "AnnotationFigures",
    "Moment",
    "ProgressEstimator",
    "StateValueFunction",
    "StepRewardTeacher",
    "SumAgreement",
    "ValueAgreement",
    "ValueFunction",
    "agreement",
    "annotate",
    "contribution_rewards",
    "make_value_function",
    "make_world",
    "replay",
    "step_advantages",
]
