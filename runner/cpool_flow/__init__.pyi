from cpool_flow.pool import Pool as Pool
from cpool_flow.pool import Workflow as Workflow

__version__: str
