"""What the engine works on: the changing state, the wording of its answers, the original engine behind the same methods."""
