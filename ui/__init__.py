"""The browser page of the context-QA endpoint; it knows the endpoint by HTTP only."""
