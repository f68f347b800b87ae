"""Imported before all else by the entry points of a daemon's processes, for what it does.

See :mod:`jobctl.store.no_tls`; nothing that others may import imports this.
"""

from jobctl.store import no_tls

no_tls.import_asyncio()
