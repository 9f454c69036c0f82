"""A network taken away from where it was trained: exported, timed, run on scans."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
