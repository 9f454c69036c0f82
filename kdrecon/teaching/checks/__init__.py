"""The checks of the exercises, a file a notebook: a friendly verdict, never a traceback.

Every check takes the student's answer, tries it on small inputs of its own and returns a
:class:`kdrecon.teaching.checks.verdict.Verdict`. Typical wrong answers get a hint of their own; whatever else an answer does
(nothing, a wrong type or shape, NaN, an error) is said in a sentence.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
