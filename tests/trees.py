"""Scans in the layouts of their sources, written with the real file libraries."""

import zlib
from pathlib import Path

import h5py
import ismrmrd
import matplotlib.image
import nibabel
import numpy as np
import pydicom
import pydicom.uid
import torch
from pydicom.dataset import Dataset, FileMetaDataset

LPS = np.diag([-1.5, -1.5, 10, 1])  # as an ITK program writes a scan with the directions of DICOM


def picture(slices: int = 3, size: tuple[int, int] = (160, 152), seed: int = 0) -> np.ndarray:
    """Smooth integer images (S, H, W) with a bright mark that is off the middle: seen mirrored or turned, it moves."""
    rng = np.random.default_rng(seed)
    rows, columns = (np.linspace(-1, 1, n) for n in size)
    head = np.exp(-2 * (rows[:, None] ** 2 + columns[None] ** 2))
    waves = sum(np.cos(k * rows[:, None] + rng.uniform(0, 6)) * np.cos(k * columns + rng.uniform(0, 6)) for k in (3, 7))
    images = np.stack([head * (800 + 100 * waves + 40 * s) for s in range(slices)])
    images[:, size[0] // 3 : size[0] // 3 + 6, size[1] // 4 : size[1] // 4 + 6] = 1500 + seed % 100
    return images.round()


def litter(root: Path) -> None:
    """Beside each file and folder of a tree what macOS, NFS and Jupyter leave there."""
    for path in sorted(root.rglob("*")):
        (path.parent / f"._{path.name}").write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X")
        (path.parent / ".nfs000000001.h5").write_bytes(b"deleted while open")
        (path.parent / ".ipynb_checkpoints").mkdir(exist_ok=True)
        if path.is_file():
            (path.parent / ".ipynb_checkpoints" / path.name).write_bytes(b"an older one")


def nifti(path: Path, images: np.ndarray, affine: np.ndarray = LPS, dtype=np.int16) -> Path:
    """Write images (S, H, W) so that the first stored axis is the columns, as converters from DICOM do."""
    path.parent.mkdir(parents=True, exist_ok=True)
    stored = images.transpose(2, 1, 0) if images.ndim == 3 else images
    image = nibabel.Nifti1Image(stored.astype(dtype), affine)
    image.header["descrip"] = b"Doe^Jane 1970-01-01"
    nibabel.save(image, path)
    return path


def acdc(root: Path, training: int = 2, testing: int = 1, **options) -> Path:
    """{training,testing}/patientNNN/ with Info.cfg, the cine and the two frames that were segmented."""
    for number in [*range(1, training + 1), *range(101, 101 + testing)]:
        name = f"patient{number:03d}"
        folder = root / ("testing" if number > 100 else "training") / name
        frames = {frame: picture(seed=10 * number + frame, **options) for frame in (1, 2, 3)}
        for frame in (1, 3):
            nifti(folder / f"{name}_frame{frame:02d}.nii.gz", frames[frame])
            nifti(folder / f"{name}_frame{frame:02d}_gt.nii.gz", (frames[frame] > 900).astype(np.int16))
        nifti(folder / f"{name}_4d.nii.gz", np.stack([f.transpose(2, 1, 0) for f in frames.values()], 3))
        lines = ["ED: 1", "ES: 3", "Group: DCM", "Height: 184.0", "NbFrame: 3", "Weight: 95.0"]
        (folder / "Info.cfg").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return root


def mrbrains2013(root: Path) -> Path:
    """TrainingData/1..5 and TestData/1..3 with the scans and labels of the 2013 challenge."""
    for kind, count in (("TrainingData", 5), ("TestData", 3)):
        for number in range(1, count + 1):
            folder = root / kind / str(number)
            for name in ("T1", "T1_IR", "T2_FLAIR"):
                nifti(folder / f"{name}.nii", picture(2, (240, 240), seed=number + 10 * (kind == "TestData")))
            nifti(folder / "T1_1mm.nii", picture(2, (60, 60)))
            if kind == "TrainingData":
                nifti(folder / "LabelsForTraining.nii", picture(2, (240, 240)) > 900)
    return root


def mrbrains2018(root: Path) -> Path:
    """training/{1, 4, 5, 7, 14, 070, 148}/{orig,pre}/ of the 2018 challenge."""
    for seed, number in enumerate(("1", "4", "5", "7", "14", "070", "148")):
        for kind in ("orig", "pre"):
            for name in ("reg_T1", "reg_IR", "FLAIR"):
                images = picture(2, (240, 240), seed) + (kind == "orig")
                nifti(root / "training" / number / kind / f"{name}.nii.gz", images)
        nifti(root / "training" / number / "segm.nii.gz", picture(2, (240, 240)) > 900)
    return root


def bids(root: Path, people: int = 3) -> Path:
    """sub-NN/ses-M/anat/ with two sessions a person, a time series, and a derivative that is none of the scans."""
    for number in range(1, people + 1):
        for session in (1, 2):
            stem = f"sub-{number:02d}_ses-{session}"
            folder = root / f"sub-{number:02d}" / f"ses-{session}"
            nifti(folder / "anat" / f"{stem}_T1w.nii.gz", picture(2, (40, 48), seed=10 * number + session))
            nifti(folder / "func" / f"{stem}_task-rest_bold.nii.gz", np.ones((4, 4, 2, 3)))
        nifti(root / "derivatives" / f"sub-{number:02d}" / f"sub-{number:02d}_T1w.nii.gz", picture(2, (40, 48)))
    (root / "dataset_description.json").write_text('{"Name": "three people", "BIDSVersion": "1.9.0"}', encoding="utf-8")
    return root


def sunnybrook_png(root: Path, patients: int = 4, size: int = 160) -> Path:
    rng = np.random.default_rng(0)
    folder = root / "Train" / "Images" / "Part1"
    folder.mkdir(parents=True)
    for patient in range(1, patients + 1):
        for frame in (7, 20):
            grey = rng.uniform(0.1, 1, (size, size, 1)).repeat(3, 2)
            matplotlib.image.imsave(folder / f"SC-HF-I-{patient:02d}-IM-0001-{frame:04d}.dcm.png", grey)
    return root


def dicom(path: Path, image: np.ndarray, patient: str, series: int, position: float, **tags) -> Path:
    """One MR image; image (H, W) or, as a multi-frame file, (frames, H, W). position: of the slice along z, in mm."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = tags.pop("syntax", pydicom.uid.ExplicitVRLittleEndian)
    ds.SOPClassUID = pydicom.uid.MRImageStorage
    ds.SOPInstanceUID = f"1.2.3.{zlib.crc32(f'{path} {series}'.encode())}"
    ds.PatientName, ds.PatientID, ds.PatientBirthDate = "Doe^Jane", patient, "19700101"
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SeriesNumber = f"1.2.4.{series}", f"1.2.5.{series}", series
    ds.SeriesDescription, ds.Modality, ds.ImageType = "Jane's T1", "MR", ["ORIGINAL", "PRIMARY", "M"]
    ds.Rows, ds.Columns = image.shape[-2:]
    if image.ndim == 3:
        ds.NumberOfFrames = len(image)
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 0
    ds.PixelSpacing, ds.SliceThickness = [1.25, 1.5], 8
    ds.ImageOrientationPatient, ds.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [0, 0, position]
    ds.PixelData = image.astype("<u2").tobytes()
    for name, value in tags.items():
        setattr(ds, name, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    ds.save_as(path, enforce_file_format=True)
    return path


def dicom_series(folder: Path, images: np.ndarray, patient: str, series: int = 1, **tags) -> Path:
    """A series with names and instance numbers in an order that is not that of the slices, and a rescale slope."""
    for i, image in enumerate(images):
        name = f"IM{(7 * i) % len(images):04d}.dcm"
        extra = {"InstanceNumber": (7 * i) % len(images) + 1, "RescaleSlope": 0.5, "RescaleIntercept": 10} | tags
        dicom(folder / name, image, patient, series, position=8.0 * i - 20, **extra)
    return folder


def raw_dicom_value(path: Path, name: str, value: bytes) -> Path:
    """Put a value into the header of a DICOM file as it is, where the library would not write it."""
    ds, tag = pydicom.dcmread(path), pydicom.datadict.tag_for_keyword(name)
    value += b" " * (len(value) % 2)
    vr = pydicom.datadict.dictionary_VR(tag)
    ds[tag] = pydicom.dataelem.RawDataElement(pydicom.tag.Tag(tag), vr, len(value), value, 0, False, True)
    ds.save_as(path)
    return path


def multiframe(path: Path, images: np.ndarray, patient: str, components: list[str] | None = None, **tags) -> Path:
    """An enhanced MR file with its frames in backward order and a slope a frame.

    components: whether a frame is MAGNITUDE, PHASE, REAL or IMAGINARY, in turn; each position has one of each.
    """
    frames = []
    turns = len(components or [""])
    for i in range(len(images)):
        frame, place, scale = Dataset(), Dataset(), Dataset()
        place.ImagePositionPatient = [0, 0, -8 * (i // turns)]
        scale.RescaleSlope, scale.RescaleIntercept = 2 + i, 3
        frame.PlanePositionSequence, frame.PixelValueTransformationSequence = [place], [scale]
        if components:
            kind = Dataset()
            kind.ComplexImageComponent = components[i % turns]
            kind.FrameType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
            frame.MRImageFrameTypeSequence = [kind]
        frames.append(frame)
    shared, turn, size = Dataset(), Dataset(), Dataset()
    turn.ImageOrientationPatient, size.PixelSpacing, size.SliceThickness = [1, 0, 0, 0, 1, 0], [1.25, 1.5], 8
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [turn], [size]
    dicom(
        path, images, patient, 9, 0,
        PerFrameFunctionalGroupsSequence=frames, SharedFunctionalGroupsSequence=[shared],
        SOPClassUID=pydicom.uid.EnhancedMRImageStorage, **tags,
    )  # fmt: skip
    ds = pydicom.dcmread(path)
    for name in ("PixelSpacing", "SliceThickness", "ImageOrientationPatient", "ImagePositionPatient"):
        delattr(ds, name)
    ds.save_as(path, enforce_file_format=True)
    return path


def sunnybrook_dicom(root: Path, layout: str) -> Path:
    """The original data: "challenge" (SC-HF-I-01/DICOM) or "atlas" (SCD0000101/CINESAX_300 beside other series)."""
    for number in range(1, 4):
        images = picture(4, seed=number)
        if layout == "challenge":
            part = {1: "TrainingDataDICOM", 2: "ValidationDataDICOM", 3: "OnlineDataDICOM"}[number]
            dicom_series(root / part / f"SC-HF-I-{number:02d}" / "DICOM", images, "anonymous", number)
        else:
            patient = root / "SCD_IMAGES_01" / f"SCD000010{number}"
            dicom_series(patient / "CINESAX_300", images, "anonymous", number)
            dicom_series(patient / "CINELAX_301", picture(2), "anonymous", number + 10)
    return root


def coils(images: np.ndarray, n: int) -> np.ndarray:
    """Complex images (S, n, H, W) with root-sum-of-squares equal to images (S, H, W)."""
    rows, columns = (np.linspace(-1, 1, size) for size in images.shape[1:])
    maps = [
        np.exp(-((rows[:, None] - np.cos(c)) ** 2) - (columns[None] - np.sin(c)) ** 2 + 1j * c * rows[:, None])
        for c in range(n)
    ]
    maps = np.stack(maps)
    return images[:, None] * maps / np.sqrt((np.abs(maps) ** 2).sum(0))


def centred_k(images: np.ndarray) -> np.ndarray:
    """k-space as scanners give it: DC and the object in the middle, orthonormal."""
    axes = (-2, -1)
    return np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(images, axes), norm="ortho"), axes).astype(np.complex64)


def calgary(root: Path, form: str = "pairs") -> Path:
    """{Train,Val,Test}/*.npy: unshifted k-space, in "pairs" of real and imaginary parts, or other forms."""
    for number, part in enumerate(("Train", "Train", "Val", "Test")):
        complex_images = coils(picture(3, (64, 64), seed=number), 2 if form == "channels" else 1)
        stored = np.fft.fft2(complex_images)
        if form == "image":
            stored = complex_images
        elif form == "centred":
            stored = centred_k(complex_images)
        stored = stored.astype(np.complex64)
        pairs = np.stack([stored.real, stored.imag], 2).reshape(len(stored), -1, *stored.shape[2:])
        (root / part).mkdir(parents=True, exist_ok=True)
        stored = stored[:, 0] if form in ("image", "complex", "centred") else np.moveaxis(pairs, 1, 3)
        np.save(root / part / f"e1408{number}s3_P5325{number}.7.npy", stored)
    return root


FASTMRI_HEADER = """<?xml version="1.0"?><ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD"><encoding><encodedSpace>
<matrixSize><x>40</x><y>36</y><z>1</z></matrixSize><fieldOfView_mm><x>80</x><y>90</y><z>4.5</z></fieldOfView_mm>
</encodedSpace></encoding></ismrmrdHeader>"""


def fastmri(root: Path, kind: str = "multicoil") -> Path:
    """{kind}_{train,val,test}/file*.h5 with k-space, header and reconstruction; the test file is undersampled."""
    for number, part in enumerate(("train", "train", "val", "test")):
        images = picture(3, (40, 36), seed=number)
        path = root / f"{kind}_{part}" / f"file100000{number}.h5"
        path.parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(path, "w") as file:
            k = centred_k(coils(images, 3 if kind == "multicoil" else 1) * 1e-6)
            file["kspace"] = k if kind == "multicoil" else k[:, 0]
            file["ismrmrd_header"] = FASTMRI_HEADER
            file.attrs.update({"acquisition": "CORPD_FBK", "patient_id": f"patient-{number}", "max": 1e-3, "norm": 1.0})
            if part == "test":
                file["mask"] = np.arange(36) % 4 == 0
            else:
                file["reconstruction_rss"] = images[:, 4:-4, 2:-2] * 1e-6
    return root


def raw_scan(
    path: Path,
    images: np.ndarray,
    patient: str = "Doe, Jane",
    measured: np.ndarray | None = None,
    partitions: bool = False,
    channels: int = 3,
) -> Path:
    """ISMRMRD: readouts of coils with twofold oversampling, two averages, and a noise measurement.

    measured: which lines there are, DC in the middle; all by default. partitions: as one three-dimensional scan instead of
    slices.
    """
    n, height, width = images.shape
    wide = np.pad(coils(images, channels), ((0, 0), (0, 0), (0, 0), (width // 2, width - width // 2)))
    k = centred_k(wide)
    if partitions:
        k = np.fft.fftshift(np.fft.fft(np.fft.ifftshift(k, 0), axis=0, norm="ortho"), 0)
    path.parent.mkdir(parents=True, exist_ok=True)
    data = ismrmrd.Dataset(str(path), "dataset", mode="w")

    def space(x, fov):
        z = n if partitions else 1
        matrix = ismrmrd.xsd.matrixSizeType(x=x, y=height, z=z)
        view = ismrmrd.xsd.fieldOfViewMm(x=fov, y=1.5 * height, z=5.0 * z)
        return ismrmrd.xsd.encodingSpaceType(matrixSize=matrix, fieldOfView_mm=view)

    step = ismrmrd.xsd.limitType(minimum=0, maximum=height - 1, center=height // 2)
    part = ismrmrd.xsd.limitType(minimum=0, maximum=n - 1, center=n // 2) if partitions else None
    limits = ismrmrd.xsd.encodingLimitsType(kspace_encoding_step_1=step, kspace_encoding_step_2=part)
    encoding = ismrmrd.xsd.encodingType(
        encodedSpace=space(2 * width, 2.0 * width), reconSpace=space(width, 1.0 * width), encodingLimits=limits,
        trajectory=ismrmrd.xsd.trajectoryType.CARTESIAN,
    )  # fmt: skip
    header = ismrmrd.xsd.ismrmrdHeader(
        subjectInformation=ismrmrd.xsd.subjectInformationType(patientName=patient, patientID=patient),
        experimentalConditions=ismrmrd.xsd.experimentalConditionsType(H1resonanceFrequency_Hz=63_500_000),
        encoding=[encoding],
    )
    data.write_xml_header(ismrmrd.xsd.ToXML(header))
    noise = ismrmrd.Acquisition.from_array(np.full((channels, 2 * width), 99, np.complex64))
    noise.set_flag(ismrmrd.ACQ_IS_NOISE_MEASUREMENT)
    data.append_acquisition(noise)
    for average in (-1, 1):
        for s in range(n):
            for y in range(height) if measured is None else np.flatnonzero(measured):
                line = ismrmrd.Acquisition.from_array(k[s, :, y] * (1 + 0.01 * average))
                line.idx.kspace_encode_step_1, line.center_sample = y, width
                if partitions:
                    line.idx.kspace_encode_step_2 = s
                else:
                    line.idx.slice = s
                data.append_acquisition(line)
    data.close()
    return path


def one_thread():
    """A fixture's body: small arrays are faster without threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
