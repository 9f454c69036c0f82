from .importing import import_checkpoint as import_checkpoint
from .weights import load_weights as load_weights
