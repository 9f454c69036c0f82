"""The distillation methods and their registry: METHODS[key]() is a loss (students, teachers) -> scalar."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
