"""kdrecon: a teaching laboratory for knowledge distillation in accelerated MRI reconstruction."""

__version__ = "0.2.0"
