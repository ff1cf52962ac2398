"""The runs of the viewer's tests serve those of the report too."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "viewer"))
