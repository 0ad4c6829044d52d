"""What a server that starts asks of its callers: keys everywhere, except on this very machine and when it was told so."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from urllib.parse import urlsplit

from fastapi import Request
from sqlalchemy import Engine

from luthier.api.access import Access, Caller, Guarded, Needs, Open
from luthier.app.keys import Keys
from luthier.app.limits import Limits
from luthier.core.errors import Forbidden, InputError
from luthier.store.workspace import DEFAULT


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    name = host.strip("[]")
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name.lower() == "localhost"


class OpenHere(Open):
    """Open to this machine. Its browsers are kept from asking for other people's pages: neither by a form nor by a name of their own."""

    async def admit(self, request: Request, needs: Needs) -> Caller:
        """Whoever names this machine by its own name; raises ``Forbidden``."""
        asked, origin = f"//{request.headers.get('host', '')}", request.headers.get("origin", "//localhost")
        for what, host in (("host", _hostname(asked)), ("origin", _hostname(origin))):
            if not is_loopback(host):
                raise Forbidden(f"the {what} {host[:100]!r} is not this machine", "ask http://127.0.0.1; with keys any name is answered")
        return await super().admit(request, needs)


def _hostname(address: str) -> str:
    """The host of an address ("?" for what is none)."""
    try:
        return urlsplit(address).hostname or "?"
    except ValueError:
        return "?"


def access_for(
    engine: Engine, host: str, *, no_keys: bool = False, first_key: Callable[[str], None] | None = None, limits: Limits | None = None
) -> Access:
    """The rules of a server that listens on ``host``. Where nobody has a key yet and only this machine asks, an admin key is made:
    ``first_key`` is called with it (without ``first_key`` none is made). Raises ``InputError`` when nobody could be let in.
    """
    keys, here = Keys(engine), is_loopback(host)
    if no_keys:
        if not here:
            raise InputError(f"--no-keys: {host} is not this machine alone", "leave --no-keys out, or bind to 127.0.0.1")
        return OpenHere()
    if not keys.any():
        if not here:
            hint = "make one first: luthier keys create --name me --scope admin"
            raise InputError(f"{host} can be reached by others, and there is no API key yet", hint)
        if first_key is not None:
            first_key(keys.create(DEFAULT, "made by the first start", ["admin"])[1])
    return Guarded(keys, limits)


def greeting(secret: str, host: str, port: int) -> str:
    """What the first start prints: the key, and the line that lets OpenAI's clients find the server."""
    name = f"[{host}]" if ":" in host and not host.startswith("[") else host
    return (
        f"An admin key was made. It is shown this once:\n\n  {secret}\n\n"
        f"OPENAI_BASE_URL=http://{name}:{port}/v1 OPENAI_API_KEY={secret}\n\n"
        "More keys: luthier keys create. Without keys, for this machine alone: luthier serve --no-keys."
    )
