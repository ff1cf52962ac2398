"""A report on runs, with what a paper's section needs.

``gather`` reads runs, ``measure`` works figures out with their intervals, ``sections`` puts them into tables and sentences,
``tables`` writes tables as Markdown, LaTeX and JSON, ``figures`` draws, ``write`` makes the files.
"""

from step_envs.report.gathering import Curve, Run, gather, read_curve, read_teacher_eval
from step_envs.report.write import Report, make_report

__all__ = ["Curve", "Report", "Run", "gather", "make_report", "read_curve", "read_teacher_eval"]
