"""A fine-tuning job as OpenAI's clients speak of it: what may be asked, its states and its legal moves; pure data and functions.

The forms follow OpenAI's published description (2.3.0) and Azure's (2024-10-21); where clients send both, both are taken.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

State = Literal["validating_files", "queued", "running", "paused", "succeeded", "failed", "cancelled"]

MOVES: dict[State, frozenset[State]] = {
    "validating_files": frozenset({"queued", "failed", "cancelled", "paused"}),
    "queued": frozenset({"running", "cancelled", "failed", "paused"}),
    "running": frozenset({"succeeded", "failed", "cancelled", "queued", "paused"}),
    "paused": frozenset({"queued", "validating_files", "cancelled"}),
    "succeeded": frozenset(),
    "failed": frozenset(),
    "cancelled": frozenset(),
}
"""Legal moves. ``running -> queued``: the runner was killed, or the work has to wait (a full disk, another job at the same work)."""

FINAL: tuple[State, ...] = ("succeeded", "failed", "cancelled")

Word = Annotated[str, StringConstraints(min_length=1, max_length=64)]


def may_move(old: State, new: State) -> bool:
    """Whether a job in ``old`` may become ``new``."""
    return new in MOVES[old]


class Form(BaseModel):
    """A part of a request. Unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Hyperparameters(Form):
    """Numbers of a training, or ``auto``; what ``auto`` became is echoed by the job."""

    n_epochs: Literal["auto"] | Annotated[int, Field(ge=1, le=50)] = "auto"
    batch_size: Literal["auto"] | Annotated[int, Field(ge=1, le=256)] = "auto"
    learning_rate_multiplier: Literal["auto"] | Annotated[float, Field(gt=0, le=1e6)] = "auto"
    beta: Literal["auto"] | Annotated[float, Field(gt=0, le=2)] | None = None


class Supervised(Form):
    """Learning from examples with right answers."""

    hyperparameters: Hyperparameters = Field(default_factory=Hyperparameters)


class Preference(Form):
    """Learning from pairs of answers (DPO). Azure's documents put ``beta`` here; both places are taken."""

    hyperparameters: Hyperparameters = Field(default_factory=Hyperparameters)
    beta: Literal["auto"] | Annotated[float, Field(gt=0, le=2)] | None = None


class Reinforcement(Form):
    """Learning from a grader's points."""

    grader: dict[str, Any] = Field(default_factory=dict)
    hyperparameters: dict[str, Any] = Field(default_factory=dict)
    response_format: dict[str, Any] | None = None


class Method(Form):
    """How to learn."""

    type: Literal["supervised", "dpo", "reinforcement"]
    supervised: Supervised | None = None
    dpo: Preference | None = None
    reinforcement: Reinforcement | None = None

    @property
    def hyperparameters(self) -> Hyperparameters:
        """Those of the method that is meant (reinforcement has its own and is refused before anybody reads them)."""
        part = self.supervised if self.type == "supervised" else self.dpo
        return part.hyperparameters if part is not None else Hyperparameters()


class Wandb(Form):
    """Where the figures of a job go at Weights & Biases."""

    project: str = Field(min_length=1, max_length=128)
    name: str | None = Field(default=None, max_length=128)
    entity: str | None = Field(default=None, max_length=128)
    tags: list[Annotated[str, StringConstraints(max_length=64)]] = Field(default_factory=list, max_length=64)


class Integration(Form):
    """A service that follows the job. ``sink`` names one; where that writes or sends to is decided by who owns the server."""

    type: Literal["wandb", "sink"]
    wandb: Wandb | None = None
    sink: Word | None = None
    experiment: str | None = Field(default=None, max_length=128, description="sink mlflow")
    project: str | None = Field(default=None, max_length=128, description="sink wandb")
    target: str | None = Field(default=None, max_length=500, description="not taken: a place is not the caller's to name")


def _no_files(data: dict[str, Any]) -> dict[str, Any]:
    for name in ("train", "validation", "test"):
        if name in data:
            raise ValueError(f"{name} cannot be set here: send training_file and validation_file")
    return data


DataForm = Annotated[dict[str, Any], AfterValidator(_no_files)]
MetadataKey = Annotated[str, StringConstraints(min_length=1, max_length=64)]
MetadataValue = Annotated[str, StringConstraints(max_length=512)]


class TuningRequest(Form):
    """The body of ``POST /fine_tuning/jobs``. The last group is Luthier's own (``extra_body``): what else a recipe can say."""

    model: str = Field(min_length=1, max_length=200, description="a base of the catalog, a tuned model or a checkpoint")
    training_file: str = Field(min_length=1, max_length=100)
    validation_file: str | None = Field(default=None, max_length=100)
    method: Method | None = None
    hyperparameters: Hyperparameters | None = Field(default=None, description="deprecated: use method")
    suffix: str | None = Field(default=None, min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._ -]*$")
    seed: int | None = Field(default=None, ge=0, le=2147483647)
    integrations: list[Integration] | None = Field(default=None, max_length=16)
    metadata: dict[MetadataKey, MetadataValue] | None = Field(default=None, max_length=16)
    trainingType: int | str | None = Field(default=None, description="Azure's tier; kept, without effect here")  # noqa: N815 - Azure's name

    task: str = Field(default="", max_length=100, description="a registered task; empty: decided by the file")
    data: DataForm = Field(default_factory=dict, description="the recipe's section, without its files: map, group, delimiter ...")
    prepare: dict[str, Any] = Field(default_factory=dict, description="the recipe's section: personal data, splits ...")
    train: dict[str, Any] = Field(default_factory=dict, description="the recipe's section: method, effort ...")
    evaluate: dict[str, Any] = Field(default_factory=dict, description="the recipe's section: bars, folds, baselines ...")
    export: dict[str, Any] = Field(default_factory=dict, description="the recipe's section: runtimes, parity ...")
    executor: str = Field(default="local", max_length=100)
    priority: int = Field(default=0, ge=-100, le=100, description="higher runs first; beyond 10 with an admin key")

    @property
    def asked(self) -> Hyperparameters:
        """The hyperparameters that were asked for, wherever they stood; those of ``method`` where both places say something."""
        old = self.hyperparameters or Hyperparameters()
        new = self.method.hyperparameters if self.method is not None else Hyperparameters()
        beta = self.method.dpo.beta if self.method is not None and self.method.type == "dpo" and self.method.dpo is not None else None
        outside = {} if beta is None else {"beta": beta}
        return Hyperparameters(**(old.model_dump(exclude_unset=True) | outside | new.model_dump(exclude_unset=True)))
