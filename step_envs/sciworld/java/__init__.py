"""The original engine's Java process: finding it, starting it, talking to it, one isolated engine a simulator."""
