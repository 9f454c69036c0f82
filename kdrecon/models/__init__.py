"""The networks: DC-CNN, DC-UNet, VDSR, and student-friendly training of a teacher with branches."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
