"""Evaluations over HTTP: figures as JSON, and the report as a page in which nothing foreign can run."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

from luthier.stages import evaluate


def test_the_list_shows_the_headline_figures(records):
    (one,) = records.get("/api/v1/evaluations").json()["data"]
    assert one["summary"]["accuracy"] == 0.9
    assert one["summary"]["ece"] is None, "what is not known is null, not NaN"


def test_one_comes_with_all_its_figures(records):
    found = records.get("/api/v1/evaluations/reviews").json()
    assert found["figures"]["gate"]["passed"] is True
    assert found["figures"]["scores"] == {"accuracy": {"value": 0.9}, "ece": {"value": None}}


def test_the_newest_one_of_a_model_is_found_by_the_model(records):
    model = records.get("/api/v1/artifacts?kind=model").json()["data"][0]["id"]
    found = records.get(f"/api/v1/evaluations/{model}").json()
    assert found["kind"] == "evaluation"
    assert model in found["parents"]


def test_the_lineage_names_the_model_and_the_dataset(records):
    found = records.get("/api/v1/evaluations/reviews/lineage").json()["data"]
    assert sorted(one["kind"] for one in found) == ["dataset", "evaluation", "model"]


def test_the_report_is_a_page_that_runs_its_own_script_only(records):
    said = records.get("/api/v1/evaluations/reviews/report")
    assert said.headers["content-type"] == "text/html; charset=utf-8"
    policy = dict(part.split(" ", 1) for part in said.headers["content-security-policy"].split("; ") if " " in part)
    assert policy["default-src"] == "'none'"
    assert policy["sandbox"] == "allow-scripts"
    template = (Path(evaluate.__file__).parent / "report.html").read_text(encoding="utf-8")
    allowed = [f"'sha256-{_digest(script)}'" for script in re.findall(r"<script>(.*?)</script>", template, re.DOTALL)]
    assert policy["script-src"].split() == allowed
    assert allowed
    assert _digest("alert(1)") not in policy["script-src"], "the page's own script is not the template's"
    assert said.headers["x-content-type-options"] == "nosniff"


def test_the_script_of_the_template_is_the_one_of_the_pages_made_from_it(records):
    """Jinja takes newlines away; were there a tag in the script, its digest would be another one."""
    template = (Path(evaluate.__file__).parent / "report.html").read_text(encoding="utf-8")
    script = template[template.index("<script>") : template.index("</script>")]
    assert "{{" not in script
    assert "{%" not in script


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def test_what_has_no_evaluation_says_so(records):
    assert records.get("/api/v1/evaluations/nothing").status_code == 404
    dataset = records.get("/api/v1/datasets").json()["first_id"]
    assert records.get(f"/api/v1/evaluations/{dataset}").status_code == 404
    assert records.get(f"/api/v1/evaluations/{dataset}/report").status_code == 404
