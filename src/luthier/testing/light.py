"""Whether a plugin's file can be imported without a heavy library: listing plugins and starting up must cost nothing."""

from __future__ import annotations

import os
import subprocess
import sys

from luthier.testing.claim import ensure

HEAVY = (
    "torch", "transformers", "peft", "onnxruntime", "onnx", "openvino", "ray", "mlflow", "sklearn", "scipy", "pandas", "pyarrow",
    "datasets", "spacy", "presidio_analyzer", "matplotlib", "huggingface_hub",
)  # fmt: skip
_SCRIPT = """
import sys
from luthier.core import registry
registry.get(sys.argv[1], sys.argv[2])
print(*[name for name in sys.argv[3:] if name in sys.modules])
"""


def check_light(room: str, name: str) -> None:
    """Imports the plugin in a fresh interpreter; raises ``AssertionError`` when that imports one of ``HEAVY``."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, room, name, *HEAVY], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    ensure(done.returncode == 0, f"{room}/{name}: cannot be imported: {done.stderr.strip().splitlines()[-1:]}")
    found = done.stdout.split()
    ensure(not found, f"{room}/{name}: importing it imports {', '.join(found)}: import that inside the function that needs it")
