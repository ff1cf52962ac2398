"""TRL's SFTTrainer, or a subclass of it, that audits its batches by kind of turn and logs what it finds.

The audit runs right before an optimizer step that will be logged, on documents of that step and at the parameters that the
step begins with. Its figures go into the same entry of the log, and so to every backend of ``report_to``.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from step_envs.training.mask_audit import AuditPlan, choose_documents, documents_of, measure_kinds


def audited(trainer_class: type[Any], plan: AuditPlan) -> type[Any]:
    """Return a subclass of a trainer that audits batches with ``kinds``.

    With several processes, the main process audits its own batch. Where parameters are divided among processes (FSDP,
    DeepSpeed), no process has a whole gradient, and nothing is audited.

    Args:
        trainer_class: ``SFTTrainer`` or a subclass of it.
        plan: How often, and on how much.
    """

    class AuditedTrainer(trainer_class):  # type: ignore[misc]  # the base is an argument
        """Audits its batches."""

        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(*arguments, **named)
            self.data_collator = WithKinds(getattr(self, "data_collator"))  # noqa: B009  (set by a class not followed)
            self._audit_figures: dict[str, float] = {}

        def get_batch_samples(self, *arguments: Any, **named: Any) -> tuple[list[dict[str, Any]], Any]:
            """Return the batches of an optimizer step without their kinds, after they were audited."""
            batches, items = super().get_batch_samples(*arguments, **named)
            if batches and self._audits_now():
                documents = [document for batch in batches for document in documents_of(batch)]
                chosen = choose_documents(documents, plan.share)
                # self.model is the model without the wrapper of distributed training, whose hooks must not see this.
                self._audit_figures = measure_kinds(self.model, chosen, self.compute_loss_context_manager())
            for batch in batches:
                batch.pop("kinds")
            return batches, items

        def log(self, logs: dict[str, Any], *arguments: Any, **named: Any) -> None:
            """Log the figures of an audit with the loss of its step."""
            if "loss" in logs:
                logs |= self._audit_figures
                self._audit_figures = {}
            super().log(logs, *arguments, **named)

        def _audits_now(self) -> bool:
            divided = self.is_fsdp_enabled or self.is_deepspeed_enabled
            due = plan.is_due(self.state.global_step + 1, self.args.logging_steps)
            return due and not divided and self.is_world_process_zero()

    return AuditedTrainer


class WithKinds:
    """Collates ``kinds`` in the same layout as another collator collates the labels.

    Args:
        collate: The trainer's own collator, padding or flattening.
    """

    def __init__(self, collate: Callable[[list[dict[str, Any]]], dict[str, Any]]) -> None:
        self._collate = collate

    def __call__(self, examples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Make a batch."""
        batch = self._collate([{name: value for name, value in one.items() if name != "kinds"} for one in examples])
        bare = [{name: value for name, value in one.items() if name not in ("kinds", "weights")} for one in examples]
        coded = [{**plain, "labels": one["kinds"]} for plain, one in zip(bare, examples, strict=True)]
        collate = getattr(self._collate, "base", self._collate)
        return batch | {"kinds": collate(coded)["labels"]}
