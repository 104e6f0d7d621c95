"""Other projects' import names, served by the code of Lobes. Nothing here is active unless it is asked for."""
