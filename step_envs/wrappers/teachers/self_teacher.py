"""The agent's own model as its teacher."""

from step_envs.wrappers.teachers.model_teacher import ModelTeacher


class SelfTeacher(ModelTeacher):
    """Has the model that acts judge its own steps: the paper's open question of feedback without a larger teacher.

    It is made like a ``ModelTeacher``, from the agent's own ``chat``, so it judges with the agent's sampling parameters.
    The agent may be a model behind an endpoint or a checkpoint in this process; a checkpoint is not loaded a second time.
    """

    name = "self"
