"""The vocabulary of the house: types, errors, specs, plans, jobs, events and ports; pydantic and the standard library only."""
