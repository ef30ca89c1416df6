"""What a process of the command line is whatever its command: its standard streams, and want of memory."""
