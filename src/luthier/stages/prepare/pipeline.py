"""The steps of the prepare stage, in order: read, gate, find duplicates, gate, split, write, report."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import numpy as np

from luthier.core import personal_data, registry
from luthier.core.errors import GateRefused, InputError
from luthier.core.events import GateDecided, NoteSaid, StageProgressed
from luthier.core.job import Job
from luthier.core.ports import Emit
from luthier.core.types import SPLITS, Finding, Refusal, canonical_json
from luthier.stages.prepare import duplicates as duplicates_of
from luthier.stages.prepare import inspection, leakage, splits, writing
from luthier.stages.prepare.masking import Masker
from luthier.stages.prepare.measuring import measure, profile, summary
from luthier.stages.prepare.reading import Reader
from luthier.stages.prepare.report import as_html
from luthier.stages.prepare.sources import find_sources
from luthier.stages.prepare.spool import ROLE, Spool
from luthier.store import files
from luthier.store.attachments import Collector

_TEXTS_A_SIGNATURE = 2_000_000
"""Characters of text whose signatures are computed together."""


class Preparation:
    """One run of the stage, in the order of its methods."""

    def __init__(self, job: Job, emit: Emit, out: Path, scratch: Path) -> None:
        self.job, self.emit, self.out, self.scratch = job, emit, out, scratch
        self.plan = job.plan
        self.task = registry.get("tasks", job.plan.task)
        self.masker = Masker(job.plan.prepare, job.inputs.get("finder", ""))
        self.sources = find_sources(job.plan.data, [one.name for one in self.task.columns])
        self.titles = [source.title for source in self.sources]
        self.findings: list[Finding] = []

    def run(self) -> dict[str, Any]:
        """All steps."""
        self._read()
        self._check_labels()
        self._progress("finding duplicates", 0)
        self.duplicates = duplicates_of.find_duplicates(self.spool.ids, self.spool.roles, self.signatures)
        self._gate_leakage()
        self._progress("splitting", 0.5)
        self.decided = splits.decide(self.spool, self.duplicates, self.signatures, self.plan.prepare)
        self._split_findings()
        self._write_splits()
        return self._report()

    def _progress(self, phase: str, done: float) -> None:
        self.emit(StageProgressed(stage="prepare", phase=phase, done=done, total=1, unit="part"))

    def _read(self) -> None:
        with contextlib.ExitStack() as stack:
            # The refused rows are written first, so that they are there to be mended when the gate stops the stage.
            aside = stack.enter_context(files.written_aside(self.out / "refused.jsonl"))
            refused = stack.enter_context(aside.open("w", encoding="utf-8"))
            self.spool = Spool(self.scratch)
            self.signatures = duplicates_of.Signatures(self.scratch, self.plan.prepare.near_duplicates)
            self.reader = Reader(self.plan, self.task, self.masker, _to_file(refused), self.emit)
            attachments = stack.enter_context(Collector(self.out))
            waiting: list[str] = []
            chars = 0
            for number, source in enumerate(self.sources):
                for read in self.reader.read(source):
                    text = self.task.text(read.example)
                    attachments.take(read.example.inputs)
                    self.spool.add(
                        read.example, self.task.stratum(read.example), text,
                        role=ROLE[source.role], file=number, line=read.line, key=read.key, flags=inspection.suspicion(text),
                    )  # fmt: skip
                    waiting.append(text)
                    chars += len(text)
                    if chars > _TEXTS_A_SIGNATURE or len(waiting) >= 4096:
                        self.signatures.add(waiting)
                        waiting, chars = [], 0
            self.signatures.add(waiting)
            self.signatures.close()
            self.spool.close()
        self._gate_refused()
        for fact in self.reader.facts:
            if fact.cut:
                text = f"{fact.title}: only the first {fact.rows:,} rows are used (data.rows)"
                self._find(Finding("warning", "rows_cut", text, "set data.rows=0 to use all"))

    def _gate_refused(self) -> None:
        rows, refused = sum(fact.rows for fact in self.reader.facts), sum(fact.refused for fact in self.reader.facts)
        most = self.plan.prepare.max_refused
        if refused > most * rows:
            with (self.out / "refused.jsonl").open(encoding="utf-8") as lines:
                first = json.loads(next(lines))
            where = f"{first['file']}:{first['line']}: " + (f"{first['field']}: " if first["field"] else "") + first["reason"]
            raise GateRefused(
                f"{refused:,} of {rows:,} rows are refused ({refused / rows:.1%}, the most is {most:.0%}); first: {where}",
                f"{first['remedy']}; all of them: {self.out / 'refused.jsonl'}; or raise prepare.max_refused",
            )
        if not self.spool.rows:
            raise InputError("no row can be used", f"see {self.out / 'refused.jsonl'}")

    def _check_labels(self) -> None:
        """What the task says about the targets; labels that differ by case only are merged if the plan says so."""
        every = self.spool.roles < 9
        self.merged: dict[str, str] = {}
        for finding in self._task_findings(every):
            if finding.code == "labels_alike" and self.plan.prepare.merge_labels:
                counts = self.spool.label_counts(every)
                same = finding.data["labels"]
                best = max(same, key=lambda label: (counts.get(label, 0), label))
                self.merged |= {label: best for label in same if label != best}
        if self.merged:
            self.spool.merge_strata(self.merged)
            renamed = ", ".join(f"{old!r} -> {new!r}" for old, new in sorted(self.merged.items())[:10])
            self._find(Finding("info", "labels_merged", f"{len(self.merged)} labels were merged: {renamed}"))
        for finding in self._task_findings(every):
            if finding.level == "error":
                raise InputError(finding.message, finding.remedy)
            self._find(finding)
        if self.masker.on:
            self._personal_labels(self.spool.label_counts(every))

    def _personal_labels(self, labels: Iterable[str]) -> None:
        kinds, patterns = self.plan.prepare.mask_kinds, self.masker.patterns
        found = {label: spans for label in labels if (spans := personal_data.find(label, kinds, patterns))}
        if found:
            first = ", ".join(repr(personal_data.replace(label, spans, {})) for label, spans in list(found.items())[:3])
            text = f"{len(found)} labels look like personal data, and labels are not masked; first: {first}"
            self._find(Finding("warning", "labels_personal", text, "map another column as the label, or rename these"))

    def _task_findings(self, every: Any) -> list[Finding]:
        """Of all rows: a label of the test set may differ from one of training by case only. Raises if training alone teaches nothing."""
        self.task.schema(self._targets(self.spool.roles == ROLE["train"]))
        found: list[Finding] = self.task.findings(self.task.schema(self._targets(every)), self.spool.label_counts(every))
        return found

    def _targets(self, chosen: Any) -> list[Any]:
        codes = np.unique(self.spool.strata_of[chosen]).tolist()
        return [list(self.spool.labels[code]) if len(self.spool.labels[code]) != 1 else self.spool.labels[code][0] for code in codes]

    def _find(self, finding: Finding) -> None:
        self.findings.append(finding)
        level = "info" if finding.level == "info" else "warning"
        self.emit(NoteSaid(level=level, text=finding.message + (f" ({finding.remedy})" if finding.remedy else "")))  # type: ignore[arg-type]

    def _gate_leakage(self) -> None:
        self.overlap, found = leakage.judge(self.spool, self.duplicates, self.titles)
        for finding in found:
            self._find(finding)
        if not self.plan.data.test:
            return
        reasons = leakage.reasons(self.overlap)
        self.emit(GateDecided(gate="leakage", passed=not reasons, reasons=reasons))
        if not reasons:
            return
        if not self.plan.prepare.allow_leakage:
            listed = self.out / "leakage.json"
            files.write_json(listed, self.overlap.pairs)
            raise leakage.refuse(self.overlap, str(listed))
        self._find(
            Finding(
                "warning", "leakage_allowed", f"{reasons[0]}; prepare.allow_leakage lets it pass", "", {"pairs": self.overlap.pairs[:20]}
            )
        )

    def _split_findings(self) -> None:
        split, spool, conflicts = self.decided.split, self.spool, self.decided.conflicts
        if self.decided.unseen:
            self._unseen_in_validation(self.decided.unseen)
        for name, rows in splits.counts(split).items():
            wanted = {"train": 1.0, "validation": self.plan.prepare.validation_share, "test": self.plan.prepare.test_share}[name]
            if not rows and wanted:
                self._find(Finding("warning", "split_empty", f"the {name} split is empty", "give more rows, or a file of your own"))
        if conflicts:
            pairs = [
                {
                    "rows": [leakage.place(spool, self.titles, a), leakage.place(spool, self.titles, b)],
                    "labels": [spool.strata[int(spool.strata_of[r])] for r in (a, b)],
                }
                for a, b in conflicts[:50]
            ]
            first = pairs[0]
            shown = f"{' and '.join(first['rows'])} ({' / '.join(first['labels'])})"
            text = f"{len(conflicts)} rows have the text of another row and another label; first: {shown}"
            kept = "the more frequent one was kept" if self.plan.prepare.drop_duplicates else "all of them were kept"
            self._find(Finding("warning", "labels_conflict", text, f"decide which label is right; {kept}", {"pairs": pairs}))
        if self.decided.units_broken:
            cut, left_out = self.decided.units_broken, self.decided.straddling_dropped
            text = (
                f"{cut} sets of near-duplicates are too large for one split and were cut; {left_out} rows that then straddled were left out"
            )
            if self.decided.units_sampled:
                text += f"; in {self.decided.units_sampled} of them a sample of the pairs was compared, so a few may straddle still"
            self._find(Finding("warning", "units_cut", text, "the texts are made from few templates, or say the same in many groups"))
        in_train, in_test = (set(spool.label_counts(split == number)) for number in (splits.TRAIN, splits.TEST))
        unseen = sorted(in_test - in_train)
        if unseen:
            text = f"labels in the test set that training lacks: {', '.join(map(repr, unseen[:10]))}"
            self._find(Finding("warning", "labels_unseen", text, "these rows can only be answered wrongly", {"labels": unseen}))
        self._repeated_ids()

    def _unseen_in_validation(self, rows: list[int]) -> None:
        """Rows that training could not have learned to answer would end it: they are not in the validation set, and that is said."""
        spool = self.spool
        seen = set(spool.label_counts(self.decided.split == splits.TRAIN))
        unseen = sorted({label for row in rows for label in spool.labels[int(spool.strata_of[row])]} - seen)
        places = ", ".join(leakage.place(spool, self.titles, row) for row in rows[:3])
        named = ", ".join(map(repr, unseen[:10]))
        text = f"{len(rows)} validation rows were left out: training lacks their labels {named}; first: {places}"
        remedy = "add training rows with these labels, or mend the labels"
        self._find(Finding("warning", "validation_labels_unseen", text, remedy, {"labels": unseen, "rows": len(rows)}))

    def _repeated_ids(self) -> None:
        spool = self.spool
        rows = spool.keys.nonzero()[0]
        first = rows[duplicates_of.same_as_first(spool.keys[rows])] if len(rows) else rows
        again = rows[first != rows]
        if len(again):
            pair = (
                f"{leakage.place(spool, self.titles, int(first[first != rows][0]))} and {leakage.place(spool, self.titles, int(again[0]))}"
            )
            text = f"column 'id': {len(again)} rows have the id of an earlier row; first: {pair}"
            self._find(
                Finding(
                    "warning",
                    "ids_repeated",
                    text,
                    "rows are told apart by their content, so nothing is lost; mend the ids if they matter to you",
                )
            )

    def _write_splits(self) -> None:
        self.written: dict[str, int] = {}
        for number, name in enumerate(SPLITS):
            self._progress(f"writing {name}", number / 3)
            self.written[name] = writing.write_split(self.out, name, self.spool, self.decided.split == number, self.merged)
        self.schema = self.task.schema(writing.targets(self.out, "train"))
        files.write_json(self.out / "schema.json", self.schema)

    def _report(self) -> dict[str, Any]:
        self._progress("measuring", 0.9)
        facts = measure(self)
        files.write_json(self.out / "profile.json", profile(facts))
        files.write_json(self.out / "report.json", facts)
        files.write_text(self.out / "report.html", as_html(facts))
        return summary(facts)


def _to_file(handle: IO[str]) -> Any:
    def refuse(refusal: Refusal) -> None:
        handle.write(canonical_json(asdict(refusal)) + "\n")

    return refuse
