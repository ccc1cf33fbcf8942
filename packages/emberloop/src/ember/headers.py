"""Header fields: `Headers` of a request, `MutableHeaders` of a response, and the one check for
both."""

from __future__ import annotations

from ember.protocol.message.headers import Headers as Headers
from ember.protocol.message.headers import MutableHeaders as MutableHeaders
from ember.protocol.message.headers import check_name as check_name
from ember.protocol.message.headers import check_value as check_value

__all__ = ["Headers", "MutableHeaders", "check_name", "check_value"]
