"""Explorers for JupyterLab. Each is a figure first, a function of its settings; then the same figure with controls."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
