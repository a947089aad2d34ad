"""Every public name of ``secagg``, loaded together at the first use of one."""

from secagg import analytics as analytics
from secagg.adaptive import RoundPlanner as RoundPlanner
from secagg.aggregation import Aggregate as Aggregate
from secagg.aggregation import aggregate as aggregate
from secagg.broadcast import Downlink as Downlink
from secagg.config import RoundConfig as RoundConfig
from secagg.errors import RoundRefused as RoundRefused
from secagg.errors import SeedMissing as SeedMissing
from secagg.errors import UsageError as UsageError
from secagg.feedback import SiteResidual as SiteResidual
from secagg.monitoring import Monitoring as Monitoring
from secagg.record import RoundRecord as RoundRecord
from secagg.record import View as View
from secagg.session import ClientSession as ClientSession
from secagg.session import ServerSession as ServerSession
