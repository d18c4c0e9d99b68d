"""The shape of everything on the wire: for documents, for generated clients, and for the tests.

`realtime/session_fields.py` and its like decide what is taken; this says what that comes to.
"""

from voicestack.realtime.wire import (
    call_events,
    client_events,
    extension_events,
    mcp_events,
    reply_events,
    session_events,
)

ClientEvent = (
    client_events.SessionUpdate
    | client_events.AudioAppend
    | client_events.AudioCommit
    | client_events.AudioClear
    | client_events.ItemCreate
    | client_events.ItemRetrieve
    | client_events.ItemDelete
    | client_events.ItemTruncate
    | client_events.ResponseCreate
    | client_events.ResponseCancel
    | call_events.OutputAudioClear
)
"""What a client may send."""

ServerEvent = (
    session_events.SessionCreated
    | session_events.SessionUpdated
    | session_events.SpeechStarted
    | session_events.SpeechStopped
    | session_events.TimeoutTriggered
    | session_events.AudioCommitted
    | session_events.AudioCleared
    | session_events.ItemAdded
    | session_events.ItemDone
    | session_events.ItemRetrieved
    | session_events.ItemDeleted
    | session_events.ItemTruncated
    | session_events.TranscriptionDelta
    | session_events.TranscriptionCompleted
    | session_events.TranscriptionFailed
    | session_events.ErrorEvent
    | reply_events.ResponseCreated
    | reply_events.ResponseDone
    | reply_events.OutputItemAdded
    | reply_events.OutputItemDone
    | reply_events.ContentPartAdded
    | reply_events.ContentPartDone
    | reply_events.TextDelta
    | reply_events.TextDone
    | reply_events.TranscriptDelta
    | reply_events.TranscriptDone
    | reply_events.AudioDelta
    | reply_events.AudioDone
    | reply_events.ArgumentsDelta
    | reply_events.ArgumentsDone
    | reply_events.RateLimitsUpdated
    | call_events.OutputAudioStarted
    | call_events.OutputAudioStopped
    | call_events.OutputAudioCleared
    | mcp_events.McpListToolsInProgress
    | mcp_events.McpListToolsCompleted
    | mcp_events.McpListToolsFailed
    | mcp_events.McpArgumentsDelta
    | mcp_events.McpArgumentsDone
    | mcp_events.McpCallInProgress
    | mcp_events.McpCallCompleted
    | mcp_events.McpCallFailed
)
"""What any client may receive."""

ClientExtensionEvent = extension_events.ClockPing | extension_events.AudioHeard
"""What a client may send besides that connects with `?voicestack_events=1`."""

ExtensionEvent = (
    extension_events.ClockPong
    | extension_events.TurnMeasured
    | extension_events.UserHearing
    | extension_events.ConversationResumed
)
"""What such a client receives besides."""
