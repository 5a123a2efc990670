"""Service LLMs (Gemini, OpenAI-compatible, Anthropic): opened by configuration, held to a rate, counted."""
