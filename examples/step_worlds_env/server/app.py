"""The server: ``uvicorn server.app:app``, or ``python -m server.app --port 8000``.

Environment variables choose what is served, so that one image serves all worlds:

=========================== ===============================================================================
``STEP_ENVS_WORLD``         the world; STeP-ALFWorld-v0 by default
``STEP_ENVS_OPTIONS``       its options, as JSON: ``{"split": "valid_unseen", "admissible_actions": true}``
``STEP_ENVS_EXTENSIONS``    1 lets clients take snapshots and ask the oracle
``STEP_ENVS_SERVE_TOKEN``   what clients must present; without it, everybody may play
``MAX_CONCURRENT_ENVS``     most sessions at once
=========================== ===============================================================================
"""

import argparse
import json
import os

import uvicorn

from step_envs.integrations.openenv import create_app

app = create_app(
    os.environ.get("STEP_ENVS_WORLD", "STeP-ALFWorld-v0"),
    max_sessions=int(os.environ.get("MAX_CONCURRENT_ENVS", "64")),
    extensions=os.environ.get("STEP_ENVS_EXTENSIONS") == "1",
    token=os.environ.get("STEP_ENVS_SERVE_TOKEN") or None,
    **json.loads(os.environ.get("STEP_ENVS_OPTIONS", "{}")),
)


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve a text world to OpenEnv's clients.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    arguments = parser.parse_args()
    # A snapshot has at most a megabyte, everything else far less; uvicorn would take 16.
    uvicorn.run(app, host=arguments.host, port=arguments.port, ws_max_size=2 * 1024 * 1024)


if __name__ == "__main__":
    main()
