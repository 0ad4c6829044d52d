"""What only reads goes on where nothing can be written any more (``tests/api/test_full_disk.py`` fills a real disk)."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import update

from luthier.app.files import Files
from luthier.app.keys import Keys
from luthier.core.errors import NoSpace, UnknownName
from luthier.store.tables import FILES, KEYS
from luthier.store.workspace import Workspace


@contextmanager
def _full() -> Iterator[None]:
    """No file of this process may grow."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_reads_do_not_need_room(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    keys, files = Keys(workspace.engine()), Files(workspace)
    key, secret = keys.create("default", "a", ["read"])
    _, ending = keys.create("default", "b", ["read"], expires_in_s=60)
    kept, over = (files.create("t.bin", "user_data", [b"x"]) for _ in range(2))
    with workspace.engine().begin() as connection:
        connection.execute(update(FILES).where(FILES.c.id == over.id).values(expires_at=time.time() - 1))
        connection.execute(update(KEYS).where(KEYS.c.expires_at > 0).values(expires_at=time.time() - 1))
    with _full():
        assert keys.look_up(secret).key == key
        keys.used(key)
        assert keys.look_up(ending).reason == "expired"
        assert b"".join(files.content(kept.id)) == b"x"
        with pytest.raises(UnknownName):
            files.get(over.id)
        with pytest.raises(NoSpace):
            files.create("t.bin", "user_data", [b"x"])
        with pytest.raises(NoSpace):
            keys.create("default", "c", ["read"])
    keys.used(key)
    assert keys.get("default", key.id).last_used_at
    with pytest.raises(UnknownName):
        files.get(over.id)
    assert [info.id for info in files.list().files] == [kept.id]
