"""Who is told of every exchange: `Observer`, and the built-in one that counts and logs.

An application that has an attribute `observer` (see `Application`) has it told. Not imported before
something is to be observed.
"""

from __future__ import annotations

from ember._build import PURE
from ember.protocol.logfile import LogFile as LogFile
from ember.protocol.series import Series as Series

TYPE_CHECKING = False
if TYPE_CHECKING or PURE:
    from ember.protocol.pure.accesslog import AccessLog as AccessLog
    from ember.protocol.pure.observer import Observer as Observer
    from ember.protocol.pure.recorder import Recorder as Recorder
else:
    from ember.protocol._accesslog import AccessLog as AccessLog
    from ember.protocol._observer import Observer as Observer
    from ember.protocol._recorder import Recorder as Recorder

__all__ = ["AccessLog", "LogFile", "Observer", "Recorder", "Series"]
