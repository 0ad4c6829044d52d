"""What will happen: every value present, and for each one where it came from.

The sections below are the one definition of every setting. ``spec`` makes the forms that people fill from them.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Effort = Literal["quick", "standard", "best"]
Stage = Literal["prepare", "train", "evaluate", "export"]
STAGES: tuple[Stage, ...] = ("prepare", "train", "evaluate", "export")


class Section(BaseModel):
    """One part of a plan. Unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True, allow_inf_nan=False)


class DataPlan(Section):
    """Which files, and which of their columns."""

    train: list[str] = Field(default_factory=list, description="files, folders or `made:NAME` of a data set that the catalog makes")
    validation: list[str] = Field(default_factory=list, description="a validation set of your own; else it is split off")
    test: list[str] = Field(default_factory=list, description="a test set of your own; else it is split off")
    format: str = Field(default="", description="a registered format; empty: decided by the file")
    map: dict[str, str] = Field(default_factory=dict, description="task column = file column, e.g. text: body")
    group: str = Field(default="", description="column whose equal values never straddle a split, e.g. conversation_id")
    encoding: str = Field(default="", description="text encoding; empty: detected")
    delimiter: str = Field(default="", description="CSV delimiter; empty: detected")
    rows: int = Field(default=0, ge=0, description="use only the first rows of each file, or the size of a made data set (0: all)")
    seed: int = Field(default=7, ge=0, description="seed of a made data set")


class PreparePlan(Section):
    """How rows are checked, masked, deduplicated and split."""

    max_refused: float = Field(default=0.05, ge=0, le=1, description="stop when a larger share of the rows is refused")
    mask: bool = Field(default=True, description="mask personal data before anything is kept")
    mask_kinds: list[str] = Field(default_factory=list, description="kinds to mask; empty: all kinds")
    mask_patterns: dict[str, str] = Field(
        default_factory=lambda: {"ORDER_NUMBER": r"\b(?:ORD|ORDER|INV|PO)[-_ #]?\d{4,12}\b"},
        description="extra kinds by regular expression",
    )
    ner_model: str = Field(
        default="",
        description="finds names and places: an exported token-classification model (name, id or folder), or a spaCy model",
    )
    near_duplicates: float = Field(
        default=0.9, gt=0, le=1, description="estimated Jaccard similarity from which two texts are near-duplicates"
    )
    drop_duplicates: bool = Field(default=True, description="keep one of exact duplicates inside a split")
    merge_labels: bool = Field(default=False, description="merge labels that differ by case or space only")
    allow_leakage: bool = Field(default=False, description="go on when the test set shares rows with training")
    validation_share: float = Field(default=0.1, ge=0, lt=0.5, description="share split off for validation")
    test_share: float = Field(default=0.1, ge=0, lt=0.5, description="share split off for test")
    max_cell_bytes: int = Field(default=1_000_000, gt=0, description="a longer cell is refused")
    seed: int = Field(default=13, ge=0, description="seed of the split")


class TrainPlan(Section):
    """What learns, how long, and how."""

    method: str = Field(default="full", description="a registered method: full, lora, top, head, contrastive")
    effort: Effort = Field(default="standard", description="the one dial: quick, standard, best")
    epochs: float = Field(default=4, gt=0, description="times that every training example is seen; the method decides it from effort")
    learning_rate: float = Field(default=1.2e-4, gt=0, description="of the pre-trained part, at its peak; the method decides it")
    head_learning_rate: float = Field(default=2.4e-3, gt=0, description="for the newly made output layer")
    batch_tokens: int = Field(default=640, gt=0, description="tokens in a batch, padding included")
    batch_rows: int = Field(default=0, ge=0, le=100_000, description="rows in a batch; 0: as many as batch_tokens hold")
    accumulation: int = Field(
        default=1, ge=1, le=10_000, description="pieces that a batch is computed in, one after the other: less memory, the same update"
    )
    gradient_checkpointing: bool = Field(
        default=False, description="activations inside layers are computed again for the backward pass, not kept: less memory, more time"
    )
    warmup_share: float = Field(default=0.1, ge=0, lt=1, description="share of the steps over which the learning rate rises")
    weight_decay: float = Field(default=0.01, ge=0, description="of AdamW; not applied to biases and normalizations")
    dropout: float = Field(default=0.1, ge=0, lt=1, description="share of activations set to 0 while training")
    label_smoothing: float = Field(default=0.05, ge=0, lt=1, description="share of the target that is spread over the other classes")
    max_grad_norm: float = Field(default=1.0, ge=0, description="0: gradients are not clipped")
    average_share: float = Field(default=0.0, ge=0, lt=1, description="share of the last steps whose weights are averaged (EMA); 0: none")
    fitted_head: bool = Field(default=False, description="the output layer is first fitted alone, on the untouched model's vectors")
    class_weights: Literal["auto", "none", "balanced"] = Field(
        default="auto", description="auto: balanced (square root) when classes are skewed more than 5 to 1"
    )
    loss: Literal["cross-entropy", "focal"] = Field(
        default="cross-entropy", description="of classifiers; focal: rows that are right already count for less (Lin et al. 2017)"
    )
    focal_gamma: float = Field(default=2.0, gt=0, le=10, description="loss focal: how much less they count")
    resampling: Literal["none", "square-root", "balanced"] = Field(
        default="none", description="rows of rare classes are repeated in each epoch; balanced: until all are as large as the largest"
    )
    tag_scheme: Literal["BIO", "BILOU"] = Field(default="BIO", description="of tasks that tag words: how spans are written as tags")
    entity_weight: float = Field(default=1.0, gt=0, description="task intent-entities: how much the tags count beside the intents")
    metric: str = Field(default="", description="the metric that chooses the best checkpoint; empty: the task's own")
    patience: int = Field(default=3, ge=0, description="epochs without improvement before stopping; 0: never stop early")
    keep_checkpoints: int = Field(
        default=0, ge=0, description="how many of the last epochs' models are kept beside the final one, to be asked or deployed"
    )
    checkpoint_s: float = Field(default=20.0, gt=0, description="seconds between checkpoints, at the most")
    max_tokens: int = Field(
        default=0, ge=0, description="longest input in tokens; 0: 99.5th percentile of the training texts, at most what the model takes"
    )
    top_layers: int = Field(default=2, ge=1, description="method top: how many upper layers learn")
    lora_rank: int = Field(default=8, ge=1, description="method lora: rank of the adapters")
    lora_alpha: int = Field(default=16, ge=1, description="method lora: the adapters are scaled by alpha / rank")
    lora_targets: list[str] = Field(
        default_factory=list,
        description="method lora: layers that get an adapter; empty: query and value of an encoder, every linear layer of a decoder",
    )
    unlabelled: list[str] = Field(
        default_factory=list, description="files of texts without labels that an encoder reads first, guessing masked tokens"
    )
    adapt_epochs: float = Field(default=3, gt=0, description="with unlabelled or added_tokens: how often the texts are read")
    adapt_learning_rate: float = Field(default=1e-4, gt=0, description="of that reading, at its peak")
    added_tokens: int = Field(
        default=0, ge=0, le=20_000, description="words of the texts, cut into pieces until now, that become tokens of their own"
    )
    contrast_temperature: float = Field(
        default=0.05, gt=0, le=10, description="method contrastive: cosines are divided by it; a low one looks at the nearest strangers"
    )
    beta: float = Field(
        default=0.1, gt=0, le=10, description="task preference: how strongly the model is held to the one it starts from (DPO)"
    )
    threads: int = Field(default=0, ge=0, description="0: chosen by the micro-benchmark")
    precision: Literal["auto", "fp32", "bf16"] = Field(default="auto", description="auto: chosen by the micro-benchmark")
    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="auto: cuda when there is one")
    seed: int = Field(default=17, ge=0, description="seed of the new output layer, the order of examples and dropout")


class EvaluatePlan(Section):
    """How the model is judged, and which bars it must pass."""

    folds: int = Field(default=0, ge=0, description="K-fold cross-validation; 0: none")
    bars: dict[str, float] = Field(default_factory=dict, description="metric: least value on the test set, e.g. macro_f1: 0.8")
    max_drop: float = Field(default=0.01, ge=0, description="most that the primary metric may lose against the current deployment")
    baselines: list[str] = Field(default_factory=list, description="registered baselines to compare with; empty: the task's own")
    bootstrap: int = Field(default=1000, ge=0, description="resamples for confidence intervals")
    slices: list[str] = Field(default_factory=list, description="extra columns to slice by")
    rare_below: float = Field(
        default=0.0, ge=0, description="classes with fewer training rows (below 1: a smaller share of them) are rare; 0: the rarest quarter"
    )
    costs: dict[str, dict[str, float]] = Field(
        default_factory=dict, description="cost of answering B where A is right: {A: {B: cost}}; empty: all errors cost 1"
    )
    abstain_risk: float = Field(
        default=0.02, gt=0, lt=1, description="error rate that the answered share should have; the abstain threshold follows from it"
    )
    span_recall: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="share of the words in spans that must be found, on validation rows, whatever else is; 0: as trained",
    )
    written_rows: int = Field(
        default=200, gt=0, description="tasks that write: test rows that answers are written for (perplexity is over all rows)"
    )
    compare_to: str = Field(default="", description="an earlier model to test against (id or name)")
    label_errors: bool = Field(default=True, description="with folds: look for likely label errors (cleanlab)")
    seed: int = Field(default=23, ge=0, description="seed of folds and bootstrap")


class ExportPlan(Section):
    """Which graphs are made, and what the deployed one may lose."""

    runtimes: list[str] = Field(default_factory=lambda: ["onnx", "onnx-int8"], description="registered runtimes to try")
    max_label_change: float = Field(
        default=0.01, ge=0, le=1, description="most answers that may differ from the trained model on the evaluation rows"
    )
    max_metric_loss: float = Field(default=0.005, ge=0, le=1, description="most that the primary metric may lose")
    max_logit_difference: float = Field(default=1e-3, gt=0, description="largest logit difference that the fp32 graph may show")
    rows: int = Field(default=1000, gt=0, description="evaluation rows used for parity")
    streams: int = Field(
        default=8, gt=0, description="tasks that write: answers written at once in the load that the runtime is chosen for"
    )
    latency_seconds: float = Field(default=1.0, gt=0, description="measuring time for each runtime and batch size")


class RolloutPlan(Section):
    """How an endpoint's traffic goes over to a new version, and what sends it back."""

    canary: list[int] = Field(
        default_factory=list, max_length=20, description="percents that it gets one after the other, e.g. 5, 25, 100; empty: all at once"
    )
    step_s: float = Field(default=600.0, ge=0, description="seconds of a step of the canary, at least")
    mirror: int = Field(
        default=0, ge=0, le=100, description="percent of requests that it answers besides: the answers are compared, not returned"
    )
    least_answers: int = Field(default=100, ge=1, description="answers of either version in a step before it is judged")
    max_error_rise: float = Field(default=0.01, ge=0, le=1, description="most that the share of failed requests may rise (1: any)")
    max_p95_ratio: float = Field(default=1.5, ge=1, description="most that p95 may be of the other version's, as a ratio")
    max_confidence_drop: float = Field(default=0.05, ge=0, le=1, description="most that the mean confidence may fall (1: any)")
    max_label_change: float = Field(default=0.2, ge=0, le=1, description="most that the share of any answer may change: drift (1: any)")
    max_satisfaction_drop: float = Field(default=0.1, ge=0, le=1, description="most that the share of thumbs up may fall (1: any)")
    alpha: float = Field(default=0.01, gt=0, le=0.5, description="how probable it may be that a version which is no worse is rolled back")


class DeployPlan(RolloutPlan):
    """Where the model goes, and how."""

    endpoint: str = Field(default="", description="name of the endpoint; empty: not deployed")
    force: bool = Field(default=False, description="deploy although a bar was missed (is journaled)")


class Plan(Section):
    """A run, decided in full. ``origins`` maps dotted paths to where the value came from; ``notes`` are for the reader."""

    name: str
    task: str
    model: str
    base: dict[str, Any] = Field(default_factory=dict, description="the catalog card of the base model, and the folder it was found in")
    data: DataPlan = Field(default_factory=DataPlan)
    prepare: PreparePlan = Field(default_factory=PreparePlan)
    train: TrainPlan = Field(default_factory=TrainPlan)
    evaluate: EvaluatePlan = Field(default_factory=EvaluatePlan)
    export: ExportPlan = Field(default_factory=ExportPlan)
    deploy: DeployPlan = Field(default_factory=DeployPlan)
    executor: str = "local"
    ask: list[str] = Field(default_factory=list, description="messages to answer from the endpoint at the end")
    origins: dict[str, str] = Field(default_factory=dict)
    notes: list[str] = Field(default_factory=list)
    estimates: dict[str, float] = Field(default_factory=dict, description="wall_s, memory_bytes ... as far as known")
