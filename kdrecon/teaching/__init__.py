"""What the lessons show and ask: figures, widgets, live curves, exercise checks."""
