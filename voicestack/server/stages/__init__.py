"""The stages used alone, as OpenAI's HTTP API has them: speech to text, text to speech, and the models."""
