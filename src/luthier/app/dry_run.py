"""A plan for somebody far away: their recipe names uploaded files and catalogued models, never paths of this machine. Nothing runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from luthier.app import remote_fields
from luthier.app.shown import Shown
from luthier.catalog import cards
from luthier.core.errors import NotPossible, SpecError, UnknownName
from luthier.core.plan import Plan
from luthier.core.spec import Spec, make_spec

if TYPE_CHECKING:
    from luthier.app.service import Service

ROLES = ("train", "validation", "test")
LONGEST = 600
"""Characters of a message: what was sent is repeated in it."""


def dry_run(service: Service, recipe: dict[str, Any]) -> Plan:
    """What the recipe would do. Raises ``SpecError`` for a field that cannot be so, ``UnknownName`` for a file that is not there."""
    try:
        spec = make_spec(recipe)
        remote_fields.check({"prepare": spec.prepare})
        return _plan(service, spec)
    except NotPossible as error:
        raise SpecError("model", Shown(service.workspace).text(error.message), error.hint) from None
    except SpecError as error:
        if len(error.message) <= LONGEST:
            raise
        raise SpecError("", f"{error.message[:LONGEST]} ...", error.hint) from None


def _plan(service: Service, spec: Spec) -> Plan:
    _catalogued(spec.model)
    named = {role: list(spec.data[role]) for role in ROLES if role in spec.data}
    for role, names in named.items():
        for name in names:
            _uploaded(service, role, name)
        # A plan needs no content: the files stay where they are.
        spec.data[role] = [name for name in names if name.startswith("made:")]
    plan = service.plan(spec, check_memory=False)
    for role, names in named.items():
        setattr(plan.data, role, names)
    return plan


def _uploaded(service: Service, role: str, name: str) -> None:
    if name.startswith("made:"):
        return
    if not name.startswith("file-"):
        raise SpecError(
            f"data.{role}", f"{name[:200]!r} is not a file of the server", "luthier files upload FILE --url ..., then write its id"
        )
    service.files.get(name)


def _catalogued(name: str) -> None:
    known = {alias.lower(): card.id for card in cards.list_cards() for alias in (card.id, card.hub, card.source.name, *card.aliases)}
    if name.lower() not in known or not name:
        error = UnknownName.among("model", name[:200], known.values())
        raise SpecError("model", error.message, error.hint)
