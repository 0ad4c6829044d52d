"""A base model learns a domain's language from unlabelled texts before it learns a task (Gururangan et al. 2020, arXiv 2004.10964)."""

from luthier.stages.train.adapt.making import adapted, asks, figures

__all__ = ["adapted", "asks", "figures"]
