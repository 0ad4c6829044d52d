"""train: from a dataset and a base model to a fine-tuned model. ``run(job, emit)`` is the stage; ``fit`` its loop, for others to use."""

from luthier.stages.train.stage import run

__all__ = ["run"]
