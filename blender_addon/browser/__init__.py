"""The seed browser: pictures of many objects to choose from, to star, to vary, to blend and to mix."""
