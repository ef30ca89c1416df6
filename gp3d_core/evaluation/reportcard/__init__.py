"""The geometry report card of a snapshot: what each class's surfaces are worth, a page and a badge for each."""
