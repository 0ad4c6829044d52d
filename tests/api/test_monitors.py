"""The monitor of an endpoint over HTTP: the figures of ``luthier watch --json``."""

from __future__ import annotations

import pytest


def test_it_says_what_watch_says(records):
    said = records.get("/api/v1/monitors/support", params={"window_s": 3600}).json()
    ours = records.service.watch("support", 3600).as_json()
    assert set(said) == set(ours)
    assert said["thumbs"] == {"down": 3}
    assert said["live_accuracy"] == 0.0
    assert said["reference_confidence"] is None
    assert said["drift"]["note"]


@pytest.mark.parametrize("window", ["0", "-1", "nan", "inf", "1e300", "x", ""])
def test_a_window_that_is_none_is_400(records, window):
    assert records.get("/api/v1/monitors/support", params={"window_s": window}).status_code == 400


def test_an_unknown_endpoint_is_404_with_the_nearest(records):
    said = records.get("/api/v1/monitors/suport")
    assert said.status_code == 404
    assert said.json()["error"]["hint"] == "did you mean 'support'?"
