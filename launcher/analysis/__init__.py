"""What came out of sweeps: tables of results, groups with their means, failures by cause, series. The command line,
plots and `launcher.results` read them here; stores give the records that they are made of."""
