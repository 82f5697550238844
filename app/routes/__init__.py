"""Our own HTTP routes. Each module has a ``router: APIRouter``; routes get the runtime by ``common.runtime_of``."""
