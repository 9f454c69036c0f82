"""The method that compares no maps."""

from kdrecon.distillation.base import Method


class Interactive(Method):
    """IKD: the student's cascades practise in a network whose other cascades are the teacher's.

    It has no loss between maps: :func:`kdrecon.training.objectives.distil` turns its key into
    :class:`kdrecon.training.objectives.Interactive`, where the equation is. This entry of the registry carries what every
    method states; the weight has no part in the loss.
    """

    taps = ""
