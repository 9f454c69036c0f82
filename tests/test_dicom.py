"""DICOM: what is found and in which order, what is passed over, what odd and damaged files come to."""

import gzip
import random
import re
import shutil
from importlib import resources
from pathlib import Path

import h5py
import numpy as np
import pydicom
import pydicom.data
import pytest
import trees
from pydicom.dataset import Dataset
from test_sources import found

from data_prep.dicom import Dicom
from data_prep.options import Options
from data_prep.pipeline import prepare
from data_prep.source import Scan
from data_prep.sunnybrook import Sunnybrook
from kdrecon import data
from kdrecon.errors import InputError

one_thread = pytest.fixture(autouse=True)(trees.one_thread)


@pytest.mark.parametrize("layout", ["challenge", "atlas"])
def test_sunnybrook_as_dicom(layout, tmp_path):
    source = Sunnybrook(trees.sunnybrook_dicom(tmp_path / "in", layout))
    name = "SC-HF-I-0" if layout == "challenge" else "SCD000010"
    assert [s.subject for s in found(source)] == [f"{name}{n}" for n in (1, 2, 3)]
    np.testing.assert_allclose(source.read(found(source)[1]).images, trees.picture(4, seed=2) * 0.5 + 10)
    prepare(source, tmp_path, Options(split="1,1,1", jobs=1))
    assert data.load_split(data.Split("sunnybrook", "test", "4x", data_root=str(tmp_path))).x.shape == (4, 1, 150, 150)


def test_dicom_series_are_separated_sorted_and_rescaled(tmp_path):
    root = tmp_path / "in"
    trees.dicom_series(root / "a", trees.picture(5, seed=1), "P1", 1)
    trees.dicom_series(
        root / "a", trees.picture(3, (64, 60), seed=2), "P1", 2
    )  # the same names: the first three replaced
    trees.dicom_series(root / "b", trees.picture(4, seed=3), "P2", 3)
    trees.multiframe(root / "enhanced", trees.picture(3, seed=4), "P3")
    trees.dicom_series(root / "phase", trees.picture(2), "P2", 4, ImageType=["ORIGINAL", "PRIMARY", "P"])
    trees.dicom_series(root / "ct", trees.picture(2), "P2", 5, Modality="CT")
    (root / "README").write_text("no scan", encoding="utf-8")
    source = Dicom(root)
    scans = found(source)
    assert [(s.subject, s.label, len(s.files)) for s in scans] == [
        ("P1", "series 1", 2), ("P1", "series 2", 3), ("P2", "series 1", 4), ("P3", "series 1", 1),
    ]  # fmt: skip
    volume = source.read(scans[2])
    np.testing.assert_allclose(volume.images, trees.picture(4, seed=3) * 0.5 + 10)
    assert volume.voxel_size_mm == (1.25, 1.5, 8)
    frames = source.read(scans[3])
    slopes = np.array([4, 3, 2])[:, None, None]
    np.testing.assert_allclose(frames.images, trees.picture(3, seed=4)[::-1] * slopes + 3)
    assert frames.voxel_size_mm == (1.25, 1.5, 8)


def test_a_cine_is_sorted_by_position_then_by_time(tmp_path):
    images = trees.picture(6)
    for i, image in enumerate(images):
        trees.dicom(tmp_path / f"{5 - i}.dcm", image, "P", 1, position=i // 3, TriggerTime=40 * (i % 3))
    (scan,) = found(Dicom(tmp_path))
    np.testing.assert_array_equal(Dicom(tmp_path).read(scan).images, images)


def test_nothing_of_a_dicom_header_but_geometry_comes_out(tmp_path):
    for number in range(1, 4):
        trees.dicom_series(tmp_path / "Doe" / str(number), trees.picture(2, seed=number), f"Doe-{number}", number)
    prepare(Dicom(tmp_path / "Doe"), tmp_path / "out", Options(split="1,1,1", jobs=1))
    for path in (p for p in tmp_path.glob("out/**/*") if p.is_file()):
        content = path.read_bytes()
        assert not any(word in content for word in (b"Doe", b"Jane", b"1970", b"1.2.5.", b"IM00"))
    with h5py.File(tmp_path / "out" / "dicom" / "train" / "acc_4x" / "1.h5") as file:
        assert file.attrs["source"][0] == "series 1" and list(file.attrs["voxel_size_mm"]) == [1.25, 1.5, 8]


def test_real_dicom_files_that_come_with_nibabel_and_pydicom(tmp_path):
    folder = resources.files("nibabel") / "nicom" / "tests" / "data"
    (tmp_path / "in").mkdir()
    shutil.copy(folder / "slicethickness_empty_string.dcm", tmp_path / "in" / "1.dcm")
    shutil.copy(pydicom.data.get_testdata_file("MR_small.dcm"), tmp_path / "in" / "2")
    assert prepare(Dicom(tmp_path / "in"), tmp_path, Options(split="1,1,0", size="64", jobs=1)) == ([], [])
    assert data.load_split(data.Split("dicom", "train", "4x", data_root=str(tmp_path))).x.shape == (1, 1, 64, 64)
    shutil.copy(folder / "0.dcm", tmp_path / "in" / "3.dcm")
    with pytest.raises(InputError, match="3.dcm is a mosaic of several slices: .* dcm2niix"):
        prepare(Dicom(tmp_path / "in"), tmp_path, Options(split="1,1,0", size="64", jobs=1))


BAD_DICOM = {
    "no decoder": "x.dcm has pixel data compressed as JPEG Lossless.* which no installed decoder reads.*pip install pylib",
    "zero bytes": "x.dcm cannot be read .*expected a DICOM file",
    "truncated": "x.dcm cannot be read .*expected an intact file",
    "inverted": "x.dcm is MONOCHROME1, with inverted grey values: expected MONOCHROME2",
    "mosaic": "x.dcm is a mosaic of several slices: expected one slice",
    "mixed": "x.dcm says that its frames differ in kind, and not which are magnitudes",
    "mixed type": "x.dcm says that its frames differ in kind",
    "too long": "x.dcm holds 4608 bytes of pixel data: expected 2304",
    "odd bits": "x.dcm says 12 bits allocated a pixel: expected 8, 16, 32 or 64",
    "no pixels": "x.dcm cannot be read .it holds 0 of 4608 bytes",
    "other count": "x.dcm says 3 frames and describes 1",
    "twice": "y.dcm is the same image as .*x.dcm: expected each once; remove one",
}


HEADERS = {
    "inverted": {"PhotometricInterpretation": "MONOCHROME1"},
    "mosaic": {"ImageType": ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]},
    "mixed": {"ComplexImageComponent": "MIXED"},
    "mixed type": {"ImageType": ["ORIGINAL", "PRIMARY", "VOLUME", "MIXED"]},
    "too long": {"BitsAllocated": 8},
    "odd bits": {"BitsAllocated": 12},
    "other count": {"NumberOfFrames": 3, "PerFrameFunctionalGroupsSequence": [Dataset()]},
}


@pytest.mark.parametrize("case", BAD_DICOM)
def test_dicom_that_cannot_be_used(case, tmp_path):
    root = tmp_path / "in"
    for number in range(1, 4):
        trees.dicom_series(root / str(number), trees.picture(2, (48, 48), seed=number), f"P{number}", number)
    path = trees.dicom(root / "4" / "x.dcm", trees.picture(1, (48, 48), seed=9)[0], "P4", 4, 0.0)
    if case == "no decoder":
        ds = pydicom.dcmread(path)
        ds.file_meta.TransferSyntaxUID = pydicom.uid.JPEGLosslessSV1
        ds.PixelData = pydicom.encaps.encapsulate([b"\xff\xd8\xff\xc3" + bytes(60)])
        ds["PixelData"].is_undefined_length = True
        ds.save_as(path)
    elif case == "zero bytes":
        path.write_bytes(b"")
    elif case == "truncated":
        path.write_bytes(path.read_bytes()[:-900])
    elif case in HEADERS:
        ds = pydicom.dcmread(path)
        ds.update(HEADERS[case])
        ds.save_as(path)
    elif case == "no pixels":
        ds = pydicom.dcmread(path)
        del ds.PixelData
        ds.save_as(path)
    else:
        shutil.copy(path, path.with_name("y.dcm"))
    scans, errors = read_all(root)
    assert [scan.subject for scan in scans[:3]] == ["P1", "P2", "P3"] and len(errors) == 1
    assert str(root / "4") in errors[0] and re.search(BAD_DICOM[case], errors[0])
    with pytest.raises(InputError, match=BAD_DICOM[case]):
        prepare(Dicom(root), tmp_path / "out", Options(split="1,1,1", jobs=1))


def read_all(folder: Path) -> tuple[list[Scan], list[str]]:
    """Read a folder as the pipeline does: volumes and errors; anything else that is raised is a fault."""
    scans, errors = [], []
    for scan in Dicom(folder).scans({}):
        try:
            if isinstance(scan, InputError):
                raise scan
            assert len(Dicom(folder).read(scan).images) == len(scan.images)
            scans.append(scan)
        except InputError as error:
            errors.append(str(error))
    return scans, errors


def series(source, **options) -> list[tuple[str, int]]:
    """Subject and number of images of each series that is found and read."""
    scans = [scan for scan in source.scans(**options) if isinstance(scan, Scan)]
    return [(scan.subject, len(source.read(scan).images)) for scan in scans]


@pytest.mark.parametrize("study", ["1.2.4.1", ""])
def test_a_series_without_patient_stays_one_subject(study, tmp_path):
    for number in (1, 2):
        trees.dicom_series(tmp_path / f"S{number}", trees.picture(6, (16, 16)), "", number, StudyInstanceUID=study)
    names = ["1.2.4.1"] * 2 if study else ["1.2.5.1", "1.2.5.2"]
    assert series(Dicom(tmp_path)) == [(name, 6) for name in names]


def test_a_series_without_any_identifier_stays_one_subject(tmp_path):
    nothing = {"StudyInstanceUID": "", "SeriesInstanceUID": "", "SeriesNumber": ""}
    trees.dicom_series(tmp_path, trees.picture(6, (16, 16)), "", **nothing)
    assert [count for _, count in series(Dicom(tmp_path))] == [6]


def test_images_without_patient_belong_to_the_rest_of_their_series_or_study(tmp_path):
    trees.dicom_series(tmp_path / "a", trees.picture(4, (16, 16)), "P1", 1)
    trees.dicom(tmp_path / "a" / "IM0002.dcm", trees.picture(1, (16, 16))[0], "", 1, -4.0)
    trees.dicom_series(tmp_path / "b", trees.picture(3, (16, 16)), "", 2, StudyInstanceUID="1.2.4.1")
    assert series(Dicom(tmp_path)) == [("P1", 4), ("P1", 3)]


def test_match_comes_before_what_cannot_be_read_and_a_series_has_one_message(tmp_path):
    mosaic = {"ImageType": ["ORIGINAL", "PRIMARY", "M", "MOSAIC"], "SeriesDescription": "fMRI"}
    trees.dicom_series(tmp_path / "mosaic", trees.picture(5, (16, 16)), "P0", 1, **mosaic)
    for number in (2, 3):
        trees.dicom_series(tmp_path / str(number), trees.picture(2, (48, 48), seed=number), f"P{number}", number)
    passed = {}
    (error,) = [scan for scan in Dicom(tmp_path).scans() if isinstance(scan, InputError)]
    assert re.search(r"IM0000.dcm is a mosaic .* \(and 4 more images of this series\)$", str(error))
    assert series(Dicom(tmp_path, match="t1"), passed=passed) == [("P2", 2), ("P3", 2)]
    assert list(passed.values()) == ["images of series that do not match"] * 5
    assert not [scan for scan in Dicom(tmp_path, match="t1").scans() if isinstance(scan, InputError)]
    assert prepare(Dicom(tmp_path), tmp_path.parent / "out", Options(split="1,1,0", jobs=1, skip_bad=True)).faults == []


PASSED_OVER = {
    "Philips susceptibility, phase": (
        "phase images",
        {"ImageType": ["ORIGINAL", "PRIMARY", "SW_P_FFE", "SW_P", "FFE"]},
    ),
    "Philips phase": ("phase images", {"ImageType": ["ORIGINAL", "PRIMARY", "PHASE MAP", "P", "FFE"]}),
    "Philips real": ("real parts", {"ImageType": ["ORIGINAL", "PRIMARY", "R_FFE", "R", "FFE"]}),
    "Siemens phase": ("phase images", {"ImageType": ["ORIGINAL", "PRIMARY", "P", "ND"]}),
    "velocity": ("phase images", {"ImageType": ["ORIGINAL", "PRIMARY", "VELOCITY MAP", "P", "PCA"]}),
    "component": ("imaginary parts", {"ComplexImageComponent": "IMAGINARY"}),
    "ADC": ("ADC maps", {"ImageType": ["DERIVED", "PRIMARY", "DIFFUSION", "ADC", "ND", "NORM"]}),
    "FA": ("FA maps", {"ImageType": ["DERIVED", "PRIMARY", "DIFFUSION", "FA"]}),
    "T1 map": ("derived maps", {"ImageType": ["DERIVED", "PRIMARY", "T1 MAP", "T1", "UNSPECIFIED"]}),
    "blood volume": ("derived maps", {"ImageType": ["DERIVED", "PRIMARY", "PERFUSION", "RELCBV"]}),
    "field map": ("derived maps", {"ImageType": ["ORIGINAL", "PRIMARY", "B0 MAP", "B0", "UNSPECIFIED"]}),
    "localiser": ("localisers", {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}),
    "localiser by name": ("localisers", {"SeriesDescription": "AAHScout_MPR_cor"}),
    "CT": ("CT images", {"Modality": "CT", "SOPClassUID": pydicom.uid.CTImageStorage}),
    "colour": ("colour images", {"PhotometricInterpretation": "RGB", "SamplesPerPixel": 3, "PlanarConfiguration": 0}),
    "palette": ("colour images", {"PhotometricInterpretation": "PALETTE COLOR"}),
    "report": ("SR files without an image", {"Modality": "SR", "Rows": None}),
    "raw data": ("MR files without an image", {"SOPClassUID": pydicom.uid.RawDataStorage, "Rows": None}),
}
USED = {
    "Philips susceptibility": {"ImageType": ["ORIGINAL", "PRIMARY", "SW_M_FFE", "SW_M", "FFE"]},
    "one value": {"ImageType": "ORIGINAL"},
    "no value": {"ImageType": None},
    "derived": {"ImageType": ["DERIVED", "SECONDARY", "MPR", "CSA MPR", "", "M", "ND", "NORM"]},
    "Dixon": {"ImageType": ["DERIVED", "PRIMARY", "DIXON", "IN_PHASE"]},
    "angiography": {"ImageType": ["ORIGINAL", "PRIMARY", "PHASE_CONTRAST", "NONE"]},
    "T1-weighted": {"ImageType": ["ORIGINAL", "PRIMARY", "T1", "NONE"], "ComplexImageComponent": "MAGNITUDE"},
    "trace": {"ImageType": ["DERIVED", "PRIMARY", "DIFFUSION", "TRACEW", "ND"]},
}


@pytest.mark.parametrize("case", PASSED_OVER)
def test_what_is_no_magnitude_image_is_passed_over(case, tmp_path):
    what, tags = PASSED_OVER[case]
    trees.dicom_series(tmp_path / "1", trees.picture(2, (16, 16)), "P1", 1)
    trees.dicom_series(tmp_path / "2", trees.picture(3, (16, 16)), "P2", 2, **tags)
    passed = {}
    assert series(Dicom(tmp_path), passed=passed) == [("P1", 2)]
    assert list(passed.values()) == [what] * 3


def test_what_is_passed_over_is_counted_and_told(tmp_path, capsys):
    for number in (1, 2):
        trees.dicom_series(tmp_path / "in" / str(number), trees.picture(2, (48, 48), seed=number), f"P{number}", number)
    for number, (_, tags) in enumerate([PASSED_OVER["ADC"], PASSED_OVER["CT"]], 3):
        trees.dicom_series(
            tmp_path / "in" / "other" / str(number), trees.picture(number, (48, 48)), "P3", number, **tags
        )
    assert prepare(Dicom(tmp_path / "in"), tmp_path, Options(split="1,1,0", jobs=1)) == ([], [])
    assert "passed over: 4 CT images, 3 ADC maps\n" in capsys.readouterr().out
    with pytest.raises(
        InputError, match="holds no scan for this reader; passed over: 4 CT images, 3 ADC maps: expected"
    ):
        prepare(Dicom(tmp_path / "in" / "other"), tmp_path, Options(skip_bad=True))


@pytest.mark.parametrize("tags", USED.values(), ids=USED)
def test_magnitude_images_of_all_makers_are_used(tags, tmp_path):
    trees.dicom_series(tmp_path, trees.picture(3, (16, 16)), "P1", **tags)
    assert series(Dicom(tmp_path)) == [("P1", 3)]


@pytest.mark.parametrize("vr", ["SS", "IS", "UN"])
def test_the_private_component_of_ge_tells_what_an_image_is(vr, tmp_path):
    for component in range(4):
        for path in sorted(trees.dicom_series(tmp_path / str(component), trees.picture(2, (16, 16)), "P1").iterdir()):
            ds = pydicom.dcmread(path)
            ds.SOPInstanceUID += f".{component}"
            ds.private_block(0x43, "GEMS_PARM_01", create=True)
            ds.add_new(0x0043102F, vr, component if vr != "UN" else bytes([component, 0]))
            ds.save_as(path)
    passed = {}
    assert series(Dicom(tmp_path), passed=passed) == [("P1", 2)]
    assert list(passed.values()) == ["phase images"] * 2 + ["real parts"] * 2 + ["imaginary parts"] * 2


@pytest.mark.parametrize("components", [["MAGNITUDE", "PHASE"], ["REAL", "MAGNITUDE", "IMAGINARY"]])
def test_frames_of_a_mixed_file_are_told_apart(components, tmp_path):
    images = trees.picture(4 * len(components), (16, 16))
    kind = {"ImageType": ["ORIGINAL", "PRIMARY", "VOLUME", "MIXED"], "ComplexImageComponent": "MIXED"}
    trees.multiframe(tmp_path / "scan", images, "P1", components, **kind)
    passed = {}
    (scan,) = Dicom(tmp_path).scans(passed)
    chosen = np.arange(components.index("MAGNITUDE"), len(images), len(components))[::-1]
    np.testing.assert_allclose(Dicom(tmp_path).read(scan).images, images[chosen] * (2 + chosen)[:, None, None] + 3)
    assert len(passed) == len(images) - 4 and len(set(passed.values())) == len(components) - 1


def test_a_field_map_inside_a_magnitude_series_is_left_out_slice_by_slice(tmp_path, capsys):
    for number in (1, 2):
        images = trees.picture(8, (48, 48), seed=number)
        field = 180 * np.sin(np.linspace(-3, 3, 48))[:, None] * np.ones((8, 48, 48))
        for i, image in enumerate(np.concatenate([images, field])):
            path = tmp_path / "in" / str(number) / f"{i}.dcm"
            trees.dicom(
                path, image.astype(np.int16), f"P{number}", number, i % 8, InstanceNumber=i, PixelRepresentation=1
            )
    assert prepare(Dicom(tmp_path / "in"), tmp_path, Options(split="1,1,0", jobs=1)) == ([], [])
    with h5py.File(tmp_path / "dicom" / "train" / "acc_4x" / "1.h5") as file:
        assert file["volfs"].shape[2] == 8
    assert "16 slices with negative values" in capsys.readouterr().out


ODD = {  # in one of four files; whether it is read all the same
    "comma in spacing": ("PixelSpacing", b"1,25\\1,5", True),
    "commas in direction": ("ImageOrientationPatient", b"1,0\\0\\0\\0\\1,0\\0", True),
    "empty direction": ("ImageOrientationPatient", b"", True),
    "NUL in position": ("ImagePositionPatient", b"0\\0\\4\0", True),
    "NUL in patient": ("PatientID", b"P3\0\0", True),
    "NUL in type": ("ImageType", b"ORIGINAL\\PRIMARY\\M\0", True),
    "series number N/A": ("SeriesNumber", b"N/A", True),
    "series number a word": ("SeriesNumber", b"NONSENSE", False),
    "empty slope": ("RescaleSlope", b"", True),
    "empty intercept": ("RescaleIntercept", b"", True),
    "slope a word": ("RescaleSlope", b"one", False),
    "direction of three": ("ImageOrientationPatient", b"1\\0\\0", False),
    "position of two": ("ImagePositionPatient", b"1\\0", False),
    "position infinite": ("ImagePositionPatient", b"1e999\\0\\0", False),
    "spacing a word": ("PixelSpacing", b"fine", False),
    "instance a fraction": ("InstanceNumber", b"1.5", True),
    "instance a word": ("InstanceNumber", b"x", False),
    "frames a word": ("NumberOfFrames", b"some", False),
    "frames too many": ("NumberOfFrames", b"1000000000", False),
    "no rows": ("Rows", b"", False),
    "character set": ("SpecificCharacterSet", b"KLINGON", True),
}


@pytest.mark.filterwarnings("ignore:Unknown encoding")  # of the library that writes it
@pytest.mark.parametrize("case", ODD)
def test_an_odd_header_is_read_or_left_out_alone(case, tmp_path):
    name, value, used = ODD[case]
    trees.dicom_series(tmp_path, trees.picture(4, (16, 16)), "P3", 3)
    path = trees.raw_dicom_value(tmp_path / "IM0003.dcm", name, value)
    scans = list(Dicom(tmp_path).scans())
    errors = [str(scan) for scan in scans if isinstance(scan, InputError)]
    (scan,) = [scan for scan in scans if not isinstance(scan, InputError)]
    assert Dicom(tmp_path).read(scan).images.shape == (3 + used, 16, 16) and len(errors) == 1 - used
    assert all(error.startswith(f"{path} ") and "expected" in error and "--skip-bad" in error for error in errors)


@pytest.mark.parametrize("syntax", [pydicom.uid.ExplicitVRLittleEndian, pydicom.uid.ImplicitVRLittleEndian])
def test_a_file_without_preamble_is_read(syntax, tmp_path):
    images = trees.picture(2, (16, 16))
    trees.dicom(tmp_path / "a", images[0], "P", 1, 0, syntax=syntax)
    trees.dicom(tmp_path / "b.dcm", images[1], "P", 1, 8)
    (tmp_path / "a").write_bytes((tmp_path / "a").read_bytes()[132:])
    (scan,) = found(Dicom(tmp_path))
    np.testing.assert_array_equal(Dicom(tmp_path).read(scan).images, images)


def damage(case: str, path: Path) -> None:
    content = path.read_bytes()
    match case:
        case "cut in its preamble":
            path.write_bytes(content[:100])
        case "cut in its header":
            path.write_bytes(content[:200])
        case "cut in its meta header":
            path.write_bytes(content[:140])
        case "cut in its pixels":
            path.write_bytes(content[:-100])
        case "garbage after DICM":
            path.write_bytes(content[:132] + random.Random(0).randbytes(400))
        case "cut deflate stream":
            ds = pydicom.dcmread(path)
            ds.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
            ds.save_as(path)
            path.write_bytes(path.read_bytes()[:400])
        case "deep sequences":
            nested = b"\x08\0\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\0\xe0\xff\xff\xff\xff" * 3000
            at = content.index(b"\x08\0\x60\0CS")
            path.write_bytes(content[:at] + nested + content[at:])


@pytest.mark.parametrize(
    "case",
    ["cut in its preamble", "cut in its meta header", "cut in its header", "cut in its pixels", "garbage after DICM",
     "cut deflate stream", "deep sequences"],
)  # fmt: skip
def test_a_damaged_file_without_extension_is_an_error_of_its_own(case, tmp_path):
    for i, image in enumerate(trees.picture(4, (16, 16))):
        trees.dicom(tmp_path / f"IM{i}", image, "P1", 1, 8 * i)
    damage(case, tmp_path / "IM2")
    error, scan = sorted(Dicom(tmp_path).scans(), key=lambda found: not isinstance(found, InputError))
    assert str(error).startswith(f"{tmp_path / 'IM2'} cannot be read")
    assert len(Dicom(tmp_path).read(scan).images) == 3 and scan.missing == 1


def test_missing_slices_are_told(tmp_path, capsys):
    for number in (1, 2):
        trees.dicom_series(tmp_path / "in" / str(number), trees.picture(6, (48, 48), seed=number), f"P{number}", number)
    assert prepare(Dicom(tmp_path / "in"), tmp_path, Options(split="1,1,0", jobs=1)) == ([], [])
    assert "missing" not in capsys.readouterr().err
    for name in ("IM0002.dcm", "IM0003.dcm"):
        (tmp_path / "in" / "2" / name).unlink()
    prepare(Dicom(tmp_path / "in"), tmp_path, Options(split="1,1,0", jobs=1))
    assert re.search("warning: 2 slices are missing between others in 1 of 2 scans, .*in/2", capsys.readouterr().err)


def test_echoes_are_apart_and_time_points_together(tmp_path):
    images = trees.picture(12, (16, 16))
    for i, image in enumerate(images):
        place, echo = i % 6 // 2, i % 2
        trees.dicom(tmp_path / f"{(7 * i) % 12}", image, "P", 1, place, InstanceNumber=i, EchoTime=5 + 5.0 * echo)
    scans = found(Dicom(tmp_path))
    assert [(len(scan.images), scan.times, scan.label) for scan in scans] == [(6, 2, "series 1"), (6, 2, "series 2")]
    np.testing.assert_array_equal(Dicom(tmp_path).read(scans[1]).images, images[[1, 7, 3, 9, 5, 11]])


def test_small_differences_of_position_and_direction_part_nothing(tmp_path):
    images = trees.picture(6, (16, 16))
    for i, image in enumerate(images):
        tilt = [1, 4.9e-4 if i % 2 else 5.1e-4, 0, 0, 1, 0]
        place = i // 2 * 8 + (0.0049 if i % 2 else 0.0051)
        trees.dicom(tmp_path / f"{i}", image, "P", 1, place, TriggerTime=40 * (i % 2), ImageOrientationPatient=tilt)
    (scan,) = found(Dicom(tmp_path))
    np.testing.assert_array_equal(Dicom(tmp_path).read(scan).images, images)
    assert scan.times == 2 and scan.missing == 0 and scan.voxel_size_mm == pytest.approx((1.25, 1.5, 8))


def test_files_of_one_time_point_each_are_one_volume(tmp_path):
    images = trees.picture(6, (16, 16))
    for time in (0, 1):
        trees.multiframe(tmp_path / f"{2 - time}", images[3 * time :][:3], "P", InstanceNumber=time)
    (scan,) = found(Dicom(tmp_path))
    assert len(scan.images) == 6 and scan.times == 2
    expected = images[[2, 5, 1, 4, 0, 3]] * np.array([4, 4, 3, 3, 2, 2])[:, None, None] + 3
    np.testing.assert_allclose(Dicom(tmp_path).read(scan).images, expected)


@pytest.mark.parametrize("position", [None, [0, 0, 5]])
def test_frames_without_places_of_their_own_are_slices_or_time_points(position, tmp_path):
    images = trees.picture(4, (16, 16))
    trees.dicom(tmp_path / "cine", images, "P", 1, 0, ImagePositionPatient=position)
    (scan,) = found(Dicom(tmp_path))
    assert scan.times == (4 if position else 1)
    np.testing.assert_array_equal(Dicom(tmp_path).read(scan).images, images)


@pytest.mark.parametrize("option", ["match", "subject"])
def test_a_pattern_that_is_none_is_said_once(option, tmp_path):
    trees.dicom(tmp_path / "a", trees.picture(1, (16, 16))[0], "P", 1, 0)
    with pytest.raises(InputError, match=rf"^--{option} '\(' is no regular expression"):
        list(Dicom(tmp_path, **{option: "("}).scans())


def test_what_is_beside_the_scans_is_told_by_kind(tmp_path):
    path = trees.dicom(tmp_path / "IM1", trees.picture(1, (16, 16))[0], "P", 1, 0)
    (tmp_path / "IM2.dcm.gz").write_bytes(gzip.compress(path.read_bytes()))
    (tmp_path / "IM3").touch()
    (tmp_path / "notes.txt").write_text("a scan", encoding="utf-8")
    shutil.copy(pydicom.data.get_testdata_file("DICOMDIR"), tmp_path / "DICOMDIR")
    passed = {}
    assert series(Dicom(tmp_path), passed=passed) == [("P", 1)]
    assert {path.name: what for path, what in passed.items()} == {
        "DICOMDIR": "DICOM files of Media Storage Directory Storage",
        "IM2.dcm.gz": ".dcm.gz files (unpack them to use them)",
        "IM3": "empty files without an extension",
        "notes.txt": ".txt files",
    }


def test_a_size_clash_in_a_study_proposes_to_choose(tmp_path):
    trees.dicom_series(tmp_path / "1", trees.picture(2, (48, 48)), "P1", 1)
    trees.dicom_series(tmp_path / "2", trees.picture(2, (40, 48)), "P1", 2)
    trees.dicom_series(tmp_path / "3", trees.picture(2, (48, 48)), "P2", 3)
    with pytest.raises(InputError, match=r"slices of \(40, 48\).*choose scans of one kind with --match"):
        prepare(Dicom(tmp_path), tmp_path.parent / "out", Options(split="1,1,0", jobs=1))


def test_every_dicom_file_that_comes_with_the_packages_is_read_or_refused():
    for folder in (Path(pydicom.data.__file__).parent / "test_files", resources.files("nibabel") / "nicom"):
        scans, errors = read_all(folder)
        assert scans and errors


def test_fifty_damaged_files_are_read_or_refused(tmp_path):
    draw = random.Random(0)
    makers = [
        lambda path: trees.dicom(path, trees.picture(1, (16, 16))[0], "P", 1, 0, RescaleSlope=2, EchoTime=5),
        lambda path: trees.multiframe(path, trees.picture(4, (16, 16)), "P", ["MAGNITUDE", "PHASE"]),
    ]
    for i in range(50):
        path = makers[i % 2](tmp_path / f"{i}" / "IM1")
        content = bytearray(path.read_bytes())
        header = content.index(b"\xe0\x7f\x10\0")
        for _ in range(draw.randint(1, 8)):
            at = draw.randrange(128, header)
            content[at] = draw.choice([draw.randrange(256), content[at] ^ 1 << draw.randrange(8), 0, 255])
        path.write_bytes(content[: draw.randrange(140, len(content)) if i % 5 == 0 else len(content)])
        read_all(path.parent)
