"""The same bytes in every process, under every hash seed."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

PLAY = """
import hashlib, json, random, sys
from alfworld_original import commands
from step_envs.alfworld.engine import Engine
from step_envs.alfworld.expert import explore, next_step
from step_envs.alfworld.planning.errands import shortest_plan
from step_envs.alfworld.tasks import GeneratedTasks
from step_envs.alfworld.thoughts import write_thought
tasks, digest = GeneratedTasks(), hashlib.sha256()
for name in tasks.ids("train")[:12] + tasks.ids("valid_unseen")[:6]:
    digest.update(tasks.game_file(name))
    game = Engine(tasks.game(name))
    said = [game.reset()]
    for command in commands(game, random.Random(name), 40):
        step = next_step(game)
        said += [command, game.step(command), game.admissible(), game.won, game.save(), shortest_plan(game), explore(game)]
        said.append(write_thought(step.reason, command) if step else None)
    digest.update(json.dumps(said).encode())
print(digest.hexdigest())
"""


@pytest.mark.slow
def test_every_process_says_the_same():
    digests = set()
    for seed in ("0", "1", "777", "random"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parent)}
        done = subprocess.run(
            [sys.executable, "-c", PLAY], env=environment, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stderr
        digests.add(done.stdout.strip())
    assert len(digests) == 1 and len(digests.pop()) == len(hashlib.sha256().hexdigest())
