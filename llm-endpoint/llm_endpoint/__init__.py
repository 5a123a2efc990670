"""The context-QA endpoint: a language model behind KServe, OpenAI and `/generate`, with evidence, traces and guards."""
