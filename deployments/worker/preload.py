"""What the process from which runs are forked has imported; importing this module prepares that process.

It has one thread and does nothing else. It does not mind a SIGTERM to the whole group: runs must still be seen to their
end while the worker waits for them. It ends with the worker.
"""

import logging
import signal

# Prefect's login is in the first message of each of its websockets; at its debug level this library logs messages.
logging.getLogger("websockets").setLevel(logging.INFO)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
