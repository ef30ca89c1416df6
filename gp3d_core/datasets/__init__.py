"""What a data set is: its files, images, depth, features and classes."""
