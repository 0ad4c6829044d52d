"""The door over HTTP: resources under ``/api/v1``, health, readiness and metrics; ``create_app`` makes the server."""

from luthier.api.server import create_app, serve

__all__ = ["create_app", "serve"]
