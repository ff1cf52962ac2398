"""Run the steps of the Dockerfile in a folder, without Docker: python scripts/dockerfile_steps.py FOLDER.

The folder takes the place of the root of the image: COPY fills it with the committed files, and in ENV and RUN the absolute
paths of the image become paths in it. What differs from Docker is the system around it: the base image, the user, and any
package of the system. Needs the package dockerfile-parse.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

from dockerfile_parse import DockerfileParser

ROOT = Path(__file__).resolve().parents[1]
IMAGE_FOLDERS = re.compile(r"(?<![\w./])/(?=(?:src|opt/step-envs|data)\b)")
DECLARED = {"FROM", "USER", "ENTRYPOINT", "CMD"}
"""Instructions that do nothing while an image is built."""


def run_steps(root: Path) -> None:
    """Run every instruction of the Dockerfile, in order.

    Args:
        root: An empty folder, which stands for the root of the image.
    """
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    folder = root
    parser = DockerfileParser(str(ROOT / "Dockerfile"), cache_content=True, env_replace=False)
    for step in parser.structure:
        name, value = step["instruction"], IMAGE_FOLDERS.sub(f"{root}/", step["value"])
        sys.stdout.write(f"{name} {value}\n")
        if name == "WORKDIR":
            folder = Path(value)
            folder.mkdir(parents=True, exist_ok=True)
        elif name == "COPY":
            source, target = value.split()
            if source != ".":
                raise SystemExit(f"Only COPY . is understood here, not {step['value']!r}: teach it to this script.")
            Path(target).mkdir(parents=True)
            archive = subprocess.run(["git", "-C", ROOT, "archive", "HEAD"], capture_output=True, check=True).stdout
            subprocess.run(["tar", "-x", "-C", target], input=archive, check=True)
        elif name == "ENV":
            for pair in re.findall(r'(\w+)=("[^"]*"|\S+)', value):
                environment[pair[0]] = os.path.expandvars(pair[1].strip('"').replace("$PATH", environment["PATH"]))
        elif name == "RUN":
            subprocess.run(["/bin/sh", "-euc", value], cwd=folder, env=environment, check=True)
        elif name not in DECLARED and name != "COMMENT":
            raise SystemExit(f"{name} is not understood here: teach it to this script.")


if __name__ == "__main__":
    run_steps(Path(sys.argv[1]).resolve())
