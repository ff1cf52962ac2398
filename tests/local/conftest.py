"""What the tests of the local agent share: a small checkpoint, made once."""

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
# Some virtual machines announce bf16 instructions that they then refuse, which kills the process.
os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_BF16")


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama in float32 with a tokenizer of bytes and words."""
    pytest.importorskip("transformers", reason="needs the extra train")
    pytest.importorskip("torch", reason="needs the extra train")
    from small_checkpoint import make_checkpoint

    return make_checkpoint(tmp_path_factory.mktemp("checkpoint"))
