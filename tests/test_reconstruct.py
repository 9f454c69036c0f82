"""Scans through a network: what comes out lies where the scan lay; what cannot be used is refused, nothing is written."""

import gzip
import io
import shutil
from importlib import resources
from pathlib import Path

import h5py
import nibabel
import numpy as np
import pydicom
import pydicom.data
import pytest
import torch
import trees
from helpers import one_line
from typer.testing import CliRunner

from data_prep.dicom import Dicom
from data_prep.nifti import read_nifti
from kdrecon.app.cli import app
from kdrecon.app.reconstruct import reconstruct_scan
from kdrecon.app.scans.scan import check_out, read_scan
from kdrecon.data import Split, load_split
from kdrecon.deploy import open_deployed
from kdrecon.deploy.reconstruction import lines_are_missing, reconstruct
from kdrecon.errors import InputError
from kdrecon.physics.sampling import gaussian_mask, line_mask, undersample

one_thread = pytest.fixture(autouse=True)(trees.one_thread)
STUDENT, NONE = "D2C5_student", {"plane": "", "match": ""}


@pytest.fixture(scope="module")
def volume() -> np.ndarray:
    """Slices (S, 64, 56) of the embedded test subject, float32."""
    return load_split(Split("sample", "test", "4x", resolution=120)).x[:, 0, 20:84, 30:86].numpy().copy()


@pytest.fixture(scope="module")
def brain(volume) -> np.ndarray:
    """Three of them."""
    return volume[6:18:4]


@pytest.fixture(scope="module")
def student():
    return open_deployed(STUDENT)


def run(scan: Path, out: Path, **options: str) -> None:
    check_out(scan, out)
    reconstruct_scan(STUDENT, scan, out, NONE | options)


def alike(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


TURNED = np.array([[0, 0, 2.0, 5], [1.5, 0, 0, -7], [0, -1.25, 0, 3], [0, 0, 0, 1]])  # stored axes: A, I, R
OBLIQUE = nibabel.affines.from_matvec(np.array([[0.9, -0.3, 0], [0.3, 0.9, 0.1], [0, -0.1, 3]]), [1, 2, 3])
AFFINES = {"as from DICOM": trees.LPS, "turned": TURNED, "oblique": OBLIQUE}


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("plane", ["", "coronal"])
@pytest.mark.parametrize("affine", AFFINES)
def test_a_nifti_scan_comes_back_in_its_own_geometry(affine, plane, ending, volume, tmp_path):
    scan = nibabel.Nifti1Image(volume.transpose(2, 1, 0), AFFINES[affine])
    scan.set_sform(AFFINES[affine], 2)
    scan.set_qform(AFFINES[affine], 1)
    scan.header.set_xyzt_units("mm", "sec")
    nibabel.save(scan, tmp_path / "scan.nii")
    run(tmp_path / "scan.nii", tmp_path / f"out{ending}", plane=plane)
    scan, found = nibabel.load(tmp_path / "scan.nii"), nibabel.load(tmp_path / f"out{ending}")
    np.testing.assert_array_equal(found.affine, scan.affine)
    for name in ("pixdim", "qform_code", "sform_code", "srow_x", "qoffset_x", "quatern_b", "xyzt_units", "dim"):
        np.testing.assert_array_equal(found.header[name], scan.header[name])
    assert bytes(found.header["descrip"].tolist()).startswith(b"Not for clinical use: kdrecon D2C5 student, simulated")
    assert found.get_data_dtype() == np.float32 and alike(found.get_fdata(), scan.get_fdata()) > 0.7
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"out{ending}", "out.png", "scan.nii"]


@pytest.mark.parametrize("name", ["anatomical.nii", "example_nifti2.nii.gz"])
def test_a_real_nifti_scan_comes_back_in_its_own_geometry(name, student, tmp_path):
    path = resources.files("nibabel") / "tests" / "data" / name
    run(path, tmp_path / "out.nii.gz")
    scan, found = nibabel.load(path), nibabel.load(tmp_path / "out.nii.gz")
    np.testing.assert_array_equal(found.affine, scan.affine)
    np.testing.assert_array_equal(found.header.get_zooms(), scan.header.get_zooms())
    for name in ("qform_code", "sform_code", "xyzt_units", "dim", "pixdim", "quatern_b", "quatern_c", "quatern_d"):
        np.testing.assert_array_equal(found.header[name], scan.header[name])
    expected = reconstruct(student, read_nifti(path).images.clip(0)).images
    np.testing.assert_allclose(read_nifti(tmp_path / "out.nii.gz").images, expected, rtol=1e-4, atol=1e-3)


def test_a_nifti_series_keeps_its_times_and_reads_as_the_reconstruction(brain, student, tmp_path):
    stored = np.stack([brain, brain[::-1]], 3).transpose(2, 1, 0, 3) * 700
    nibabel.save(nibabel.Nifti2Image(stored.astype(np.float32), TURNED), tmp_path / "cine.nii.gz")
    run(tmp_path / "cine.nii.gz", tmp_path / "out.nii.gz", plane="sagittal")
    assert isinstance(nibabel.load(tmp_path / "out.nii.gz"), nibabel.Nifti2Image)
    expected = reconstruct(student, read_nifti(tmp_path / "cine.nii.gz", "sagittal").images).images
    np.testing.assert_allclose(read_nifti(tmp_path / "out.nii.gz", "sagittal").images, expected, rtol=1e-5)


def test_a_dicom_series_becomes_a_derived_one_in_the_same_place(brain, tmp_path):
    pixels = (brain * 1000).round()
    tags = {"PixelPaddingValue": 7, "SmallestImagePixelValue": 0, "WindowCenter": 300, "FrameOfReferenceUID": "1.2.6"}
    trees.dicom_series(tmp_path / "scan", pixels, "P1", **tags)
    first = next((tmp_path / "scan").iterdir())
    ds = pydicom.dcmread(first)
    ds.private_block(0x0011, "VENDOR", create=True).add_new(1, "LO", "secret")
    ds.save_as(first)
    for out in ("out", "again"):
        run(tmp_path / "scan", tmp_path / out)
    before, after = (
        sorted(map(pydicom.dcmread, (tmp_path / name).glob("*")), key=lambda ds: ds.ImagePositionPatient[2])
        for name in ("scan", "out")
    )
    kept = (
        "PatientName", "PatientID", "StudyInstanceUID", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing",
        "SliceThickness", "InstanceNumber", "FrameOfReferenceUID", "RescaleSlope", "RescaleIntercept", "WindowCenter",
    )  # fmt: skip
    for a, b in zip(before, after, strict=True):
        assert all(a[name] == b[name] for name in kept)
        assert b.ImageType == ["DERIVED", "SECONDARY", "M"] and not any(element.tag.is_private for element in b)
        assert b.SourceImageSequence[0].ReferencedSOPInstanceUID == a.SOPInstanceUID
        assert b.SOPInstanceUID == b.file_meta.MediaStorageSOPInstanceUID and pydicom.uid.UID(b.SOPInstanceUID).is_valid
        assert b.DerivationDescription.startswith("Not for clinical use") and "PixelPaddingValue" not in b
        assert "not for clinical use" in b.SeriesDescription and b.SeriesNumber is None
        assert alike(a.pixel_array, b.pixel_array) > 0.75
    uids = {ds.SeriesInstanceUID for ds in after}
    assert len(uids) == 1 and not uids & {ds.SeriesInstanceUID for ds in before}
    assert len({ds.SOPInstanceUID for ds in after} | {ds.SOPInstanceUID for ds in before}) == 6
    for path in (tmp_path / "out").iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()
    (series,) = Dicom(tmp_path / "out").scans()
    assert series.voxel_size_mm == (1.25, 1.5, 8)


def test_frames_of_an_enhanced_file_come_back_frame_by_frame(brain, student, tmp_path):
    trees.multiframe(tmp_path / "scan" / "x", (brain * 1000).round(), "P", ["MAGNITUDE"])
    run(tmp_path / "scan", tmp_path / "out")
    (path,) = (tmp_path / "out").iterdir()
    ds = pydicom.dcmread(path)
    kinds = [frame.MRImageFrameTypeSequence[0].FrameType for frame in ds.PerFrameFunctionalGroupsSequence]
    assert kinds == [["DERIVED", "SECONDARY", "VOLUME", "NONE"]] * 3
    volume = [Dicom(folder).read(next(Dicom(folder).scans())) for folder in (tmp_path / "scan", tmp_path / "out")]
    assert volume[0].voxel_size_mm == volume[1].voxel_size_mm
    expected = reconstruct(student, volume[0].images).images
    np.testing.assert_allclose(volume[1].images, np.maximum(expected, 3), atol=2.01)  # half of the largest slope, 4
    trees.multiframe(tmp_path / "mixed" / "x", np.tile(brain, (2, 1, 1)) * 900, "P", ["MAGNITUDE", "PHASE"])
    with pytest.raises(InputError, match="has 6 frames, 3 of them magnitude images"):
        run(tmp_path / "mixed", tmp_path / "none")
    assert not (tmp_path / "none").exists() and not list(tmp_path.glob("*.partial"))


def test_a_real_header_of_many_frames_keeps_their_geometry(brain, tmp_path):
    """Of a scanner's own file, whose pixels were set to 0 before it was given away."""
    stored = resources.files("nibabel") / "nicom" / "tests" / "data" / "philips_mprage.dcm.gz"
    scan = pydicom.dcmread(io.BytesIO(gzip.decompress(stored.read_bytes())))
    frames = np.zeros((3, scan.Rows, scan.Columns), np.uint16)
    frames[:, 90:154, 100:156] = (brain * 3000).round()
    scan.PerFrameFunctionalGroupsSequence = scan.PerFrameFunctionalGroupsSequence[80:83]
    scan.NumberOfFrames, scan.PixelData = len(frames), frames.tobytes()
    (tmp_path / "scan").mkdir()
    scan.save_as(tmp_path / "scan" / "x.dcm")
    run(tmp_path / "scan", tmp_path / "out")
    (path,) = (tmp_path / "out").iterdir()
    found = pydicom.dcmread(path)
    for a, b in zip(scan.PerFrameFunctionalGroupsSequence, found.PerFrameFunctionalGroupsSequence, strict=True):
        for name in ("PlanePositionSequence", "PlaneOrientationSequence", "PixelMeasuresSequence"):
            assert a[name] == b[name]
    a, b = (next(Dicom(tmp_path / folder).scans()) for folder in ("scan", "out"))
    assert a.voxel_size_mm == b.voxel_size_mm and alike(frames, found.pixel_array) > 0.75


@pytest.mark.parametrize("name", ["MR_small", "MR_small_implicit", "MR_small_bigendian", "MR_small_RLE"])
def test_a_real_dicom_image_in_any_encoding(name, tmp_path):
    (tmp_path / "scan").mkdir()
    shutil.copy(pydicom.data.get_testdata_file(f"{name}.dcm"), tmp_path / "scan")
    run(tmp_path / "scan", tmp_path / "out")
    a, b = (pydicom.dcmread(next((tmp_path / folder).iterdir())) for folder in ("scan", "out"))
    for kept in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "PatientName", "StudyInstanceUID"):
        assert a[kept].value == b[kept].value
    assert alike(a.pixel_array, b.pixel_array) > 0.75


def kspace(path: Path, images: np.ndarray, form: str, **changed: object) -> Path:
    """Undersampled k-space of images as a file: as we store it, or as fastMRI does."""
    mask = line_mask(images.shape[1:], "4x", axis=int(form == "fastmri"))
    y = undersample(torch.from_numpy(images), mask)[1].numpy()
    content = {"kspace": y, "mask": mask.numpy()}
    if form == "fastmri":
        mask = np.fft.fftshift(mask.numpy())
        content = {"kspace": trees.centred_k(images) * mask, "mask": mask[0].astype(np.float32)}
    if form == "one coil":
        content["kspace"] = y[:, None]
    with h5py.File(path, "w") as file:
        for key, value in (content | changed).items():
            if value is not None:
                file[key] = value
    return path


@pytest.mark.parametrize("form", ["ours", "fastmri", "one coil"])
def test_measured_kspace_gives_what_its_images_give(form, brain, student, tmp_path):
    scan = read_scan(kspace(tmp_path / "scan.h5", brain * 30, form), NONE)
    found = reconstruct(student, scan.values, scan.mask)
    x_u, y = undersample(torch.from_numpy(brain)[:, None], scan.mask)
    scale = float(x_u.max())
    expected = student.reconstruct(x_u / scale, y / scale, scan.mask)[:, 0].clamp(min=0) * scale * 30
    np.testing.assert_allclose(found.images, expected.numpy(), atol=1e-3)
    run(tmp_path / "scan.h5", tmp_path / "out.h5")
    with h5py.File(tmp_path / "out.h5") as file:
        np.testing.assert_allclose(file["reconstruction"], found.images, atol=1e-5)
        assert "measured k-space, 4" in file.attrs["description"]
    assert (tmp_path / "out.png").exists()


def raw_scan(path: Path, images: np.ndarray, **options: object) -> np.ndarray:
    """Every fourth line and the middle of images as ISMRMRD of one coil; the mask (H, W), DC at [0, 0]."""
    mask = line_mask(images.shape[1:], "4x").numpy()
    trees.raw_scan(path, images, **{"channels": 1, "measured": np.fft.fftshift(mask[:, 0])} | options)
    return mask


@pytest.mark.parametrize("ending", ["h5", "mrd"])
def test_raw_data_gives_what_its_images_give(ending, brain, student, tmp_path):
    path = tmp_path / f"scan.{ending}"
    mask = raw_scan(path, brain * 30)
    scan = read_scan(path, NONE)
    assert np.array_equal(scan.mask, mask) and scan.values.shape == brain.shape
    y = undersample(torch.from_numpy(brain * 30), scan.mask)[1].numpy()
    np.testing.assert_allclose(scan.values, y, atol=1e-3)
    run(path, tmp_path / "out.h5")
    with h5py.File(tmp_path / "out.h5") as file:
        expected = reconstruct(student, y, scan.mask).images
        np.testing.assert_allclose(file["reconstruction"], expected, atol=1e-2)


def test_rows_beyond_the_image_are_cut_after_the_reconstruction(brain, student, tmp_path):
    mask = raw_scan(tmp_path / "scan.h5", brain)
    with h5py.File(tmp_path / "scan.h5", "a") as file:
        before, name, after = file["dataset/xml"][0].decode().partition("reconSpace")
        file["dataset/xml"][0] = before + name + after.replace(">64<", ">40<", 1)
    run(tmp_path / "scan.h5", tmp_path / "out.h5")
    y = undersample(torch.from_numpy(brain), torch.from_numpy(mask))[1].numpy()
    with h5py.File(tmp_path / "out.h5") as file:
        whole = reconstruct(student, y, torch.from_numpy(mask)).images
        np.testing.assert_allclose(file["reconstruction"], whole[:, 12:52], atol=1e-4)


def test_a_constant_phase_goes_and_another_one_is_told(brain, student):
    mask = line_mask(brain.shape[1:], "4x")
    real, turned, curved = (
        reconstruct(student, (np.fft.fft2(brain * phase, norm="ortho") * mask.numpy()).astype(np.complex64), mask)
        for phase in (1, np.exp(2.5j), np.exp(2j * np.linspace(0, 1, 64)[:, None] ** 2))
    )
    np.testing.assert_allclose(turned.images, real.images, atol=1e-4)
    assert not any("phase" in what for what in turned.unlike) and any("phase: " in what for what in curved.unlike)


def test_images_that_look_undersampled_may_be_said_to_be_full(brain, student):
    found = reconstruct(student, zero_filled(brain), full=True)
    assert found.images.shape == brain.shape


def test_a_volume_file_and_an_exported_network(brain, student, tmp_path):
    with h5py.File(tmp_path / "1.h5", "w") as file:
        file["volfs"] = np.moveaxis(brain, 0, 2) * 50
    CliRunner().invoke(app, ["export", STUDENT, "--out", str(tmp_path / "student.onnx")])
    for network, out in ((STUDENT, "a.h5"), (str(tmp_path / "student.onnx"), "b.h5")):
        done = CliRunner().invoke(app, ["reconstruct", network, str(tmp_path / "1.h5"), "--out", str(tmp_path / out)])
        assert done.exit_code == 0 and "zero-filled" in done.stdout and "size: 64 x 56" in done.stdout
    with h5py.File(tmp_path / "a.h5") as a, h5py.File(tmp_path / "b.h5") as b:
        np.testing.assert_allclose(a["reconstruction"], b["reconstruction"], atol=1e-3)


def test_what_differs_from_the_training_data_is_named(brain, student):
    x = torch.from_numpy(brain)[:, None]
    usual = student.data.unlike(x[:, :, :56] * 0 + 0.1, student.data.mask)
    assert [what.partition(":")[0] for what in usual] == ["intensities", "anatomy and contrast"]
    odd = student.data.unlike(x, gaussian_mask((64, 56), "8x"))
    assert [what.partition(":")[0] for what in odd][:3] == ["size", "acceleration", "mask"]
    ours = load_split(Split("sample", "train", "4x", resolution=120))
    x_u = ours.task.observe(ours.x)[0]
    assert len(student.data.unlike(x_u, ours.task.mask)) == 1


@pytest.mark.parametrize("acceleration", ["2x", "4x"])
@pytest.mark.parametrize("axis", [0, 1])
def test_zero_filled_images_are_told_from_full_ones(axis, acceleration, brain):
    x = torch.from_numpy(brain)
    x_u, y = undersample(x, line_mask((64, 56), acceleration, axis))
    assert lines_are_missing(x_u) and lines_are_missing(torch.fft.ifft2(y).real)
    assert not lines_are_missing(x) and not lines_are_missing(x.transpose(1, 2))


def bomb(path: Path, brain: np.ndarray) -> None:
    nibabel.save(nibabel.Nifti1Image(brain.transpose(2, 1, 0), np.eye(4)), path.with_suffix(""))
    path.write_bytes(gzip.compress(path.with_suffix("").read_bytes() + bytes(2**25)))


def large_header(path: Path, brain: np.ndarray) -> None:
    image = nibabel.Nifti1Image(brain.transpose(2, 1, 0), np.eye(4))
    content = bytearray(image.to_bytes())
    content[42:48] = np.array([30000, 30000, 30000], "<i2").tobytes()
    path.write_bytes(gzip.compress(bytes(content)))


def cut(path: Path, brain: np.ndarray) -> None:
    path.write_bytes(gzip.compress(nibabel.Nifti1Image(brain.transpose(2, 1, 0), np.eye(4)).to_bytes())[:9000])


def written(change):
    def write(path: Path, brain: np.ndarray) -> None:
        nibabel.save(nibabel.Nifti1Image(change(brain).transpose(2, 1, 0), np.eye(4)), path)

    return write


def zero_filled(brain: np.ndarray) -> np.ndarray:
    return undersample(torch.from_numpy(brain), line_mask((64, 56), "4x"))[0].numpy()


def with_hole(brain: np.ndarray) -> np.ndarray:
    holed = brain.copy()
    holed[1, 30, 30] = np.nan
    return holed


NIFTI = {
    "bomb": (bomb, "holds more than .* bytes, its header says"),
    "large header": (large_header, "expected at most half of this machine's memory"),
    "cut": (cut, "cannot be read"),
    "no file": (lambda path, brain: path.write_bytes(b"text"), "cannot be read"),
    "undersampled": (
        written(zero_filled),
        "looks undersampled: expected fully sampled images.*kspace .S, H, W. and mask",
    ),
    "NaN": (written(with_hole), "1 voxels that are NaN or infinite"),
    "signed": (written(lambda brain: brain - 0.5), "expected magnitudes"),
    "constant": (written(np.ones_like), "is constant"),
    "tiny": (written(lambda brain: brain[:, 20:32, 20:32]), "slices of 12 x 12: expected at least 17 x 17"),
    "missing": (lambda path, brain: None, "does not exist: expected a scan"),
}


@pytest.mark.parametrize("case", NIFTI)
def test_a_nifti_file_that_cannot_be_used_is_refused(case, brain, tmp_path):
    write, message = NIFTI[case]
    (tmp_path / "in").mkdir()
    write(tmp_path / "in" / "x.nii.gz", brain)
    with pytest.raises(InputError, match=message) as error:
        run(tmp_path / "in" / "x.nii.gz", tmp_path / "out.nii.gz")
    assert "x.nii.gz" in one_line(error) and "--skip-bad" not in one_line(error)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


ODD = np.eye(64, 56) > 0
HDF5 = {
    "no mask": ({"mask": None}, "has no mask: expected an .h5 file with kspace"),
    "no kspace": ({"kspace": None}, r"no scan .found: mask.: expected fully sampled images, volfs, raw data in"),
    "zero-filled alone": ({"kspace": None, "img_volus_4x": np.ones((64, 56, 3))}, "undersampled images alone .img_volus_4x"),
    "coils": ({"kspace": np.ones((3, 4, 64, 56), np.complex64)}, "combine coils before"),
    "real": ({"kspace": np.ones((3, 64, 56))}, "kspace is float64"),
    "NaN": ({"kspace": np.full((3, 64, 56), np.nan, np.complex64)}, "kspace holds NaN"),
    "an image": ({"kspace": np.ones((3, 64, 56), np.complex64), "mask": np.ones((64, 56))}, "expected k-space, not an image"),
    "mask of values": ({"mask": np.full((64, 56), 0.5)}, "mask holds other values than 0 and 1"),
    "empty mask": ({"mask": np.zeros((64, 56))}, "mask holds other values than 0 and 1"),
    "mask of another size": ({"mask": np.ones((56, 64))}, "mask is of shape .56, 64. for k-space of .64, 56."),
    "mask of another line": ({"mask": np.arange(64) % 2}, "or not where that was measured"),
}  # fmt: skip


@pytest.mark.parametrize("case", HDF5)
def test_kspace_that_cannot_be_used_is_refused(case, brain, tmp_path):
    changed, message = HDF5[case]
    kspace(tmp_path / "x.h5", brain, "ours", **changed)
    with pytest.raises(InputError, match=message) as error:
        run(tmp_path / "x.h5", tmp_path / "out.h5")
    assert "x.h5" in one_line(error) and [path.name for path in tmp_path.iterdir()] == ["x.h5"]


def readouts(path: Path, change) -> None:
    """Change the readouts of raw data, an array of records."""
    with h5py.File(path, "a") as file:
        records = file["dataset/data"][()]
        file["dataset/data"][...] = change(records)


def shortened(records: np.ndarray) -> np.ndarray:
    for record in records[1:]:
        record["head"]["number_of_samples"] -= 8
        record["data"] = record["data"][:-16]
    return records


def moved(records: np.ndarray) -> np.ndarray:
    records["head"]["idx"]["kspace_encode_step_1"][-1] = 1
    return records


def nan(records: np.ndarray) -> np.ndarray:
    records["data"][5][:] = np.nan
    return records


def header(old: str, new: str):
    def change(path: Path) -> None:
        with h5py.File(path, "a") as file:
            file["dataset/xml"][0] = file["dataset/xml"][0].decode().replace(old, new)

    return change


RAW = {
    "coils": ({"channels": 3}, None, "has 3 coils: expected one; combine them before"),
    "three-dimensional": ({"partitions": True}, None, "has 3 partitions: expected slices; transform the third axis"),
    "radial": ({}, header(">cartesian<", ">radial<"), "1 encodings .radial.: .* cartesian encoding; grid it to one$"),
    "no matrix": ({}, header("matrixSize", "size"), "without encodedSpace/matrixSize, .* expected the matrix .* add them$"),
    "huge": ({}, header(">112<", ">60000000<"), "matrix of 60000000 x 64 x 1, .* expected at most half"),
    "no XML": ({}, header("<", "&"), "expected an intact header; get it again$"),
    "asymmetric echo": ({}, lambda path: readouts(path, shortened), "lines that do not fill the encoded matrix, 112 samples"),
    "other lines": ({}, lambda path: readouts(path, moved), "other lines in one image than in another"),
    "NaN": ({}, lambda path: readouts(path, nan), "is empty, or holds NaN"),
    "outside": ({}, header("<center>32<", "<center>50<"), "samples of 1 coils at column 0, line -16, .* correct the header"),
}  # fmt: skip


@pytest.mark.parametrize("case", RAW)
def test_raw_data_that_cannot_be_used_is_refused(case, brain, tmp_path):
    options, change, message = RAW[case]
    raw_scan(tmp_path / "x.h5", brain, **options)
    if change:
        change(tmp_path / "x.h5")
    with pytest.raises(InputError, match=message) as error:
        run(tmp_path / "x.h5", tmp_path / "out.h5")
    assert "x.h5" in one_line(error) and "--skip-bad" not in one_line(error)
    assert [path.name for path in tmp_path.iterdir()] == ["x.h5"]


def test_folders_without_one_series_are_refused(brain, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no MR series"):
        run(tmp_path / "empty", tmp_path / "out")
    for number in (1, 2):
        trees.dicom_series(tmp_path / "two" / str(number), brain * 900, "P", number, SeriesDescription=f"T{number}")
    with pytest.raises(InputError, match="holds 2 MR volumes: expected one series.*--match"):
        run(tmp_path / "two", tmp_path / "out")
    run(tmp_path / "two", tmp_path / "out", match="T2")
    with pytest.raises(InputError, match="out exists: expected a new folder"):
        run(tmp_path / "two", tmp_path / "out", match="T2")
    trees.dicom_series(tmp_path / "cut", brain * 900, "P", 3)
    path = next((tmp_path / "cut").iterdir())
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="bytes of pixel data") as error:
        run(tmp_path / "cut", tmp_path / "none")
    assert "--skip-bad" not in one_line(error) and not (tmp_path / "none").exists()


MISPLACED = {
    ("x.nii.gz", "out.h5"): "expected a file that ends in .nii or .nii.gz",
    ("x.h5", "out.nii"): "expected a file that ends in .h5",
    ("x.nii.gz", "x.nii.gz"): "is the scan itself",
    ("x.png", "out.png"): "x.png is none of the scans that are read: expected a NIfTI file",
}


@pytest.mark.parametrize("names", MISPLACED)
def test_an_output_of_another_kind_is_refused(names, tmp_path):
    scan, out = (tmp_path / name for name in names)
    scan.write_bytes(b"content")
    with pytest.raises(InputError, match=MISPLACED[names]):
        check_out(scan, out)


def test_an_option_of_another_kind_of_scan_is_refused(tmp_path):
    (tmp_path / "x.h5").write_bytes(b"")
    with pytest.raises(InputError, match="--plane axial: expected none for this scan"):
        read_scan(tmp_path / "x.h5", {"plane": "axial"})
