"""voicestack: a self-hosted realtime voice-agent server.

The way in is `turn/machine.py` (what happens next), `session/session.py` (who makes it happen),
`session/reply.py` (how an answer is made) and `ports.py` (what can be replaced).
"""

__version__ = "0.1.0"
