"""test.test_asyncio.test_staggered: the staggered race behind happy eyeballs."""

from .loading import bind

CLASSES = ["StaggeredTests"]

globals().update(bind("test_staggered", {"loop": CLASSES, "patch": CLASSES}))
