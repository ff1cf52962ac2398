"""Make the pictures of ``step-envs report`` in docs/images: python docs/report_pictures.py.

The script collects two runs of ALFWorld, writes the value of every state into the first, lets a tiny model play and judge a
few episodes, and draws the reports on them. Success by arm is drawn from the experiment in docs/results/cpu. The pictures
are kept small: as wide as a page, with few colours. It needs the extras train and report.
"""

import json
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

from step_envs.collection import CollectConfig, collect
from step_envs.credit import AnnotateConfig, annotate
from step_envs.figure_style import drawing, save_picture
from step_envs.report import gather
from step_envs.report.figures import draw
from step_envs.store import read_trajectories
from step_envs.training.experiments.plots import plot_success
from step_envs.training.experiments.seed_statistics import seed_interval
from step_envs.training.tiny_model import TinyModelSize, learn_tokenizer, make_tiny_model

DOCS = Path(__file__).parent
WORLD = "STeP-ALFWorld-v0"
PAGE = 1280
COLOURS = 64


def play(out: Path, rate: float) -> Path:
    agent = f"novice:error_rate={rate}"
    collect(CollectConfig(env=WORLD, episodes=80, agent=agent, max_errors=3, seed=1), out, concurrency=2, resume=True)
    return out


def play_with_a_model(folder: Path, source: Path) -> Path:
    """Let a tiny model with random weights act and judge: what it says is nothing, and the time that it takes is real."""
    texts = [turn.content for one in read_trajectories(source) for turn in one.turns]
    tokenizer = learn_tokenizer(texts, ["fridge", "cabinet"], 512)
    model = make_tiny_model(
        tokenizer, TinyModelSize(vocabulary=512, width=64, layers=2, heads=2, context=8192), folder / "tiny"
    )
    config = CollectConfig(
        env=WORLD,
        env_options={"max_steps": 8},
        episodes=12,
        agent=f"local:model={model},max_tokens=24",
        teacher=f"local:model={model},max_tokens=48",
        seed=1,
    )
    collect(config, folder / "tiny-model", concurrency=1, resume=True)
    return folder / "tiny-model"


def arms() -> dict[str, Any]:
    """Return the success of every arm and seed of the experiment; the first one's report had another form than today's."""
    found = json.loads((DOCS / "results" / "cpu" / "report.json").read_text())
    if "held_out" in found:
        return found
    arms = {}
    for name, arm in found["arms"].items():
        shares = [seed["success"][0] for seed in arm["seeds"].values()]
        arms[name] = {"title": arm["title"], "success": seed_interval(shares), "seeds": arm["seeds"]}
    base = {"title": "base agent", "success": (found["base"]["success"][0], None, None), "seeds": {"0": found["base"]}}
    return {"base": base, "arms": arms, "held_out": found["base"]["episodes"]}


def keep(file: Path, name: str) -> None:
    """Keep a picture for the documentation."""
    with Image.open(file) as picture:
        size = PAGE, round(picture.height * PAGE / picture.width)
        small = picture.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    small.quantize(COLOURS, dither=Image.Dither.NONE).save(DOCS / "images" / f"{name}.png", optimize=True)


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        often, seldom = play(folder / "novice-0.35", 0.35), play(folder / "novice-0.12", 0.12)
        annotate(AnnotateConfig(runs=(often,)), folder / "valued" / "novice-0.35")
        made = {
            "success": [often, seldom],
            "replies-by-step": [often, seldom],
            "values": [folder / "valued" / "novice-0.35"],
            "time": [play_with_a_model(folder, often)],
        }
        for picture, runs in made.items():
            draw(gather(runs), [], folder / "figures")
            keep(folder / "figures" / f"{picture}.png", f"report-{picture}")
        with drawing("A picture", "train"):
            save_picture(plot_success(arms()), folder, "arms")
        keep(folder / "arms.png", "report-arms")


if __name__ == "__main__":
    main()
