"""Draw the tokens of a trajectory in a terminal, with colours for those that a model is trained on."""

from rich.text import Text

from step_envs.cli.render import visible
from step_envs.training.tokens import IGNORED, TrajectoryEncoder
from step_envs.trajectory import Trajectory

_EVEN, _ODD = "green", "bright_green"


def mask_text(trajectory: Trajectory, encoder: TrajectoryEncoder) -> Text:
    """Draw the samples of a trajectory: trained tokens in two alternating greens, all others dim.

    The brackets ⟦ and ⟧ enclose trained tokens, so that they can be told apart without colour; a weight other than 1 is
    written after the first bracket.

    Args:
        trajectory: The episode.
        encoder: Encoder of the tokenizer.
    """
    text = Text()
    samples = encoder.encode(trajectory.messages())
    text.append(encoder.report.reason + "\n", style="dim")
    if not samples:
        text.append("No turn of it is trained on.\n", style="yellow")
    for number, sample in enumerate(samples, 1):
        trained = sum(label != IGNORED for label in sample["labels"])
        if number > 1:
            text.append("\n")
        text.append(
            f"Sample {number} of {len(samples)}: {len(sample['input_ids'])} tokens, {trained} trained\n", style="bold"
        )
        _draw(text, encoder.pieces(sample["input_ids"]), sample["labels"], sample["weights"])
        text.append("\n")
    return text


def _draw(text: Text, pieces: list[str], labels: list[int], weights: list[float]) -> None:
    inside = False
    for place, (piece, label, weight) in enumerate(zip(pieces, labels, weights, strict=True)):
        if (label != IGNORED) != inside:
            inside = not inside
            text.append("⟦" if inside else "⟧", style="bold green")
            if inside and weight != 1:
                text.append(f"{weight:g}×", style="bold yellow")
        text.append(visible(piece), style=(_EVEN if place % 2 else _ODD) if inside else "dim")
    if inside:
        text.append("⟧", style="bold green")
