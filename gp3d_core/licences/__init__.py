"""Who made what a data set shows or a model learnt from, on what terms, and what that asks of whoever shares it."""
