from .slices import Slices as Slices
from .slices import StreamedSlices as StreamedSlices
from .splits import check_manifest as check_manifest
from .splits import has_split as has_split
from .splits import load_split as load_split
from .volumes import open_volume as open_volume
from .volumes import read_volume as read_volume
from .volumes import write_volume as write_volume
