"""Jobs, runs, attempts, outcomes and the rules between them: pure, without I/O and without a clock."""
