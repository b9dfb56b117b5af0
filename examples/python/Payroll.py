"""A module of the server's, for listing 3 of the guide: `PYTHONPATH=examples/python rpyc_classic`."""

SALARIES = {("Mertz", "David"): 4200.0, ("Lovelace", "Ada"): 5300.0}


def get_salary(last, first):
    return SALARIES[last, first]
