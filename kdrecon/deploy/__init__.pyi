from .benchmark import bench as bench
from .deployed import Deployed as Deployed
from .deployed import open_deployed as open_deployed
from .exported import read_exported as read_exported
from .exporting import export as export
from .graph import build_graph as build_graph
from .graph import feeds as feeds
