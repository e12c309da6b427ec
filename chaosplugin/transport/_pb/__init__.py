"""Generated of proto/ by `make proto`; not to be changed by hand."""
