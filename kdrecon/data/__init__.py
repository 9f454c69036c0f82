"""Volume files, the splits of a data set, and slices in memory or streamed."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
