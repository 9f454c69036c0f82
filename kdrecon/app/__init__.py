"""The command line, batch runs, and executed notebooks as pages."""
