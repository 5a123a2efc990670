"""One trace per request and the users' feedback, sent in the background; the request never waits for it."""
