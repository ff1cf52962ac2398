"""WebShop in experiments: a catalogue generated from a seed, another one for each draw."""

from collections.abc import Mapping
from typing import Any, ClassVar

from typing_extensions import override

from step_envs.registration import list_tasks
from step_envs.training.experiments.worlds.base import ExperimentWorld, Purpose, draw_listed


class WebShopExperiment(ExperimentWorld):
    """Purchases in a generated shop. The expert searches and reads, as a shopper does."""

    env: ClassVar[str] = "STeP-WebShop-v0"
    held_out_split: ClassVar[str] = "test"
    tiny_options: ClassVar[Mapping[str, Any]] = {"size": 4000, "expert": "explorer", "brief": True}
    model_options: ClassVar[Mapping[str, Any]] = {"size": 4000, "expert": "explorer"}

    @override
    def draw_tasks(self, options: Mapping[str, Any], purpose: Purpose, count: int, draw: int) -> tuple[str, ...]:
        split = self.held_out_split if purpose == "held_out" else "train"
        tasks = list_tasks(self.env, split=split, **self.options_of(options, draw))
        return draw_listed(self, tasks, purpose, count, draw)

    @override
    def options_of(self, options: Mapping[str, Any], draw: int) -> dict[str, Any]:
        # The goals of one catalogue are too few for several draws. Catalogue 0 stays free for evaluations by hand.
        return {"catalogue_seed": draw + 1, **options}
