"""What serving alone needs: a fresh environment with the extra ``serve``, its size, and the time from process start to the first answer.

python bench/serving_only.py
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from serving import free_port, make_export

ROOT = Path(__file__).resolve().parent.parent
FORBIDDEN = ("torch", "transformers", "pyarrow", "sklearn", "scipy", "spacy", "datasets")

ONCE = """
import sys, time, json
from pathlib import Path
from luthier.stages.serve.engine import Endpoint
from luthier.core.types import Example
endpoint = Endpoint.open(Path(sys.argv[1]))
answer = endpoint.predict_now([Example("1", {"text": "where is my order"})])[0]
print(json.dumps({"label": answer.prediction.output, "at": time.time()}))
"""


def make_environment(folder: Path) -> Path:
    """A virtual environment with ``luthier[serve]`` and nothing else; returns its python."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    constraints = ROOT / "constraints.txt"
    pins = ["-c", str(constraints)] if constraints.exists() else []
    python = folder / "bin" / "python"
    subprocess.run([str(python), "-m", "pip", "install", "-q", *pins, f"{ROOT}[serve]"], check=True)
    return python


def size_mb(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink()) / 1e6


def first_answer_s(python: Path, export: Path) -> float:
    start = time.time()
    done = subprocess.run([str(python), "-c", ONCE, str(export)], check=True, stdout=subprocess.PIPE, text=True, timeout=120)
    return float(json.loads(done.stdout.splitlines()[-1])["at"]) - start


def first_http_answer_s(python: Path, export: Path) -> float:
    """From process start to the first answer over HTTP."""
    import urllib.request

    port, start = free_port(), time.time()
    bench = str(Path(__file__).parent / "serving.py")
    server = subprocess.Popen([str(python), bench, "ours", "--folder", str(export), "--port", str(port)])
    body = json.dumps({"text": "where is my order"}).encode()
    call = urllib.request.Request(f"http://127.0.0.1:{port}/api/v1/endpoints/support/predict", body, {"content-type": "application/json"})
    try:
        while time.time() - start < 120:
            try:
                with urllib.request.urlopen(call, timeout=5) as answer:
                    json.load(answer)
                    return time.time() - start
            except OSError:
                time.sleep(0.02)
        raise SystemExit("the server did not answer within 120 s")
    finally:
        server.terminate()
        server.wait(20)


def main() -> int:
    with tempfile.TemporaryDirectory() as root:
        export = make_export(Path(root))
        python = make_environment(Path(root) / "environment")
        check = f"import importlib.util as u; print([n for n in {FORBIDDEN!r} if u.find_spec(n)])"
        there = subprocess.run([str(python), "-c", check], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
        print(f"environment with luthier[serve] only: {size_mb(Path(root) / 'environment'):.0f} MB")
        print(f"exported folder: {size_mb(export):.0f} MB")
        print(f"training libraries found in it: {there}")
        times = [first_answer_s(python, export) for _ in range(3)]
        print(f"process start to first answer: {min(times):.2f} s (best of {len(times)}; the first, with cold files: {times[0]:.2f} s)")
        print(f"process start to first answer over HTTP: {first_http_answer_s(python, export):.2f} s")
    return 0 if there == "[]" else 1


if __name__ == "__main__":
    sys.exit(main())
