"""What docs/serving.md shows works, against a server that runs."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from step_envs.serve import EnvServer

pytest.importorskip("uvicorn", reason="the server needs the extra serve")

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "serving.md").read_text()
BLOCKS = [
    (language, block)
    for language, block in re.findall(r"```(bash|python)\n(.*?)```", PAGE, re.DOTALL)
    if "step-envs serve" not in block
]


@pytest.fixture(scope="module")
def server() -> Iterator[EnvServer]:
    with EnvServer() as server:
        yield server


@pytest.mark.parametrize(("language", "block"), BLOCKS)
def test_a_block_runs(language: str, block: str, server: EnvServer, tmp_path: Path) -> None:
    if "curl" in block and shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    python, block = shlex.quote(sys.executable), block.replace("http://127.0.0.1:8765", server.url)
    shell = f'set -euo pipefail\nstep-envs() {{ {python} -m step_envs.cli "$@"; }}\n{block}'
    command = [sys.executable, "-c", block] if language == "python" else ["bash", "-c", shell]
    environment = os.environ | {"STEP_ENVS_SERVE_TOKEN": server.token, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"error"' not in done.stdout
    assert ("curl" not in block) or '"call":2' in done.stdout


def test_there_is_a_block_for_each_way_in() -> None:
    assert [language for language, _ in BLOCKS] == ["python", "bash", "bash"]
