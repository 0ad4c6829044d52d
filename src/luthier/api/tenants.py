"""The workspaces that one server serves: for each its use cases and its open endpoints, made when first asked for."""

from __future__ import annotations

import threading
from typing import Any, Protocol

from luthier.stages.serve.host import Deployments, Host
from luthier.stages.serve.recorder import Appends
from luthier.store.workspace import DEFAULT


class Served(Protocol):
    """What a server needs: ``app.service.Service`` has it, and so has anything with these two."""

    @property
    def endpoints(self) -> Deployments:
        """What is deployed."""

    @property
    def journal(self) -> Appends:
        """Where answers are kept."""


class Tenants:
    """``first`` serves the workspace ``default``; the others lie below the same home and in the same database."""

    def __init__(self, first: Served, **options: Any) -> None:
        self._options = options
        self._services: dict[str, Any] = {DEFAULT: first}
        self._hosts: dict[str, Host] = {}
        self._lock = threading.RLock()
        self.new_host: list[Any] = []
        """Called with (workspace, host) when a host was opened."""

    def service(self, workspace: str = DEFAULT) -> Any:
        """The use cases of a workspace."""
        if workspace in self._services:  # not behind the lock: another workspace's endpoints may be being opened
            return self._services[workspace]
        with self._lock:
            if workspace not in self._services:
                from luthier.app.service import Service

                self._services[workspace] = Service(self._services[DEFAULT].workspace.root, workspace=workspace)
            return self._services[workspace]

    def host(self, workspace: str = DEFAULT) -> Host:
        """The open endpoints of a workspace."""
        if workspace in self._hosts:
            return self._hosts[workspace]
        with self._lock:
            if workspace not in self._hosts:
                service = self.service(workspace)
                options = dict(self._options)
                if workspace != DEFAULT and options.get("samples"):
                    options["samples"] = service.workspace.samples
                self._hosts[workspace] = Host(service.endpoints, service.journal, **options)
                for listener in self.new_host:
                    listener(workspace, self._hosts[workspace])
            return self._hosts[workspace]

    def hosts(self) -> list[Host]:
        """Every host that is open."""
        with self._lock:
            return list(self._hosts.values())

    def close(self) -> None:
        """Answers what is queued and ends."""
        for host in self.hosts():
            host.close()
