"""What the process from which runs are forked has imported; importing this module prepares that process.

It has one thread and does nothing else. It does not mind a SIGTERM to the whole group: runs must still be seen to their
end while the worker waits for them. It ends with the worker.
"""

import signal

signal.signal(signal.SIGTERM, signal.SIG_IGN)
