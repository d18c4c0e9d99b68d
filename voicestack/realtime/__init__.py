"""The OpenAI Realtime API (GA) as pure values: client frames in, server frames out, no I/O."""
