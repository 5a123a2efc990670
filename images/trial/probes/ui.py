"""Runs inside the ui container: the page is drawn once, as for a visitor."""

from streamlit.testing.v1 import AppTest

page = AppTest.from_file("/app/ui/app.py").run(timeout=60)
assert not page.exception, page.exception
assert page.text_area, "the page has no field for a context"
print("the page is drawn")
