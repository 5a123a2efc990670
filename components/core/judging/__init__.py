"""A service LLM as the judge of answers: judgements, their verdict, and how far the judge itself can be trusted."""
