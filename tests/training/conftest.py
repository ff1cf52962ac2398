"""What the tests of training share."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
# Some virtual machines announce bf16 instructions that they then refuse, which kills the process.
os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_BF16")
