from .base import TAPS as TAPS
from .base import Method as Method
from .base import select as select
from .base import tap_layers as tap_layers
from .registry import FORMS as FORMS
from .registry import METHODS as METHODS
from .registry import RELEASED as RELEASED
from .registry import get_method as get_method
