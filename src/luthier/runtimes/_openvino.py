"""What both runtimes of OpenVINO need before they import it."""

from __future__ import annotations

import sys


def no_telemetry() -> None:
    """OpenVINO and NNCF report their use over the network when ``openvino_telemetry`` can be imported; nothing here phones home."""
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
