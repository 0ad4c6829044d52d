"""Asks every operation of /openapi.json with invented requests, right ones and wrong ones, and judges every answer against the document.

    python bench/openapi.py                       20 right and 20 wrong requests an operation
    python bench/openapi.py --examples 200 --only webhook

schemathesis invents the requests and judges: no 5xx, no status, content type, header or body that the document does not declare, wrong
requests are refused. Ids that answers name are used again in later addresses, so that more than 404 is seen. Ends with 1 when an answer
was not as declared.
"""

from __future__ import annotations

import argparse
import logging
import random
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import Case, GenerationMode
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.core.failures import FailureGroup
from starlette.testclient import TestClient

NOT_JUDGED = {
    # An open server has nobody to refuse; who may do what is tests/api/test_access.py's, route by route.
    "ignored_auth", "object_level_authorization",
    # Right by the schema is not right by the facts: a file that does not exist, a model that the file does not fit.
    "positive_data_acceptance",
    # Need an order of calls, which the clients' tests have.
    "use_after_free", "ensure_resource_availability",
}  # fmt: skip
CHATS = b"".join(
    b'{"messages": [{"role": "user", "content": "message %d"}, {"role": "assistant", "content": "%s"}]}\n'
    % (row, b"yes" if row % 2 else b"no")
    for row in range(40)
)


@dataclass
class Asked:
    """What came of one operation: how often each status was answered, and the failures, each kind once."""

    operation: str
    statuses: Counter[int] = field(default_factory=Counter)
    failures: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0


_HOOK = {"name": "x", "url": "https://93.184.216.34/", "event_types": ["fine_tuning.job.failed"]}
_UPLOAD = {"filename": "x.jsonl", "purpose": "fine-tune", "bytes": 100, "mime_type": "application/jsonl"}
SEEDS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("/v1/webhook_endpoints", {"json": _HOOK}),
    ("/v1/uploads", {"json": _UPLOAD}),
    ("/v1/files", {"data": {"purpose": "fine-tune"}, "files": {"file": ("chats.jsonl", CHATS)}}),
    *(("/v1/fine_tuning/jobs", {"json": {"model": "all-minilm-l6-v2", "training_file": "{file}", "seed": seed}}) for seed in range(4)),
)
"""What is there before the questions begin: invented requests seldom make anything."""


class Ids:
    """The ids that answers named, by the name that addresses have for them (``{job}``)."""

    def __init__(self, paths: list[str], start: int) -> None:
        self._names = {path.partition("/{")[0]: path.partition("/{")[2].partition("}")[0] for path in paths if "/{" in path}
        self._known: dict[str, list[str]] = {}
        self._chance = random.Random(start)

    def learn(self, path: str, answer: Any) -> None:
        """Keeps the ``id`` (or ``name``) of what was made or listed."""
        listed = answer.get("data", []) if isinstance(answer, dict) else []
        for one in [answer, *(listed if isinstance(listed, list) else [])]:
            found = one.get("id") or one.get("name") if isinstance(one, dict) else None
            if isinstance(found, str):
                self._known.setdefault(self._names.get(path.partition("/{")[0], ""), []).append(found)

    def filled(self, value: Any) -> Any:
        """A known id for ``"{file}"``; anything else as it is."""
        return self._known.get(str(value).strip("{}"), [value])[-1]

    def use(self, case: Case) -> None:
        """Puts known ids into the address, two times of three."""
        for name in case.path_parameters or {}:
            known = self._known.get(name, [])
            if known and self._chance.random() < 2 / 3:
                case.path_parameters[name] = self._chance.choice(known[-20:])


def ask_all(app: Any, examples: int, only: str = "", start: int = 0) -> Iterator[Asked]:
    """Asks each operation that has ``only`` in its name ``examples`` times rightly and as often wrongly."""
    load_all_checks()
    defects, log = Defects(), logging.getLogger("luthier.api")
    log.addHandler(defects)
    log.propagate = False
    checks = CHECKS.get_by_names([name for name in CHECKS.get_all_names() if name not in NOT_JUDGED])
    schema = schemathesis.openapi.from_asgi("/openapi.json", app)
    operations = [found.ok() for found in schema.get_all_operations()]
    ids = Ids([one.path for one in operations], start)
    with TestClient(app) as client:
        for path, request in SEEDS:
            if "json" in request:
                request = {"json": {key: ids.filled(value) for key, value in request["json"].items()}}
            ids.learn(path, client.post(path, **request).json())
    # Makers first: then there is something to ask for; removers last.
    order = {"post": 0, "put": 1, "get": 2, "patch": 3, "delete": 4}
    for operation in sorted(operations, key=lambda one: (order.get(one.method, 5), one.path)):
        if only in operation.label:
            yield _ask(operation, checks, ids, defects, examples, start)


class Defects(logging.Handler):
    """Keeps the end of the last defect that the server logged, to stand beside the answer 500."""

    last = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Takes what was logged."""
        self.last = "".join(traceback.format_exception(record.exc_info[1])[-3:]) if record.exc_info else record.getMessage()


def _ask(operation: Any, checks: list[Any], ids: Ids, defects: Defects, examples: int, start: int) -> Asked:
    asked, begun = Asked(operation.label), time.monotonic()

    def one(case: Case) -> None:
        ids.use(case)
        defects.last = ""
        response = case.call()
        asked.statuses[response.status_code] += 1
        if response.status_code < 300 and "json" in str(response.headers.get("content-type", "")):
            ids.learn(operation.path, response.json())
        try:
            case.validate_response(response, checks=checks)
        except FailureGroup as group:
            for failure in group.exceptions:
                curl = case.as_curl_command()
                text = f"{failure}\n{curl[:600]}\n{response.content[:300]!r}\n{defects.last}"
                asked.failures.setdefault(type(failure).__name__, text)

    # What has nothing but names in its address cannot be asked wrongly.
    can_be_wrong = operation.body or operation.query or operation.headers
    for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE) if can_be_wrong else (GenerationMode.POSITIVE,):
        test = given(operation.as_strategy(generation_mode=mode))(one)
        quick = settings(
            max_examples=examples, database=None, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
        )
        try:
            seed(start)(quick(test))()
        except BaseException as error:
            if not _nothing_to_invent(error):
                raise
    asked.seconds = time.monotonic() - begun
    return asked


def _nothing_to_invent(error: BaseException) -> bool:
    """An operation without parameters has no wrong request."""
    return type(error).__name__ in ("Unsatisfiable", "SkipTest", "Skipped")


def main() -> int:
    """Prints a line an operation, then the failures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=20)
    parser.add_argument("--only", default="", help="operations that have this in their name")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    from luthier.api import create_app
    from luthier.app.service import Service

    results = []
    with tempfile.TemporaryDirectory() as home:
        app = create_app(Service(Path(home)), workers=1)
        print(f"{'operation':72} {'calls':>6} {'s':>6}  statuses")
        for asked in ask_all(app, options.examples, options.only, options.seed):
            results.append(asked)
            statuses = " ".join(f"{status}:{count}" for status, count in sorted(asked.statuses.items()))
            mark = "  FAILED: " + ", ".join(asked.failures) if asked.failures else ""
            print(f"{asked.operation:72} {asked.statuses.total():6} {asked.seconds:6.1f}  {statuses}{mark}", flush=True)
    failed = [asked for asked in results if asked.failures]
    for asked in failed:
        for kind, text in asked.failures.items():
            print(f"\n== {asked.operation}: {kind}\n{text}")
    total = sum(asked.statuses.total() for asked in results)
    print(f"\n{len(results)} operations, {total} requests, {len(failed)} operations with an answer that was not as declared")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
