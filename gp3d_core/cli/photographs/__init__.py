"""The commands about photographs that are used as they are, without a data set."""
