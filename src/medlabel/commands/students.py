"""The command for students: one file of a study's, or a graph for other tools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medlabel.errors import MedlabelError


def export_student(
    source: Annotated[
        Path,
        typer.Argument(help="Folder of a study's training (data/trainings/…), or a student."),
    ],
    seed: Annotated[int, typer.Option(min=0, help="Which student of a training.")] = 0,
    target: Annotated[
        Path | None, typer.Option(help="File to write, for `medlabel label --student`.")
    ] = None,
    onnx: Annotated[Path | None, typer.Option(help="Graph to write, as ONNX has it.")] = None,
) -> None:
    """Write a student as one file, or as ONNX."""
    import torch

    from medlabel.annotation import student_export, students

    if target is None and onnx is None:
        raise MedlabelError("--target, --onnx: neither given; at least one file to write expected.")
    device = torch.device("cpu")
    if source.is_dir():
        student = student_export.of_training(source, seed, device)
    else:
        student = students.load(source, device)
    if target is not None:
        student.save(target)
    if onnx is not None:
        student_export.write_onnx(onnx, student)
