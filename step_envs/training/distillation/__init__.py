"""Distillation: training a student towards a teacher's probabilities, and rows with privileged context."""
