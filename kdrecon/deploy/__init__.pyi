from .deployed import Deployed as Deployed
from .deployed import open_deployed as open_deployed
from .export import export as export
from .exported import read_exported as read_exported
from .graph import build_graph as build_graph
from .graph import feeds as feeds
