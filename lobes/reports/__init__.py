"""Pages, figures and tables made from the tables of evaluations."""
