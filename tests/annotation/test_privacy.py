"""Nothing that a file says of a person enters any output, nor the cache."""

from __future__ import annotations

import io
import logging
import zipfile
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from medlabel.annotation import embedding
from medlabel.annotation.label import label
from medlabel.annotation.request import Request
from medlabel.randomness import stream
from tests.annotation.test_dicom import write

SECRET = "Zyxwvut"  # stands in every planted value
CLASSES = {"chest": ["the chest"], "retina": ["the retina"]}


def picture(number: int) -> Image.Image:
    rng = stream(0, "private", number)
    return Image.fromarray(rng.integers(0, 256, (20, 20, 3), dtype=np.uint8))


def plant(folder: Path) -> None:
    """Write files of all kinds whose headers name a person."""
    folder.mkdir()
    exif = Image.Exif()
    exif[0x010E] = exif[0x013B] = f"{SECRET} exif"
    picture(1).save(folder / "a.jpg", exif=exif, comment=f"{SECRET} comment".encode())
    picture(2).save(folder / "b.webp", exif=exif)
    picture(3).save(folder / "c.tif", description=f"{SECRET} tiff")
    text = PngImagePlugin.PngInfo()
    text.add_text("Patient", f"{SECRET} png")
    picture(4).save(folder / "d.png", pnginfo=text)
    picture(5).save(folder / "e.gif", comment=f"{SECRET} gif".encode())
    values = stream(0, "private").integers(0, 4096, (2, 20, 20), dtype=np.uint16)
    planted = {
        "PatientName": f"{SECRET}^Name",
        "PatientID": f"{SECRET}-1",
        "PatientBirthDate": "19010203",
        "InstitutionName": f"{SECRET} hospital",
        "StudyDescription": f"{SECRET} study",
        "AccessionNumber": SECRET,
        "WindowCenterWidthExplanation": f"{SECRET} window",
    }
    write(folder / "f.dcm", values[0], **planted, WindowCenter=2000, WindowWidth=3000)
    write(folder / "g.dcm", values[1], **planted)
    broken = write(folder / "h.dcm", values[1], **planted).read_bytes()
    (folder / "h.dcm").write_bytes(broken[:-300])
    (folder / "i.dcm").write_bytes(broken.replace(b"MONOCHROME2", f"{SECRET}    ".encode()))
    (folder / "report.dcm").write_bytes(broken[: broken.index(b"\xe0\x7f\x10\x00")])
    image = nibabel.Nifti1Image(values[0].astype(np.int16)[..., None], np.eye(4))
    image.header["descrip"] = f"{SECRET} nifti".encode()
    nibabel.save(image, folder / "j.nii.gz")
    inner = io.BytesIO()
    picture(6).save(inner, "PNG", pnginfo=text)
    with zipfile.ZipFile(folder / "k.zip", "w") as archive:
        archive.comment = f"{SECRET} archive".encode()
        archive.writestr("l.png", inner.getvalue())


def hiding(folder: Path) -> list[str]:
    """Name the files below a folder that hold the secret, in any of the usual codings."""
    needles = [SECRET.encode(coding) for coding in ("utf-8", "utf-16-le", "utf-16-be")]
    needles += [b"19010203", SECRET.lower().encode(), SECRET.upper().encode()]
    return [
        path.name
        for path in folder.rglob("*")
        if path.is_file() and any(needle in path.read_bytes() for needle in needles)
    ]


@pytest.mark.parametrize("workers", [0, 1])
def test_no_planted_value_is_in_any_output(
    tiny_encoder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    workers: int,
) -> None:
    monkeypatch.setattr(embedding, "ENGINES", {})
    plant(tmp_path / "images")
    caplog.set_level(logging.INFO)
    assert len(hiding(tmp_path / "images")) > 8  # the search finds what there is to find
    done = label(
        Request(
            images=tmp_path / "images",
            out=tmp_path / "out",
            sentences=CLASSES,
            encoder=str(tiny_encoder),
            batch_size=4,
            cache=tmp_path / "cache",
            workers=workers,
            audit=3,
            anyway=True,
        )
    )
    table = done.table
    assert table["status"].isin(["labelled", "fits no class"]).sum() == 9
    assert len(table) == 12
    assert len(list((tmp_path / "out").iterdir())) > 5
    assert hiding(tmp_path / "out") == []
    assert hiding(tmp_path / "cache") == []
    told = capfd.readouterr()
    assert SECRET not in told.out + told.err + caplog.text
