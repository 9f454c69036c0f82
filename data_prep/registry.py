"""The sources that can be prepared, by the name of their command.

>>> from data_prep.registry import SOURCES
>>> SOURCES["acdc"].__name__
'ACDC'
"""

from data_prep.dicom import Dicom
from data_prep.kspace import Calgary, FastMRI, Ismrmrd
from data_prep.nifti import ACDC, MRBrainS, Nifti
from data_prep.source import Source
from data_prep.sunnybrook import Sunnybrook

SOURCES: dict[str, type[Source]] = {
    "acdc": ACDC,
    "mrbrains": MRBrainS,
    "sunnybrook": Sunnybrook,
    "calgary": Calgary,
    "fastmri": FastMRI,
    "nifti": Nifti,
    "dicom": Dicom,
    "ismrmrd": Ismrmrd,
}
