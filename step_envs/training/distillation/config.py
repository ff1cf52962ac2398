"""Settings and record of on-policy distillation."""

from pydantic import BaseModel, ConfigDict, Field

from step_envs.training.trainer_setup import TrainerRecord


class DistillationConfig(BaseModel):
    """How to distil.

    Attributes:
        iterations: How often the student plays and is trained.
        episodes: Episodes of an iteration.
        updates: Optimizer steps of an iteration, each on its share of what was sampled. With 1 the student is trained
            exactly on what it samples; with more, the later steps are trained on what an earlier student sampled.
        beta: Which divergence is minimised: 1 is the reverse KL, 0 the forward KL, between them the generalized
            Jensen-Shannon divergence; as TRL's ``GKDConfig``.
        guided: Share of the turns that the teacher writes in the first iteration. They are context, and carry no loss. The
            share falls by the same amount each iteration (Guided-OPD, arXiv 2606.15912).
        guided_until: Share of the iterations after which the teacher writes no turn.
        learning_rate: Peak of the learning rate.
        warmup: Share of the optimizer steps in which the learning rate rises.
        schedule: How the learning rate falls; a name of transformers' schedules.
        weight_decay: Weight decay of AdamW.
        max_grad_norm: Norm to which larger gradients are clipped.
        batch_size: Sequences of a forward pass.
        temperature: Of sampling.
        top_p: Sample from the most likely tokens whose probabilities add up to this. The divergence is always over the
            whole vocabulary.
        max_tokens: Most tokens of a reply.
        max_length: Most tokens of a conversation with its replies; an episode that would grow beyond it ends. None uses
            the limits of the models.
        concurrency: Episodes that are played at once.
        seed: Decides the order of tasks, sampling, guided turns and batches.
        save_every: Iterations between checkpoints.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    iterations: int = Field(100, ge=1)
    episodes: int = Field(32, ge=1)
    updates: int = Field(1, ge=1)
    beta: float = Field(1.0, ge=0, le=1)
    guided: float = Field(0.0, ge=0, lt=1)
    guided_until: float = Field(0.5, gt=0, le=1)
    learning_rate: float = Field(1e-5, gt=0)
    warmup: float = Field(0.03, ge=0, lt=1)
    schedule: str = "cosine"
    weight_decay: float = Field(0.0, ge=0)
    max_grad_norm: float = Field(1.0, gt=0)
    batch_size: int = Field(8, ge=1)
    temperature: float = Field(1.0, gt=0)
    top_p: float = Field(1.0, gt=0, le=1)
    max_tokens: int = Field(256, ge=1)
    max_length: int | None = Field(None, ge=8)
    concurrency: int = Field(64, ge=1)
    seed: int = Field(0, ge=0)
    save_every: int = Field(1, ge=1)

    def guidance(self, iteration: int) -> float:
        """Return the probability that the teacher writes a turn.

        Args:
            iteration: Number of the iteration, from 0.
        """
        return self.guided * max(0.0, 1.0 - iteration / (self.guided_until * self.iterations))


class IterationFigures(BaseModel):
    """What was measured in one iteration, on the student as it played.

    Attributes:
        iteration: Its number, from 1.
        kl: Mean of the reverse KL, ``KL(student || teacher)``, over the sampled tokens, in nats; None if nothing was
            sampled. With several updates, each is measured just before its own step.
        loss: Mean of the divergence that is minimised.
        success: Share of the episodes that succeeded.
        score: Mean final score.
        steps: Mean number of steps of an episode.
        valid_actions: Share of the student's replies whose action the world understood.
        reply_tokens: Mean length of the student's replies, in tokens.
        replies: Replies of the student.
        guided_turns: Replies of the teacher.
        tokens: Sampled tokens, all of which were trained on.
        sequences: Sequences that they are in.
        gradient_norm: Mean norm of the gradient before it was clipped.
        learning_rate: Of the last optimizer step.
        seconds: Wall time.
    """

    model_config = ConfigDict(extra="forbid")

    iteration: int
    kl: float | None = None
    loss: float | None = None
    success: float
    score: float
    steps: float
    valid_actions: float | None = None
    reply_tokens: float | None = None
    replies: int
    guided_turns: int
    tokens: int
    sequences: int
    gradient_norm: float | None = None
    learning_rate: float | None = None
    seconds: float = 0.0


class DistillationRecord(TrainerRecord):
    """Content of ``distillation.json``.

    ``rows`` is the number of tasks; ``fingerprint`` is the hash of tasks, world and hints. ``figures`` holds ``iterations``
    (see ``IterationFigures``), ``tokens`` and ``seconds``.

    Attributes:
        teacher: The checkpoint of the teacher; None if the student's own start is the teacher.
    """

    teacher: str | None
    config: DistillationConfig
