"""Writes a report as files: ``report.md``, ``report.tex``, ``report.json`` and the figures."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from step_envs import __version__
from step_envs.errors import StoreError
from step_envs.figure_style import Background
from step_envs.report.figures import Picture, draw, not_drawn
from step_envs.report.gathering import Curve, Run
from step_envs.report.sections import all_tables, findings
from step_envs.report.sensitivity import TaughtModel, sensitivity_table
from step_envs.report.tables import Table, latex, markdown
from step_envs.text import visible

SCHEMA = "step-report/1"


@dataclass(frozen=True)
class Report:
    """All tables, figures and findings of a report.

    Attributes:
        title: Its title.
        findings: The main results in sentences.
        tables: Its tables.
        pictures: Its figures, files in ``figures/``.
        runs: The runs it is about.
        curves: How trainings went.
        command: The command that made it.
        not_drawn: Which pictures are missing, why, and what to do for them.
    """

    title: str
    findings: Sequence[str]
    tables: Sequence[Table]
    pictures: Sequence[Picture]
    runs: Sequence[Run]
    curves: Sequence[Curve]
    command: str
    not_drawn: Sequence[str] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON values, with every figure unrounded."""
        return {
            "schema": SCHEMA,
            "step_envs": __version__,
            "command": self.command,
            "findings": list(self.findings),
            "tables": {table.name: table.to_json() for table in self.tables},
            "figures": {picture.name: picture.title for picture in self.pictures},
            "figures_in_words": {picture.name: picture.alt for picture in self.pictures},
            "not_drawn": list(self.not_drawn),
            "runs": [{"name": run.name, "sha256": run.digest, "episodes": len(run.episodes)} for run in self.runs],
            "curves": {curve.name: curve.points for curve in self.curves},
        }

    def to_markdown(self) -> str:
        """Write the report in Markdown, with links to its figures."""
        parts = [f"# {markdown(self.title)}\n", *(f"- {markdown(finding)}" for finding in self.findings), ""]
        parts += [table.to_markdown() for table in self.tables]
        for picture in self.pictures:
            files = f"figures/{picture.name}"
            parts.append(f"### {markdown(picture.title)}\n\n![{_alt(picture)}]({files}.svg)\n")
            parts.append(
                " ".join([*([markdown(picture.note)] if picture.note else []), f"[For a slide]({files}.png)"]) + "\n"
            )
        parts += [f"{markdown(sentence)}\n" for sentence in self.not_drawn]
        parts.append(f"---\n\nMade with step-envs {__version__} by:\n\n{_fenced(visible(self.command))}\n")
        return "\n".join(parts)

    def to_latex(self) -> str:
        """Write the tables and figures in LaTeX, as a part of a document that uses booktabs, graphicx and longtable."""
        parts = [
            f"% Made with step-envs {__version__} by: {visible(self.command).replace(chr(10), ' ')}",
            "% Needs \\usepackage{booktabs,graphicx,longtable}; LuaLaTeX or XeLaTeX for names beyond Latin letters.",
            *(table.to_latex() for table in self.tables),
        ]
        for picture in self.pictures:
            caption = latex(f"{picture.title}. {picture.note}".strip())
            parts.append(
                "\\begin{figure}\n  \\centering\n"
                f"  \\includegraphics[width=\\linewidth]{{figures/{picture.name}.png}}\n"
                f"  \\caption{{{caption}}}\n  \\label{{fig:{picture.name}}}\n\\end{{figure}}\n"
            )
        return "\n".join(parts)


def make_report(
    runs: Sequence[Run],
    out: Path,
    *,
    curves: Sequence[Curve] = (),
    teacher_reports: Sequence[dict[str, Any]] = (),
    taught: Sequence[TaughtModel] = (),
    command: str,
    background: Background = "light",
) -> Report:
    """Compute a report and write it into a folder.

    Args:
        runs: What to report on.
        out: The folder; files of the same names in it are replaced.
        curves: How trainings went.
        teacher_reports: What ``step-envs teacher-eval --json`` measured.
        taught: Which of the runs is of a model that was trained on which teacher's data.
        command: The command that makes it, for its foot.
        background: Colour of the figures' paper, for light or dark slides.

    Raises:
        ValueError: There is no such background.
        StoreError: The folder cannot be written to.
        gymnasium.error.DependencyNotInstalled: ``matplotlib`` is missing.
    """
    try:
        pictures = draw(runs, curves, out / "figures", background)
        report = Report(
            title=f"Report on {' and '.join(run.name for run in runs)}",
            findings=findings(runs),
            tables=[*all_tables(runs, teacher_reports), *([sensitivity_table(taught)] if taught else [])],
            pictures=pictures,
            runs=runs,
            curves=curves,
            command=command,
            not_drawn=not_drawn(runs),
        )
        (out / "report.md").write_text(report.to_markdown(), encoding="utf-8")
        (out / "report.tex").write_text(report.to_latex(), encoding="utf-8")
        (out / "report.json").write_text(json.dumps(report.to_json(), indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise StoreError(f"Cannot write to {out}: {error.strerror}.") from error
    return report


def _alt(picture: Picture) -> str:
    """Return the text for who cannot see a picture; brackets in it would end the link."""
    return re.sub(r"\\?([\[\]])", r"\\\1", markdown(f"{picture.title}. {picture.alt}".strip()))


def _fenced(command: str) -> str:
    fence = "```"
    while fence in command:
        fence += "`"
    return f"{fence}sh\n{command}\n{fence}"
