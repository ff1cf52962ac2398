"""Values by the environment's own oracle: exact, and without playing a step."""

from typing import ClassVar

from typing_extensions import override

from step_envs.credit.value_functions import Moment, StateValueFunction
from step_envs.trajectory import Trajectory


class OracleValue(StateValueFunction):
    """What a state is worth to somebody who follows the oracle: ``discount ** distance``.

    A state from which the oracle knows no way is worth 0. Where it knows none from the start, nothing is known.

    Args:
        discount: See ``StateValueFunction``.

    Raises:
        ValueError: The discount is out of range, or 1: then all states from which the goal can be reached would be worth
            the same.
    """

    name: ClassVar[str] = "oracle"
    plain_python: ClassVar[bool] = True

    def __init__(self, *, discount: float = 0.95) -> None:
        super().__init__(discount=discount)
        if discount == 1:
            raise ValueError("With discount=1 the oracle values all states alike: take less than 1.")

    @override
    def running_value(self, moment: Moment) -> float | None:
        """Return ``discount ** distance``; 0 where no way is known."""
        distance = moment.world.oracle.distance()
        return 0.0 if distance is None else self.discount**distance

    @override
    def values(self, trajectory: Trajectory) -> list[float | None]:
        """Value an episode; no turn of it gets a value if the oracle knows no way from the start."""
        found = super().values(trajectory)
        start = next((value for value in found if value is not None), None)
        return [None] * len(found) if start == 0 else found
