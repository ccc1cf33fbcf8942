"""Who is told of every exchange: `Observer`, and the built-in one that counts and logs.

An application that has an attribute `observer` (see `Application`) has it told. Not imported before
something is to be observed.
"""

from __future__ import annotations

from ember._build import PURE
from ember.protocol.telemetry.logfile import LogFile as LogFile
from ember.protocol.telemetry.series import Series as Series

TYPE_CHECKING = False
if TYPE_CHECKING or PURE:
    from ember.protocol.telemetry.pure.accesslog import AccessLog as AccessLog
    from ember.protocol.telemetry.pure.observer import Observer as Observer
    from ember.protocol.telemetry.pure.recorder import Recorder as Recorder
else:
    from ember.protocol.telemetry._accesslog import AccessLog as AccessLog
    from ember.protocol.telemetry._observer import Observer as Observer
    from ember.protocol.telemetry._recorder import Recorder as Recorder

__all__ = ["AccessLog", "LogFile", "Observer", "Recorder", "Series"]
