"""The shapes that a plugin can have. Each room of the house holds files of one of these shapes.

Arrays are numpy; torch appears only where a model is in hand, and then as ``Any``, so that this file costs nothing to import.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeAlias

from luthier.core.events import Event
from luthier.core.job import Job
from luthier.core.plan import EvaluatePlan, TrainPlan
from luthier.core.types import Arrays, Calibration, Column, Example, Finding, Item, Place, Prediction, Schema, Score

Emit: TypeAlias = Callable[[Event], None]
"""How a stage says something."""


class Graph(NamedTuple):
    """One graph to export.

    ``inputs``/``outputs`` name the arrays; ``sample`` is a batch it is traced with; axis 0 is the batch, axis 1 the sequence.
    """

    name: str
    module: Any
    sample: Arrays
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


class Task(Protocol):
    """What differs by task. ``encode`` and ``decode`` use numpy and ``tokenizers`` only and exist once, for every stage and for serving.

    A target is a label, a list of labels, or a record (``names_in``). A task may have more than this, which the functions of
    ``core.hooks`` and ``core.writing`` ask for: ``carried``, ``beside``, ``pools``, ``exported``, ``validation_metric``, ``tabled`` and
    ``writes`` (attributes), ``settings``, ``fitted``, ``counted``, ``reference``, ``class_of``, ``calibrate``, ``maskable``, ``worded``,
    ``with_edits``, ``as_written``, ``stops`` and ``most_new_tokens`` (methods).

    A task **writes** when its answer is text that a model generates. Its items hold ``input_ids`` (the prompt, then the answer where it
    is known), ``prompt`` [1]: how many of them are given, ``loss_mask``: 1 for the tokens that are learned and judged, and ``bytes`` [1]
    of what is judged (UTF-8). It is judged on its targets too (perplexity), so its test items hold them; what it writes starts from the
    prompt alone. Its outputs have ``loss_sum``, ``predicted`` and ``correct`` [rows], and what was written (``core.writing``).
    """

    name: str
    summary: str
    columns: tuple[Column, ...]
    primary_metric: str
    metrics: tuple[str, ...]
    baselines: tuple[str, ...]
    architectures: tuple[str, ...]
    """Kinds of base model that fit (``encoder``, ``decoder``, ``vision`` ...), as the catalog names them."""

    def example(self, row: Mapping[str, Any], place: Place) -> Example:
        """The example in a row whose columns already carry the task's names; raises ``RowError``."""

    def text(self, example: Example) -> str:
        """The text that is masked, compared for duplicates and shown to people."""

    def with_text(self, example: Example, text: str) -> Example:
        """The same example with its text replaced (after masking); the id follows the new content."""

    def stratum(self, example: Example) -> str:
        """The value that splits and folds keep in proportion."""

    def schema(self, targets: Iterable[Any]) -> Schema:
        """What the targets say (labels ...); raises ``InputError`` when nothing can be learned from them (one class only)."""

    def findings(self, schema: Schema, counts: Mapping[str, int]) -> list[Finding]:
        """What is odd about the targets: labels that differ by case only, classes with a single row."""

    def processor(self, folder: Path, schema: Schema) -> Any:
        """What ``encode`` needs from a model folder (a ``tokenizers.Tokenizer``), with the schema's limits set."""

    def encode(self, examples: Sequence[Example], processor: Any, schema: Schema) -> list[Item]:
        """Examples to unpadded arrays; targets too when they are known (under ``labels``)."""

    def length(self, item: Item) -> int:
        """How many positions (tokens) an item fills."""

    def collate(self, items: Sequence[Item]) -> Arrays:
        """Items to one padded batch; axis 0 is the item."""

    def decode(self, ids: Sequence[str], outputs: Arrays, schema: Schema, calibration: Calibration) -> list[Prediction]:
        """Graph outputs to answers, in the order of ``ids``."""

    def load(self, folder: Path, schema: Schema, *, dropout: float = 0.0, pretrained: bool = True, seed: int = 0) -> Any:
        """A torch module for the task from a base model's or a trained model's folder (``pretrained=False``: the same shape, random
        weights).
        """

    def save(self, model: Any, folder: Path) -> None:
        """The module's weights (safetensors) and configuration, so that ``load`` finds them."""

    def loss(self, outputs: Mapping[str, Any], batch: Mapping[str, Any], schema: Schema, plan: TrainPlan, weights: Any) -> Any:
        """A scalar tensor: mean loss of the batch. ``weights``: class weights [classes] or ``None``."""

    def graphs(self, model: Any, sample: Arrays) -> tuple[Graph, ...]:
        """The graphs that serve the model."""

    def request(self, body: Mapping[str, Any]) -> list[Example]:
        """The examples in a predict call's JSON body; raises ``InputError``."""

    def answer(self, prediction: Prediction, *, scores: bool = False) -> dict[str, Any]:
        """A prediction as the JSON of a predict call."""


class Footprint(NamedTuple):
    """What a method costs on a model: counted, not measured."""

    trained_parameters: int
    flop_per_token: float
    cached_flop_per_token: float
    memory_bytes: float


class Objective(Protocol):
    """What a method teaches the trunk instead of the task's loss; the output layer is fitted on the trunk's vectors when it is asked."""

    def batches(self, strata: Any, lengths: Any, plan: TrainPlan, seed: int, epoch: int) -> list[Any]:
        """The batches of an epoch, arrays of item numbers. ``strata``, ``lengths`` [items]: class and tokens of each; all chance follows
        from seed and epoch.
        """

    def loss(self, outputs: Mapping[str, Any], batch: Mapping[str, Any], plan: TrainPlan) -> Any:
        """A scalar tensor; ``outputs`` has the pooled ``embedding`` [B, width], ``batch`` the ``labels``."""


class Method(Protocol):
    """Which parameters learn, and which activations are computed once.

    A model is ``layers`` deep (``model.depth``). ``cut(plan, depth)`` says how many lower layers are frozen and their output cached (0:
    none; ``depth``: pooled features). Optional: ``objective(plan) -> Objective``, and ``search``: the fields that ``luthier tune`` tries
    when nobody names any, ``{"train.learning_rate": "log:1e-5:1e-3"}``.
    """

    name: str
    summary: str

    def defaults(self, effort: str) -> dict[str, Any]:
        """The ``TrainPlan`` fields that this method decides at an effort."""

    def cut(self, plan: TrainPlan, depth: int) -> int:
        """How many lower layers are computed once and cached."""

    def apply(self, model: Any, plan: TrainPlan) -> Any:
        """The module made ready: parameters frozen or adapters put in; returns the module to train."""

    def merge(self, model: Any) -> Any:
        """The module as it is saved and exported: adapters merged, hooks gone."""

    def footprint(self, card: Mapping[str, Any], plan: TrainPlan, tokens_per_batch: int) -> Footprint:
        """Parameters, FLOP per token of training and bytes of memory, from the card's shape."""


@dataclass(frozen=True)
class Judged:
    """What a metric or report is computed from. ``outputs`` are the graph outputs (``logits`` [rows, classes]) over ``examples``.

    ``rare``: classes with few training rows, where that is known.
    """

    examples: Sequence[Example]
    predictions: Sequence[Prediction]
    outputs: Arrays
    schema: Schema
    calibration: Calibration = field(default_factory=dict)
    rare: Collection[str] | None = None


class Metric(Protocol):
    """A family of scores. ``figures`` (optional data for plots, JSON) keyed by figure name.

    Optional, for 95 % intervals and paired tests: ``resample(judged, counts)`` gives {score: [resamples]} for ``counts`` [resamples,
    rows]; or, where each score is a mean over rows, ``by_row(judged)`` gives {score: [rows], nan for a row that has none}.

    One that gives several scores names them all in ``scores``; else there is one, named like the metric. Bars are checked against them.
    """

    name: str
    summary: str

    def compute(self, judged: Judged) -> list[Score]:
        """The scores; the first is what a plan means by the metric's name (named like the file when there is one score)."""

    def figures(self, judged: Judged) -> dict[str, Any]:
        """Data for plots (confusion matrix, curves ...); ``{}`` when there is none."""


def scores_of(metric: Metric) -> tuple[str, ...]:
    """The names of the scores that a metric may give."""
    return tuple(getattr(metric, "scores", (metric.name.replace("-", "_"),)))


class BaselineResult(NamedTuple):
    """What a baseline predicts on the test rows (``logits``-shaped scores), and what it cost."""

    outputs: Arrays
    train_s: float
    predict_s: float
    train_flop: float


class Baseline(Protocol):
    """Something a fine-tune must beat. Never sees the test targets."""

    name: str
    summary: str

    def run(self, train: Sequence[Example], test: Sequence[Example], context: BaselineContext) -> BaselineResult:
        """Learn from ``train``, answer ``test``."""


@dataclass(frozen=True)
class BaselineContext:
    """What a baseline may use: the task, the schema, the untouched base model, the tuned one, the training plan, how to fit (``fit`` of the
    train stage), and how a model answers test rows: ``answers(model, test) -> Arrays``, as the fine-tuned model's are made.
    """

    task: Task
    schema: Schema
    base: Path
    plan: TrainPlan
    evaluate: EvaluatePlan
    fit: Callable[..., Any]
    work: Path
    steps: int = 0
    threads: int = 1
    answers: Callable[[Any, Sequence[Example]], Arrays] = field(default=lambda model, test: {})
    model: Path | None = None


class Row(NamedTuple):
    """One row of a file: ``values`` by column name, as the format gives them; ``at_bytes``: how far into the file it stands (for
    progress).
    """

    line: int
    values: dict[str, Any]
    at_bytes: int = 0


class BadRow(NamedTuple):
    """A row that the format could not read (a broken JSON line, too many cells)."""

    line: int
    field: str
    reason: str
    remedy: str


class Format(Protocol):
    """How one kind of file is read, as a stream in bounded memory."""

    name: str
    summary: str
    suffixes: tuple[str, ...]

    def sniff(self, path: Path, head: bytes) -> float:
        """How sure this format is that it can read the file, 0 to 1 (``head``: its first 64 kB, empty for a folder)."""

    def rows(self, path: Path, *, encoding: str = "", delimiter: str = "") -> Iterator[Row | BadRow]:
        """The rows in order; raises ``InputError`` for a file that is wrong as a whole (empty, binary, truncated)."""


class Session(Protocol):
    """An opened graph."""

    def run(self, batch: Arrays) -> Arrays:
        """Outputs by name for a padded batch."""


class Runtime(Protocol):
    """What runs an exported graph."""

    name: str
    summary: str
    suffix: str
    """File name ending of the graph it reads, beside the graph's name: ``.onnx``, ``.int8.onnx`` ..."""

    def missing(self) -> str:
        """Why it cannot be used here ("" when it can)."""

    def convert(self, graphs: Sequence[Graph], source: Path, folder: Path, samples: Sequence[Arrays]) -> None:
        """Makes its files in ``folder``; ``source`` is a folder that already holds the fp32 ONNX graphs (equal to ``folder`` for ONNX
        itself).
        """

    def open(self, folder: Path, graph: str, *, threads: int = 1) -> Session:
        """Ready to run."""


class Handle(Protocol):
    """A job that was submitted."""

    def wait(self) -> int:
        """Blocks until the job ends; its exit code."""

    def cancel(self) -> None:
        """Asks the job to end, then makes it."""


class Executor(Protocol):
    """Where a job runs. It moves JSON, never functions.

    One that has ``pretends = True`` does not do the work: what it "made" is never taken for what another executor would make.
    """

    name: str
    summary: str

    def refuses(self, job: Job) -> str:
        """Why this job cannot run there ("" when it can)."""

    def submit(self, job: Job, emit: Emit) -> Handle:
        """Starts the job; events come back through ``emit`` from another thread."""


class Sink(Protocol):
    """Where events go while a run works."""

    name: str
    summary: str

    def open(self, target: str) -> Callable[[Event], None]:
        """A function that takes each event; ``target`` is what follows the sink's name (a path, an address, nothing)."""


class StageRunner(Protocol):
    """One stage: a function from a job to files in ``work``; the caller makes an artifact of what it returns."""

    def __call__(self, job: Job, emit: Emit) -> dict[str, Any]:
        """Writes the artifact's files into ``Path(job.work) / "out"`` and returns the summary for ``stage.finished``."""
