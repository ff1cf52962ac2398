"""ScienceWorld: elementary-school science in a simulated house, on the original engine."""
