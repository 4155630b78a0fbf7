"""The command line: click commands, each in a module that is imported only when it is called."""
