"""What a run shows: figures a slice, tables, paired comparisons, published figures, cost, report."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
