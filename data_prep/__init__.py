"""From raw scans to the volume files that kdrecon reads: ``python -m data_prep NAME SOURCE --out datasets``."""
