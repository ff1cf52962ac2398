"""A report on runs, with what a paper's section needs.

``gather`` reads runs, ``measure`` works figures out with their intervals, and ``along_episodes`` those of single steps.
``sections`` puts them into tables and sentences, ``sensitivity`` joins teachers with the models trained on their data, and
``tables`` writes tables as Markdown, LaTeX and JSON. ``outcome_plots`` and ``episode_plots`` draw, ``figures`` says which
pictures there are, and ``write`` makes the files.
"""

from step_envs.report.gathering import Curve, Run, gather, read_curve, read_teacher_eval
from step_envs.report.sensitivity import TaughtModel, sensitivity_table, taught_models
from step_envs.report.write import Report, make_report

__all__ = [
    "Curve",
    "Report",
    "Run",
    "TaughtModel",
    "gather",
    "make_report",
    "read_curve",
    "read_teacher_eval",
    "sensitivity_table",
    "taught_models",
]
