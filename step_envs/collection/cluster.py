"""Settings of a Ray cluster: where it is, and what each worker needs."""

from pydantic import BaseModel, ConfigDict, Field


class Cluster(BaseModel):
    """A Ray cluster, and what each worker on it needs.

    Attributes:
        address: Address of a running cluster, e.g. ``auto`` or ``ray://head:10001``; None takes ``RAY_ADDRESS``, else
            starts a cluster on this machine that ends with the run.
        episodes_per_worker: Episodes that a worker process plays at once.
        cpus: Processors that a worker needs.
        memory: Memory that a worker needs, in bytes.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    address: str | None = None
    episodes_per_worker: int = Field(8, ge=1)
    cpus: float = Field(1.0, ge=0)
    memory: int = Field(2**30, ge=1)
