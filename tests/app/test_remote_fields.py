"""No text of a job becomes a folder, an address or a package of the server: each field that can hold one is decided upon."""

from __future__ import annotations

from typing import Any

import pytest

from luthier.app import remote_fields
from luthier.app.dry_run import dry_run
from luthier.app.fine_tuning import FineTuning
from luthier.app.remote_fields import DECIDED, REFUSED, check, texts
from luthier.app.service import Service
from luthier.core.errors import SpecError
from luthier.core.spec import SECTIONS
from luthier.core.tuning import TuningRequest


def _reachable() -> set[str]:
    """Every field that the body of a job can carry a text in, by dotted path: the request's own, and those of the sections it has."""
    sections = SECTIONS.keys() & TuningRequest.model_fields.keys()
    own = {path for path in texts(TuningRequest) if path not in sections}
    return own.union(*(texts(SECTIONS[name], f"{name}.") for name in sections))


def test_every_text_of_a_job_is_decided_upon() -> None:
    assert _reachable() - DECIDED.keys() == set(), "say in app/remote_fields.py what becomes of it: it may be a path, an address, an import"
    assert DECIDED.keys() - _reachable() == set(), "no job can set these any more"


def test_the_walk_finds_texts_wherever_they_are() -> None:
    assert {"integrations.wandb.tags", "metadata", "prepare.mask_patterns", "evaluate.costs", "trainingType"} <= _reachable()
    assert {"train.effort", "train.epochs", "method.type", "integrations.type"}.isdisjoint(_reachable())


def test_what_nobody_decided_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(remote_fields.DECIDED, "data.encoding")
    with pytest.raises(SpecError, match=r"data\.encoding"):
        check({"data": {"encoding": "utf-8"}})


@pytest.mark.parametrize("path", [path for path, decided in DECIDED.items() if decided == REFUSED] + ["deploy.endpoint"])
def test_files_and_endpoints_of_the_server_are_no_jobs_to_name(path: str) -> None:
    section, _, name = path.partition(".")
    with pytest.raises(SpecError) as found:
        check({section: {name: "/etc/passwd"}})
    assert found.value.path == path


def test_a_name_recognizer_is_the_owners_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LUTHIER_NER_MODELS", raising=False)
    for name in ("en_core_web_sm", "/tmp/model", "luthier", ["en_core_web_sm"]):
        with pytest.raises(SpecError) as found:
            check({"prepare": {"ner_model": name}})
        assert (found.value.path, "LUTHIER_NER_MODELS" in found.value.hint) == ("prepare.ner_model", True)
    check({"prepare": {"ner_model": ""}, "train": {}, "data": {"map": {"text": "body"}, "encoding": "latin-1"}})
    monkeypatch.setenv("LUTHIER_NER_MODELS", "en_core_web_sm, de_core_news_sm")
    check({"prepare": {"ner_model": "de_core_news_sm"}})
    with pytest.raises(SpecError, match="not among the models") as refused:
        check({"prepare": {"ner_model": "de_core_news_lg"}})
    assert refused.value.hint == "name one of: en_core_web_sm, de_core_news_sm"


def test_a_job_and_a_dry_run_are_refused_and_a_recipe_on_this_machine_is_not(service: Service, planned: Any) -> None:
    prepare = {"ner_model": "/srv/model"}
    with pytest.raises(SpecError, match=r"prepare\.ner_model"):
        FineTuning(service).create({"model": "all-minilm-l6-v2", "training_file": "file-1", "prepare": prepare})
    with pytest.raises(SpecError, match=r"prepare\.ner_model"):
        dry_run(service, {"prepare": prepare, "data": {"train": ["made:support-messages"]}})
    assert planned(prepare=prepare).prepare.ner_model == "/srv/model"
